"""Student's t distribution, which comparisons of a few sittings or pairs rest on.

P(T <= t) = 1 - I_x(df / 2, 1 / 2) / 2 for t >= 0, x = df / (df + t^2), where I is the regularised incomplete beta
function (Abramowitz & Stegun, 26.5.27 and 26.7.1), here by its continued fraction (26.5.8) after Lentz.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

_TINY = 1e-300
_EPSILON = 1e-15
_TERMS_MAX = 500
_BISECTIONS = 200
TRIMMED = 10
"""One in so many at each end is left out of a trimmed mean."""


def t_cdf(t: float, df: float) -> float:
    """P(T <= t) with `df` degrees of freedom, which need not be whole."""
    if math.isinf(t):
        return 1.0 if t > 0 else 0.0
    tail = incomplete_beta(df / 2, 0.5, df / (df + t * t)) / 2
    return 1 - tail if t >= 0 else tail


@lru_cache(maxsize=4096)
def t_quantile(p: float, df: float) -> float:
    """The t that a share `p` (0 < p < 1) does not exceed, to about twelve digits."""
    if p < 0.5:
        return -t_quantile(1 - p, df)
    if p == 0.5:
        return 0.0
    low, high = 0.0, 1.0
    while t_cdf(high, df) < p:
        low, high = high, 2 * high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if t_cdf(middle, df) < p:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def mean_and_error(values: ArrayLike) -> tuple[float, float]:
    """The mean of at least two values, and its standard error, which has one degree of freedom less than they are."""
    found = np.asarray(values, dtype=np.float64)
    return float(found.mean()), float(found.std(ddof=1)) / math.sqrt(len(found))


class Estimate(NamedTuple):
    """A mean, its standard error, and the degrees of freedom that the error was estimated with."""

    mean: float
    error: float
    df: int


def trimmed_mean(values: ArrayLike) -> Estimate:
    """The mean of at least two values without the largest and the smallest tenth (of nine or fewer, nothing).

    Its error is that of the values with each tenth drawn in to the nearest value kept: Yuen, Biometrika 61 (1974),
    after Tukey and McLaughlin, Sankhya A 25 (1963).
    """
    found = np.sort(np.asarray(values, dtype=np.float64))
    n, cut = len(found), len(found) // TRIMMED
    kept = found[cut : n - cut]
    drawn_in = np.clip(found, kept[0], kept[-1])
    error = float(drawn_in.std(ddof=1)) / math.sqrt(n) * n / len(kept)
    return Estimate(float(kept.mean()), error, len(kept) - 1)


def incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b), the regularised incomplete beta function."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):  # where the fraction converges fast
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of Abramowitz & Stegun, 26.5.8, by Lentz's method."""
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, _TERMS_MAX):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _away(1 + term * d)
            c = _away(1 + term / c)
            found *= c * d
        if abs(c * d - 1) < _EPSILON:
            break
    return found


def _away(value: float) -> float:
    """Not zero, which would be divided by."""
    return value if abs(value) > _TINY else _TINY
