"""The duet: baseline and candidate side by side, pair by pair. (GATE.md, step 5)"""

from __future__ import annotations

from collections.abc import Sequence

from harness.observation.duet import LOOKS
from harness.statistics.change import Change
from harness.statistics.reading import Reading

ALPHA = 0.01

Pairs = Sequence[tuple[Reading, Reading]]
"""(baseline, candidate), in the order they were run."""


def look_alpha(metrics: int) -> float:
    """Alpha of one look at one of so many metrics: ALPHA over all looks and metrics."""
    return ALPHA / len(LOOKS) / metrics


def duet_change(metric: str, pairs: Pairs, alpha: float) -> Change | None:
    """How the candidate differs from the baseline beside it; None where fewer than two pairs have the metric.

    `metric` is a name of COMPARED (by `Reading.quantiles` of the whole arm where it is made of blocks), `success` or
    `rss_slope`.
    """
    raise NotImplementedError


def pairs_to_settle(change: Change, margin: float) -> int | None:
    """About how many pairs would put the 95 % bound below the margin; None: no number would, as it is beyond it."""
    raise NotImplementedError
