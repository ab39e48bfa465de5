"""The history test: does a run exclude that it is worse than its baseline by more than a margin? (GATE.md, step 4)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.statistics.change import Change
from harness.statistics.reading import Reading


class Observed(NamedTuple):
    """One run of a level, and the frozen reference scenario run in the same sitting."""

    reading: Reading
    reference: Reading | None


class Pooled(NamedTuple):
    """What sibling scenarios on this class of machines say of the spread between sittings: variance, and its df."""

    variance: float
    df: float


History = Sequence[Sequence[Observed]]
"""The sittings of a baseline, oldest first, each with its runs: runs of one sitting are one observation."""


def exclusion(metric: str, candidate: Observed, history: History, pooled: Pooled | None = None) -> Change | None:
    """How the candidate differs from what the history predicts; None where there are no two sittings with the metric.

    `metric` is a name of COMPARED, `success` or `rss_slope`.
    """
    raise NotImplementedError
