"""The duet: baseline and candidate side by side, pair by pair. (GATE.md, step 5)"""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.observation.duet import LOOKS
from harness.statistics.change import Change
from harness.statistics.comparison import interval_of, scaled
from harness.statistics.proportion import Tally, loss_in_pairs
from harness.statistics.reading import COMPARED, Reading
from harness.statistics.students_t import TRIMMED, t_quantile, trimmed_mean

ALPHA = 0.01
LOOK_SHARES = (0.1, 0.3, 0.6)
"""Of ALPHA, for each of the LOOKS: what is far worse is found at the first all the same, and what is worse by little
needs all pairs. In the simulation a p95 that is 10 % slower is found in 80 % where equal shares find 73 %."""
PASS_ALPHA = 0.05 / len(LOOKS)
"""Of one look's bound for passing: whoever may look three times at 5 % passes wrongly in 10 %."""
GROWTH_MEASURE_MIN_S = 600.0
"""Below ten minutes of measure the growth of memory is noise (GATE.md)."""
NORMAL_PASS = 2.1280
"""The normal distribution's quantile at 1 - PASS_ALPHA."""

Pairs = Sequence[tuple[Reading, Reading]]
"""(baseline, candidate), in the order they were run."""


def look_alpha(metrics: int, pairs: int) -> float:
    """Alpha of the look after so many pairs at one of so many metrics: ALPHA over all looks and metrics."""
    share = next((share for most, share in zip(LOOKS, LOOK_SHARES, strict=True) if pairs <= most), LOOK_SHARES[-1])
    return ALPHA * share / max(1, metrics)


def duet_change(metric: str, pairs: Pairs, alpha: float) -> Change | None:
    """How the candidate differs from the baseline beside it; None where fewer than two pairs have the metric.

    `metric` is a name of COMPARED (by `Reading.quantiles` of the whole arm where it is made of blocks), `success` or
    `rss_slope`. A t interval over the pairs' differences: what the machine did to a pair it did to both arms. A tenth
    of the pairs is left out at each end: a neighbour's burst falls into one arm of a pair, and a few such pairs would
    widen the interval by half.
    """
    if metric == "success":
        return loss_in_pairs([(Tally(a.ok, a.arrivals), Tally(b.ok, b.arrivals)) for a, b in pairs], alpha, PASS_ALPHA)
    changes = [change for pair in pairs if (change := pair_change(metric, *pair)) is not None]
    n = len(changes)
    if n < 2:
        return None
    mean, error, df = trimmed_mean(changes)
    return interval_of(metric, mean, error, df, n=n, basis="duet", alpha=alpha, pass_alpha=PASS_ALPHA)


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
    sd = (change.upper95 - change.change) / t_quantile(1 - PASS_ALPHA, df) * math.sqrt(change.n)
    return max(change.n + 1, math.ceil((NORMAL_PASS * sd / (margin - change.change)) ** 2) + 2)
