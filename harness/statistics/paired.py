"""The duet: baseline and candidate side by side, pair by pair. (GATE.md, step 5)"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from harness.observation.duet import LOOKS
from harness.statistics.change import Change
from harness.statistics.comparison import interval_of, scaled
from harness.statistics.proportion import Tally, loss_in_pairs
from harness.statistics.reading import COMPARED, Reading
from harness.statistics.students_t import TRIMMED, t_quantile, trimmed_mean

ALPHA = 0.01
LOOK_WEIGHTS = (1, 3, 6)
"""How ALPHA is shared by the LOOKS: what is far worse is found at the first all the same, and what is worse by little
needs all pairs. In the simulation a p95 that is 10 % slower is found in 80 % where equal shares find 73 %."""
PASS_ALPHA = 0.05
"""Of the bound for passing, over all looks: whoever looks three times at 5 % passes wrongly in 10 %."""
GROWTH_MEASURE_MIN_S = 600.0
"""Below ten minutes of measure the growth of memory is noise (GATE.md)."""
NORMAL_PASS = 2.1280
"""The normal distribution's quantile at 1 - PASS_ALPHA / 3."""

Pairs = Sequence[tuple[Reading, Reading]]
"""(baseline, candidate), in the order they were run."""


class Look(NamedTuple):
    """How sure one look at one metric has to be."""

    alpha: float  # to accuse, or to say improved
    pass_alpha: float


def look_at(metrics: int, pairs: int, pairs_max: int) -> Look:
    """The look after so many pairs of at most `pairs_max` at one of so many metrics.

    Over all planned looks and metrics alphas add up to ALPHA; over all looks at one metric the others to PASS_ALPHA.
    """
    weights = [weight for most, weight in zip(LOOKS, LOOK_WEIGHTS, strict=True) if most <= pairs_max] or [1]
    place = sum(most < pairs for most in LOOKS[: len(weights) - 1])
    return Look(ALPHA * weights[place] / sum(weights) / max(1, metrics), PASS_ALPHA / len(weights))


def duet_change(metric: str, pairs: Pairs, look: Look) -> Change | None:
    """How the candidate differs from the baseline beside it; None where fewer than two pairs have the metric.

    `metric` is a name of COMPARED (by `Reading.quantiles` of the whole arm where it is made of blocks), `success` or
    `rss_slope`. A t interval over the pairs' differences: what the machine did to a pair it did to both arms. A tenth
    of the pairs is left out at each end: a neighbour's burst falls into one arm of a pair, and a few such pairs would
    widen the interval by half.
    """
    if metric == "success":
        return loss_in_pairs([(Tally(a.ok, a.arrivals), Tally(b.ok, b.arrivals)) for a, b in pairs], *look)
    changes = [change for pair in pairs if (change := pair_change(metric, *pair)) is not None]
    n = len(changes)
    if n < 2:
        return None
    mean, error, df = trimmed_mean(changes)
    return interval_of(metric, mean, error, df, n=n, basis="duet", alpha=look.alpha, pass_alpha=look.pass_alpha)


def pair_change(metric: str, a: Reading, b: Reading) -> float | None:
    """How much worse the candidate of a pair was, on the scale of the metric's changes; None when one has no value."""
    if metric == "success":
        return a.ok / a.arrivals - b.ok / b.arrivals if a.arrivals and b.arrivals else None
    if metric == "rss_slope" and min(a.measure_s, b.measure_s) < GROWTH_MEASURE_MIN_S:
        return None
    before, after = _of_arm(metric, a), _of_arm(metric, b)
    return None if before is None or after is None else after - before


def _of_arm(metric: str, reading: Reading) -> float | None:
    """Of a whole arm: it is too short for blocks."""
    if metric not in COMPARED or not COMPARED[metric].blocks:
        return scaled(metric, reading)
    quantiles = reading.quantiles
    value = quantiles.get("p99" if metric == "shape" else metric)
    below = quantiles.get("p50") if metric == "shape" else 1.0
    found = value / below if value and below else 0.0
    return math.log(found) if 0 < found < math.inf else None


def pairs_to_settle(change: Change, margin: float) -> int | None:
    """About how many pairs would put `upper95` below the margin; None: no number would, as it is beyond it."""
    if change.change >= margin:
        return None
    if change.n < 2:
        return LOOKS[-1]
    df = change.n - 2 * (change.n // TRIMMED) - 1
    sd = (change.upper - change.change) / t_quantile(1 - change.alpha, df) * math.sqrt(change.n)
    return max(change.n + 1, math.ceil((NORMAL_PASS * sd / (margin - change.change)) ** 2) + 2)
