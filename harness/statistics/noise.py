"""How noisy a machine is, from rounds of one sitting, and what could be seen there.

What two rounds differ by is partly chance, which more workflows make smaller, and partly the machine and the fresh
process, which they do not. The first is estimated by drawing again from what was measured, the second is the rest. Both
together give the spread that runs of any length would have; what that lets a test see, the test itself says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.observation.duet import ARM_SHARE
from harness.statistics.change import relative
from harness.statistics.comparison import CORRELATION_MIN, Observed, exclusion, pooled_spread
from harness.statistics.latency import BLOCKS
from harness.statistics.metrics import PERCENTILES
from harness.statistics.paired import duet_change, look_at
from harness.statistics.quantile import quantile
from harness.statistics.reading import BlockReading, Reading

Floats = NDArray[np.float64]

METRICS = ("p50", "p95")
SITTINGS = (5, 10, 20)
PAIRS = (10, 20, 30)
WORKFLOWS = (500, 2000)
BLOCK_MIN = 20  # workflows: the p95 of fewer is their maximum
DRAWS = 400
ROUNDS_MIN = 3


Rounds = Sequence[Floats]
"""Short runs of one level: latencies of the successes of each, in s, in the order in which they were to start."""


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """One quantile over rounds; spreads are standard deviations of logarithms, so 0.02 is 2 %."""

    metric: str
    typical_s: float
    between: float  # rounds, by their block medians
    calibrated: float | None  # what is left when the reference beside each round is taken out; None where that
    # did not go along with it, and the gate would leave it
    correlation: float | None  # with the reference
    within: float | None  # the time blocks of a round; None when a round has but one
    chance: float  # what chance alone makes of so many workflows, each drawn anew; less between rounds: a shared seed


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """The smallest worsening of a metric that would be seen with 80 % power, as a share: 0.1 is 10 %."""

    metric: str
    by: str  # history | duet
    n: int  # workflows a run; an arm of a duet has a fifth
    times: int  # sittings, or pairs
    mde: float | None


def spreads(rounds: Rounds, references: Rounds | None) -> tuple[Spread, ...]:
    """How much rounds of the same differ; `references` were run beside them, in the same order."""
    return tuple(_spread(metric, rounds, references) for metric in METRICS)


def _spread(metric: str, rounds: Rounds, references: Rounds | None) -> Spread:
    share = PERCENTILES[metric]
    found = np.array([block_median(each, share) for each in rounds])
    beside = None if references is None else np.array([block_median(each, share) for each in references])
    blocks = [logs for each in rounds if len(logs := block_logs(each, share)) > 1]
    correlation = None if beside is None else _correlation(found, beside)
    return Spread(
        metric=metric,
        typical_s=math.exp(float(np.median(found))),
        between=float(np.std(found, ddof=1)),
        calibrated=None if beside is None else _calibrated(metric, found, beside, correlation),
        correlation=correlation,
        within=math.sqrt(float(np.mean([np.var(logs, ddof=1) for logs in blocks]))) if blocks else None,
        chance=chance_sd(rounds, share, _typical_n(rounds), blocks=_blocks_of(_typical_n(rounds))),
    )


def sights(rounds: Rounds, references: Rounds | None = None) -> tuple[Sight, ...]:
    """What could be seen of a level of which these are rounds, by history and by duet."""
    found = []
    for metric in METRICS:
        for n in WORKFLOWS:
            sd = history_sd(rounds, metric, n, references)
            found += [
                Sight(metric=metric, by="history", n=n, times=k, mde=_mde_by_history(metric, sd, k)) for k in SITTINGS
            ]
            pair_sd = duet_sd(rounds, metric, n // ARM_SHARE)
            found += [
                Sight(metric=metric, by="duet", n=n, times=k, mde=_mde_by_duet(metric, pair_sd, k)) for k in PAIRS
            ]
    return tuple(found)


def history_sd(rounds: Rounds, metric: str, n: int, references: Rounds | None = None) -> float:
    """Spread between runs of `n` workflows, by block medians, if sittings differed as these rounds do."""
    spread = _spread(metric, rounds, references)
    between = spread.between if spread.calibrated is None else spread.calibrated
    return _for_n(between, spread.chance, chance_sd(rounds, PERCENTILES[metric], n, blocks=BLOCKS))


def duet_sd(rounds: Rounds, metric: str, n: int) -> float:
    """Spread of the difference of two arms of `n` workflows run side by side, by quantiles of the whole arm.

    Rounds that follow each other stand for the arms of a pair, so that what drifts slowly drops out.
    """
    share = PERCENTILES[metric]
    logs = np.array([block_median(each, share, blocks=1) for each in rounds])
    one = math.sqrt(float(np.mean(np.diff(logs) ** 2)) / 2)  # of an arm (von Neumann's successive differences)
    chance = chance_sd(rounds, share, _typical_n(rounds), blocks=1)
    return math.sqrt(2) * _for_n(one, chance, chance_sd(rounds, share, n, blocks=1))


def _for_n(between: float, chance: float, chance_then: float) -> float:
    """The spread of other numbers of workflows: what is above chance stays, chance is exchanged.

    Rounds of one seed draw the same, and may differ by less than chance. The less they do, the less of it is chance
    that more workflows would make smaller, and it stays; fewer make it greater all the same.
    """
    if not chance:
        return between
    ratio = (chance_then / chance) ** 2
    drawn_anew = min(1.0, (between / chance) ** 2)
    scale = drawn_anew * ratio + (1 - drawn_anew) * max(1.0, ratio)
    return math.sqrt(max(0.0, between**2 - chance**2) + min(between, chance) ** 2 * scale)


def block_logs(latencies: Floats, share: float, blocks: int | None = None) -> Floats:
    """Logarithms of the quantile in each block; with fewer than BLOCK_MIN workflows a block there are fewer blocks."""
    parts = np.array_split(latencies, blocks or _blocks_of(len(latencies)))
    return np.log([quantile(np.sort(part), share) for part in parts])


def block_median(latencies: Floats, share: float, blocks: int | None = None) -> float:
    """The median over blocks of the logarithm of a quantile."""
    return float(np.median(block_logs(latencies, share, blocks)))


def _blocks_of(n: int) -> int:
    return max(1, min(BLOCKS, n // BLOCK_MIN))


def _typical_n(rounds: Rounds) -> int:
    return int(np.median([len(each) for each in rounds]))


def chance_sd(rounds: Rounds, share: float, n: int, *, blocks: int) -> float:
    """Spread of a block median over runs of `n` workflows that differ by chance alone, by DRAWS of drawing again.

    The rounds are put on one level by their medians, and drawn from together. What comes in bursts counts as the
    machine's, not as chance: drawing one by one knows of no bursts.
    """
    pool = np.concatenate([each / np.median(each) for each in rounds])
    rng = np.random.default_rng(1)
    drawn = [block_median(pool[rng.integers(len(pool), size=n)], share, blocks) for _ in range(DRAWS)]
    return float(np.std(drawn, ddof=1))


def _correlation(found: Floats, beside: Floats) -> float | None:
    if len(found) < ROUNDS_MIN or not np.std(found) or not np.std(beside):
        return None
    return float(np.corrcoef(found, beside)[0, 1])


def _calibrated(metric: str, found: Floats, beside: Floats, correlation: float | None) -> float | None:
    """The spread as the gate takes it, were rounds sittings; None when they do not go along with the reference."""
    if correlation is None or correlation < CORRELATION_MIN:
        return None
    sittings = [[Observed(_reading(own), _reading(other))] for own, other in zip(found, beside, strict=True)]
    spread = pooled_spread([sittings], metric)
    return None if spread is None else math.sqrt(spread.variance)


def _mde_by_history(metric: str, sd: float, sittings: int) -> float | None:
    """What the history test says of itself, when its sittings have exactly this spread."""
    history = [[Observed(_reading(each), None)] for each in _with_sd(sd, sittings)]
    change = exclusion(metric, Observed(_reading(0.0), None), history)
    return None if change is None else relative(change.mde)


def _mde_by_duet(metric: str, sd: float, pairs: int) -> float | None:
    """The same of the duet."""
    measured = [(_reading(0.0), _reading(each)) for each in _with_sd(sd, pairs)]
    change = duet_change(metric, measured, look_at(len(METRICS), pairs, PAIRS[-1]))
    return None if change is None else relative(change.mde)


def _with_sd(sd: float, count: int) -> Floats:
    """Numbers about 0 whose standard deviation is exactly `sd`."""
    steps = np.arange(count) - (count - 1) / 2
    scaled: Floats = steps * (sd / np.std(steps, ddof=1))
    return scaled


def _reading(log_s: float) -> Reading:
    """A run whose quantiles are all as long, with workflows enough for all rules."""
    value = math.exp(log_s)
    blocks = tuple(BlockReading(1000, 1000, value, value, value, 0.0) for _ in range(BLOCKS))
    quantiles = dict.fromkeys(("p50", "p95", "p99"), value)
    return Reading(arrivals=20_000, ok=20_000, measure_s=100.0, blocks=blocks, quantiles=quantiles)
