"""Memory of a healthy process and of one that leaks, and what the gate says of it: the second part of GATE.md's model.

Ten minutes, a sample a second: a warm-up that ends within the first third, a collector's sawtooth, noise, and now and
then a cache that is filled or given back at once. GATE.md leaves the sizes open.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.observation.duet import LOOKS
from harness.statistics.comparison import Observed
from harness.statistics.reading import Reading
from harness.statistics.slope import step_free_slope
from harness.verdict.gate import confirm, decide
from tests.statistics.flat import flat

Floats = NDArray[np.float64]

MEASURE_S = 600.0
WARM_UP, WARM_UP_S = 40e6, 60.0
SAWTOOTH, SAWTOOTH_S = 3e6, (5.0, 40.0)
NOISE = 3e5
STEPS, STEP = 1.0, (5e6, 0.7)  # how many a run, and their size: median and sigma of a lognormal
FREED = 0.3  # share of steps that give back
POOL = 600


def memory(rng: np.random.Generator, at: Floats) -> Floats:
    """Resident bytes of a healthy process at moments from the start of its measure phase, in s."""
    period = rng.uniform(*SAWTOOTH_S)
    reading = 2e8 + WARM_UP * -np.expm1(-at / WARM_UP_S) + SAWTOOTH * ((at / period + rng.random()) % 1)
    for _ in range(rng.poisson(STEPS)):
        size = rng.lognormal(np.log(STEP[0]), STEP[1]) * (-1 if rng.random() < FREED else 1)
        reading = reading + size * (at > rng.uniform(0, MEASURE_S))
    healthy: Floats = reading + rng.normal(0, NOISE, size=len(at))
    return healthy


@lru_cache(maxsize=4)
def slopes(leak: float = 0.0) -> Floats:
    """Growths as a run's summary tells them, in bytes a minute, of processes that leak so much."""
    rng, at = np.random.default_rng([5, round(leak)]), np.arange(0, MEASURE_S)
    found = []
    for _ in range(POOL):
        reading = memory(rng, at) + leak / 60 * at
        points = list(zip(at.tolist(), reading.tolist(), strict=True))
        found.append((step_free_slope(points, (0.0, MEASURE_S)) or 0.0) * 60)
    return np.array(found)


def _reading(slope: float) -> Reading:
    return flat(rss_slope=slope, measure_s=MEASURE_S)


def is_leak_seen(rng: np.random.Generator, leak: float, sittings: int = 10) -> bool:
    """Whether the history raises an alarm."""
    history = [[Observed(_reading(slope), None)] for slope in rng.choice(slopes(), size=sittings).tolist()]
    decision = decide(Observed(_reading(float(rng.choice(slopes(leak)))), None), history)
    return "rss_slope" in decision.worse


def is_leak_confirmed(rng: np.random.Generator, leak: float) -> bool:
    """Whether a duet of arms of ten minutes finds it."""
    before, after = rng.choice(slopes(), size=LOOKS[-1]).tolist(), rng.choice(slopes(leak), size=LOOKS[-1]).tolist()
    pairs = [(_reading(a), _reading(b)) for a, b in zip(before, after, strict=True)]
    for look in LOOKS:
        decision = confirm(pairs[:look], ("rss_slope",), last=look == LOOKS[-1])
        if decision.outcome != "undecided":
            return decision.outcome == "regressed"
    return False
