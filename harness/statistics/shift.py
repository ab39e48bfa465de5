"""The shift function of a duet: how much each quantile of the latency moved, not only the one that is gated.

A shift alike at all quantiles is a slower system, one that grows towards the tail is queueing, one at p99 alone a rare
path. Source: Doksum, Annals of Statistics 2 (1974); here for paired arms, by a t interval over the pairs.
"""

from __future__ import annotations

import math

import msgspec

from harness.statistics.paired import Pairs
from harness.statistics.students_t import mean_and_error, t_quantile

QUANTILES = ("p10", "p20", "p30", "p40", "p50", "p60", "p70", "p80", "p90", "p95", "p99")


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """One quantile: the mean over pairs of log(candidate / baseline), so positive is slower.

    Each bound errs on its side in at most `alpha` of all duets.
    """

    quantile: str
    change: float
    lower: float
    upper: float
    alpha: float
    n: int  # pairs that have it on both sides


def shift_function(pairs: Pairs, alpha: float) -> list[Shift]:
    """The shifts of QUANTILES, lowest first; a quantile that fewer than two pairs have is left out."""
    found = []
    for name in QUANTILES:
        changes = [
            math.log(after / before)
            for a, b in pairs
            if (before := a.quantiles.get(name)) and (after := b.quantiles.get(name))
        ]
        n = len(changes)
        if n >= 2:
            mean, error = mean_and_error(changes)
            half = t_quantile(1 - alpha, n - 1) * error
            found.append(Shift(quantile=name, change=mean, lower=mean - half, upper=mean + half, alpha=alpha, n=n))
    return found
