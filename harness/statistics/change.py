"""How much one thing changed between a baseline and a candidate, with bounds: what comparisons return."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

Basis = Literal["history", "duet"]


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A change on the scale its metric is compared on; worse is positive.

    For log scales (`COMPARED`) differences of natural logarithms; for `success` the loss, in shares of one; for
    `rss_slope` bytes a minute. Each bound is one-sided and errs on its side in at most its alpha of decisions.
    """

    metric: str
    basis: Basis
    change: float
    lower: float  # at `alpha`
    upper: float
    alpha: float
    lower95: float  # in a duet over all looks together
    upper95: float
    n: int  # sittings of the baseline, or pairs of the duet
    mde: float  # the smallest worsening that would be seen with 80 % power at `alpha`
    machine: float = 0.0  # how much slower the in-sitting reference says the machine was, which is taken out
    is_log: bool = True


def relative(change: float) -> float:
    """A difference of logarithms as a share: 0.1 is 10 % more."""
    return math.expm1(change)
