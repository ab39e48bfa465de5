"""Exact order statistics: quantiles and shares with bounds that assume no distribution.

A bound here is one-sided: it errs on its side in at most `alpha` of all samples, so a pair of them at `alpha` = 5 %
is a 90 % interval and a pair at 2.5 % a 95 % one. Sources: the order-statistic interval of David & Nagaraja, *Order
Statistics*, section 7.1; Clopper & Pearson, Biometrika 26 (1934). Both rest on the binomial distribution only, and
on independent samples; ties make them wider, never wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

ALPHA = 0.05
_RANK_SLACK = 1e-9  # n * p of decimal fractions, as 0.55 * 100 = 55.00000000000001, is meant exactly
_TAIL_SDS = 12  # the binomial mass beyond this many standard deviations and _TAIL_MORE counts is under 1e-15
_TAIL_MORE = 40
_BISECTIONS = 48  # 2^-48 is far below what 1e12 tries could tell apart


def samples(values: ArrayLike | Iterable[float]) -> Floats:
    """The values as an ascending array, NaN (not known) left out."""
    array = np.asarray(values, dtype=np.float64)
    return np.sort(array[~np.isnan(array)])


def rank(n: int, p: float) -> int:
    """The rank, from 1, of the `p` quantile among `n` samples: the smallest r with r / n >= p (nearest rank)."""
    return min(n, max(1, math.ceil(n * p - _RANK_SLACK)))


def quantile(ordered: Floats, p: float) -> float:
    """The smallest sample that at least a share `p` of all do not exceed (Hyndman & Fan 1996, type 1).

    Always a value that was measured, so a sample known only as a lower bound makes the quantile one, never a blend.
    Raises ValueError when there is no sample.
    """
    if not len(ordered):
        raise ValueError("no samples have no quantile")
    return float(ordered[rank(len(ordered), p) - 1])


def _cumulative(n: int, p: float) -> tuple[int, Floats]:
    """P(X <= k) of a binomial X for k = first, first + 1, …; what lies outside is 0 or 1 to 1e-15."""
    spread = _TAIL_SDS * math.sqrt(n * p * (1 - p)) + _TAIL_MORE
    first = max(0, math.floor(n * p - spread))
    last = min(n, math.ceil(n * p + spread))
    k = np.arange(first, last + 1, dtype=np.float64)
    log_first = math.lgamma(n + 1) - math.lgamma(first + 1) - math.lgamma(n - first + 1)
    log_first += first * math.log(p) + (n - first) * math.log1p(-p)
    # pmf(k) / pmf(k - 1) = (n - k + 1) / k * p / (1 - p)
    log_steps = np.log(n - k[1:] + 1) - np.log(k[1:]) + (math.log(p) - math.log1p(-p))
    mass = np.exp(log_first + np.concatenate(([0.0], np.cumsum(log_steps))))
    return first, np.minimum(np.cumsum(mass), 1.0)


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(X <= k) where X counts the successes of `n` independent tries of chance `p`, 0 < p < 1."""
    first, cumulative = _cumulative(n, p)
    if k < first:
        return 0.0
    return float(cumulative[min(k - first, len(cumulative) - 1)])


@lru_cache(maxsize=4096)
def bound_ranks(n: int, p: float, alpha: float = ALPHA) -> tuple[int | None, int | None]:
    """Ranks, from 1, of the samples that bound the `p` quantile from below and from above; None where `n` is too small.

    P(sample of rank r exceeds the quantile) = P(X <= r - 1), X binomial(n, p): the lower bound is the largest r where
    that is at most `alpha`. The upper is the smallest r with P(X >= r) <= `alpha`.
    """
    if n == 0:
        return None, None
    first, cumulative = _cumulative(n, p)
    lower = first + int(np.searchsorted(cumulative, alpha * (1 + 1e-12), side="right"))
    # P(X >= r) = 1 - P(X <= r - 1) <= alpha
    upper = first + int(np.searchsorted(cumulative, (1 - alpha) * (1 - 1e-12), side="left")) + 1
    return lower if lower >= 1 else None, upper if upper <= n else None


def quantile_bounds(ordered: Floats, p: float, alpha: float = ALPHA) -> tuple[float | None, float | None]:
    """One-sided bounds of the true `p` quantile, each at confidence 1 - `alpha`; None: too few samples."""
    lower, upper = bound_ranks(len(ordered), p, alpha)
    return (
        None if lower is None else float(ordered[lower - 1]),
        None if upper is None else float(ordered[upper - 1]),
    )


def placed(values: Floats, shares: Iterable[float]) -> Floats:
    """As `samples`, but only what `quantile` and `quantile_bounds` of these shares look at is where sorting puts it.

    Selecting nine ranks among a million values takes a fifth of the time of sorting them.
    """
    known = values[~np.isnan(values)]
    n = len(known)
    ranks = {found for share in shares for found in (rank(n, share), *bound_ranks(n, share)) if found}
    return np.partition(known, sorted(found - 1 for found in ranks)) if n else known


def n_for_interval(p: float, alpha: float = ALPHA) -> int:
    """Samples needed before both bounds of a two-sided, equal-tailed interval of the `p` quantile exist.

    The smallest n whose extreme samples miss the quantile with chance alpha / 2 a side: max(p, 1 - p)^n <= alpha / 2.
    """
    return math.ceil(math.log(alpha / 2) / math.log(max(p, 1 - p)))


@lru_cache(maxsize=4096)
def share_bounds(count: int, n: int, alpha: float = ALPHA) -> tuple[float, float]:
    """Clopper-Pearson: one-sided bounds of the true share behind `count` of `n`, each at confidence 1 - `alpha`."""
    if n == 0:
        return 0.0, 1.0
    # The lower bound is the share at which `count` or more would be as rare as alpha; the upper, `count` or fewer.
    lower = 0.0 if count == 0 else _first_share(lambda share: 1 - binomial_cdf(count - 1, n, share) > alpha)
    upper = 1.0 if count == n else _first_share(lambda share: binomial_cdf(count, n, share) <= alpha)
    return lower, upper


def _first_share(true_from_here: Callable[[float], bool]) -> float:
    """Where in (0, 1) a condition turns from false to true, by bisection to the last bit that matters."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if true_from_here(middle):
            high = middle
        else:
            low = middle
    return (low + high) / 2
