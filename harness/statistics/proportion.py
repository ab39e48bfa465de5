"""Success, compared: shares that vary more from run to run than chance alone would make them.

Runs are taken as beta-binomial: each draws its own chance of success around a common one. Pooling them as one large
run instead accuses a healthy candidate in 12 % of decisions (GATE.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from harness.statistics.change import Change
from harness.statistics.quantile import Floats, share_bounds
from harness.statistics.students_t import mean_and_error, t_quantile

ALPHA = 0.01
RUNS = 20
_BISECTIONS = 40  # a share to 1e-12
_NORMAL_99, _NORMAL_80 = 2.3263, 0.8416
_CONCENTRATION_MAX = 1e9
"""Beyond it a beta-binomial is a binomial, to more digits than matter."""


class Tally(NamedTuple):
    """So many successes of so many arrivals."""

    ok: int
    n: int


def loss_against(candidate: Tally, history: Sequence[Tally]) -> Change | None:
    """How much success the candidate lost against its history, in shares; None for fewer than two runs.

    Bounds come by inverting the beta-binomial test of the candidate's count: `lower` > 0 exactly when so few successes
    would come by chance in less than alpha of runs. Source of the distribution: Skellam, Journal of the Royal
    Statistical Society B 10 (1948). Runs of one sitting each count here: failures do not go with the machine's speed.
    """
    runs = [tally for tally in history if tally.n][-RUNS:]
    if len(runs) < 2 or not candidate.n:
        return None
    mean, rho = _fitted(runs)
    total = sum(tally.n for tally in runs)
    # What the history itself does not know of the mean adds to what the candidate may vary by.
    rho += (1 + (total / len(runs) - 1) * rho) / total
    concentration = min(_CONCENTRATION_MAX, (1 - rho) / rho) if rho < 1 else 1e-9

    def lost(alpha: float, *, at_most: bool) -> float:
        """The loss beyond which, or short of which, the candidate's count would be as rare as alpha."""
        if at_most:
            share = _crossing(lambda p: _at_most(candidate.ok, candidate.n, p, concentration) < alpha)
        else:
            share = _crossing(lambda p: 1 - _at_most(candidate.ok - 1, candidate.n, p, concentration) > alpha)
        return mean - share

    spread = math.sqrt(mean * (1 - mean) * (1 / candidate.n + rho))
    return Change(
        metric="success",
        basis="history",
        change=mean - candidate.ok / candidate.n,
        lower=lost(ALPHA, at_most=True),
        upper=lost(ALPHA, at_most=False),
        alpha=ALPHA,
        lower95=lost(0.05, at_most=True),
        upper95=lost(0.05, at_most=False),
        n=len(runs),
        mde=(_NORMAL_99 + _NORMAL_80) * spread,
        is_log=False,
    )


def _fitted(runs: Sequence[Tally]) -> tuple[float, float]:
    """Mean chance of success (half a success and half a failure added), and the correlation within runs, by moments."""
    n = np.array([tally.n for tally in runs], dtype=np.float64)
    shares = np.array([tally.ok for tally in runs]) / n
    mean = (sum(tally.ok for tally in runs) + 0.5) / (float(n.sum()) + 1)
    sampling = float(np.mean(1 / n))
    rho = (float(np.var(shares, ddof=1)) / (mean * (1 - mean)) - sampling) / (1 - sampling) if sampling < 1 else 0.0
    return mean, min(max(rho, 0.0), 0.999)


def _at_most(k: int, n: int, mean: float, concentration: float) -> float:
    """P(X <= k) of a beta-binomial of that mean; whichever of successes and failures is rarer is summed."""
    a, b = mean * concentration, (1 - mean) * concentration
    if 2 * k < n:
        return min(1.0, float(np.sum(_mass(k + 1, n, a, b))))
    return max(0.0, 1 - float(np.sum(_mass(n - k, n, b, a))))


def _mass(count: int, n: int, a: float, b: float) -> Floats:
    """P(X = 0), P(X = 1), … so many of them, of a beta-binomial(n, a, b)."""
    if count < 1:
        return np.empty(0)
    start = math.lgamma(n + b) - math.lgamma(b) + math.lgamma(a + b) - math.lgamma(n + a + b)
    j = np.arange(1, count, dtype=np.float64)
    # P(X = j) / P(X = j - 1) = (n - j + 1) / j * (a + j - 1) / (b + n - j)
    ratios = np.log((n - j + 1) * (a + j - 1) / (j * (b + n - j)))
    mass: Floats = np.exp(start + np.concatenate(([0.0], np.cumsum(ratios))))
    return mass


def _crossing(true_above: Callable[[float], bool]) -> float:
    """The share from which a condition holds that larger ones meet more easily; 0 or 1 where all or none do."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if true_above(middle):
            high = middle
        else:
            low = middle
    return (low + high) / 2


def loss_in_pairs(pairs: Sequence[tuple[Tally, Tally]], alpha: float, pass_alpha: float = 0.05) -> Change | None:
    """The same side by side: (baseline, candidate) in each pair; None for fewer than two pairs.

    Two tests have to agree that something was lost (or won): a t test over the pairs' differences, which bursts of
    failures cannot fool, and the exact binomial test that so many of all failures are the candidate's (McNemar's
    idea, Psychometrika 12 (1947), for counts). A bound is the more careful of both.
    """
    found = [(a, b) for a, b in pairs if a.n and b.n]
    n = len(found)
    if n < 2:
        return None
    mean, error = mean_and_error([a.ok / a.n - b.ok / b.n for a, b in found])
    of_a, of_b = (Tally(sum(t.ok for t in side), sum(t.n for t in side)) for side in zip(*found, strict=True))
    bounds = {}
    for level in (alpha, pass_alpha):
        half = t_quantile(1 - level, n - 1) * error
        low, high = _exact_loss(of_a, of_b, level)
        bounds[level] = (min(mean - half, low), max(mean + half, high))
    return Change(
        metric="success",
        basis="duet",
        change=mean,
        lower=bounds[alpha][0],
        upper=bounds[alpha][1],
        alpha=alpha,
        lower95=bounds[pass_alpha][0],
        upper95=bounds[pass_alpha][1],
        n=n,
        mde=bounds[alpha][1] - mean + t_quantile(0.8, n - 1) * error,
        is_log=False,
    )


def _exact_loss(of_a: Tally, of_b: Tally, alpha: float) -> tuple[float, float]:
    """Bounds of the loss given how many failures there were in all: the share that is the candidate's, exactly."""
    failed_a, failed_b = of_a.n - of_a.ok, of_b.n - of_b.ok
    failures = failed_a + failed_b
    if not failures:
        return -share_bounds(0, of_a.n, alpha)[1], share_bounds(0, of_b.n, alpha)[1]
    low, high = share_bounds(failed_b, failures, alpha)
    return tuple(failures * (share / of_b.n - (1 - share) / of_a.n) for share in (low, high))  # type: ignore[return-value]
