"""Exact order statistics, against published numbers, brute force and simulation."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.statistics.metrics import PERCENTILES, TOO_FEW_BELOW
from harness.statistics.quantile import (
    binomial_cdf,
    bound_ranks,
    n_for_interval,
    quantile,
    quantile_bounds,
    samples,
    share_bounds,
)


def exact_cdf(n: int, p: str) -> list[Fraction]:
    """P(X <= k) for every k, by the definition of the binomial distribution, in whole numbers."""
    ok, tries = Fraction(p).as_integer_ratio()
    masses = [math.comb(n, k) * ok**k * (tries - ok) ** (n - k) for k in range(n + 1)]
    return [Fraction(total, tries**n) for total in itertools.accumulate(masses)]


@pytest.mark.parametrize("p", ["0.5", "0.95", "0.99", "0.003"])
@pytest.mark.parametrize("n", [1, 7, 60, 368])
def test_binomial_cdf_is_exact(n: int, p: str) -> None:
    """Within 1e-12 of the sum over whole numbers, at every k."""
    found = [binomial_cdf(k, n, float(p)) for k in range(n + 1)]
    assert found == pytest.approx([float(share) for share in exact_cdf(n, p)], abs=1e-12)


def test_binomial_cdf_of_a_million_tries_agrees_with_the_normal_limit() -> None:
    """The mean of a million fair tries is their median."""
    assert binomial_cdf(500_000, 1_000_000, 0.5) == pytest.approx(0.5 + 0.5 / math.sqrt(math.pi * 500_000), abs=1e-6)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_quantile_is_the_smallest_sample_that_reaches_the_share(values: list[float], p: float) -> None:
    """By its definition, counted."""
    ordered = samples(values)
    reaching = [value for value in ordered if sum(other <= value for other in ordered) >= round(p * len(ordered), 9)]
    assert quantile(ordered, p) == reaching[0]


def test_quantile_of_known_samples() -> None:
    """Nearest rank of 1 … 100, where decimal shares must not slip by a rank."""
    ordered = samples(range(1, 101))
    assert [quantile(ordered, p) for p in (0.5, 0.55, 0.95, 0.99, 1.0)] == [50, 55, 95, 99, 100]


def test_no_samples_have_no_quantile() -> None:
    """An empty sample is an error, not a zero."""
    with pytest.raises(ValueError, match="no samples"):
        quantile(samples([]), 0.5)


def test_values_that_are_not_known_are_left_out() -> None:
    """NaN stands for a time nobody wrote."""
    assert list(samples([3.0, math.nan, 1.0])) == [1.0, 3.0]


@pytest.mark.parametrize(
    ("n", "lower", "upper"),
    # Two-sided 95 % ranks for the median: Conover, Practical Nonparametric Statistics, table A3.
    [(6, 1, 6), (10, 2, 9), (15, 4, 12), (20, 6, 15), (25, 8, 18), (30, 10, 21)],
)
def test_bounds_of_the_median_match_published_ranks(n: int, lower: int, upper: int) -> None:
    """The classic interval of the median."""
    assert bound_ranks(n, 0.5, 0.025) == (lower, upper)


@pytest.mark.parametrize("p", ["0.5", "0.95", "0.99"])
@pytest.mark.parametrize("n", [4, 5, 58, 59, 72, 100, 298, 299, 368])
def test_bound_ranks_are_the_tightest_that_keep_their_promise(n: int, p: str) -> None:
    """By brute force over every rank."""
    at_most, alpha = exact_cdf(n, p), Fraction(1, 20)
    lower_ranks = [rank for rank in range(1, n + 1) if at_most[rank - 1] <= alpha]
    upper_ranks = [rank for rank in range(1, n + 1) if 1 - at_most[rank - 1] <= alpha]
    assert bound_ranks(n, float(p)) == (max(lower_ranks, default=None), min(upper_ranks, default=None))


@pytest.mark.parametrize(("p", "n"), [(0.5, 6), (0.95, 72), (0.99, 368)])
def test_n_for_a_two_sided_interval(p: float, n: int) -> None:
    """One sample fewer and a side is missing."""
    assert n_for_interval(p) == n
    assert None not in bound_ranks(n, p, 0.025)
    assert None in bound_ranks(n - 1, p, 0.025)


def test_too_few_is_where_the_interval_begins() -> None:
    """The constant that needs no numpy says what the statistics say."""
    assert {name: n_for_interval(PERCENTILES[name]) for name in TOO_FEW_BELOW} == dict(TOO_FEW_BELOW)


def test_no_bounds_without_samples() -> None:
    """Zero samples bound nothing."""
    assert quantile_bounds(samples([]), 0.5) == (None, None)


def test_quantile_bounds_err_as_rarely_as_they_say() -> None:
    """4,000 lognormal samples of 100: each one-sided 95 % bound of p95 misses in at most 5 %, and not in hardly any."""
    rng = np.random.default_rng(1)
    true_p95 = math.exp(1.6448536269514722)
    bounds = [quantile_bounds(samples(row), 0.95) for row in rng.lognormal(size=(4000, 100))]
    too_high = np.mean([lower is not None and lower > true_p95 for lower, _ in bounds])
    too_low = np.mean([upper is not None and upper < true_p95 for _, upper in bounds])
    assert 0.01 < too_high < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)
    assert 0.01 < too_low < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)


@pytest.mark.parametrize(
    ("count", "n", "lower", "upper"),
    # Two-sided 95 % intervals as published in tables of Clopper and Pearson.
    [
        (0, 10, 0.0, 0.3085),
        (1, 10, 0.0025, 0.4450),
        (5, 10, 0.1871, 0.8129),
        (10, 10, 0.6915, 1.0),
        (10, 100, 0.0490, 0.1762),
        (81, 263, 0.2527, 0.3676),
        (15, 148, 0.0578, 0.1617),
    ],
)
def test_share_bounds_match_published_intervals(count: int, n: int, lower: float, upper: float) -> None:
    """Clopper-Pearson, to the four digits that are printed."""
    assert share_bounds(count, n, 0.025) == pytest.approx((lower, upper), abs=6e-5)


@given(st.integers(1, 10_000))
def test_share_bounds_without_a_failure_have_a_closed_form(n: int) -> None:
    """Nothing in n: at most 1 - 0.05^(1/n); all of n: at least its mirror image."""
    assert share_bounds(0, n) == pytest.approx((0.0, 1 - 0.05 ** (1 / n)), abs=1e-9)
    assert share_bounds(n, n) == pytest.approx((0.05 ** (1 / n), 1.0), abs=1e-9)


@given(st.integers(1, 2000), st.data())
def test_share_bounds_hold_the_share_and_mirror_each_other(n: int, data: st.DataObject) -> None:
    """What succeeded and what did not are two views of the same thing."""
    count = data.draw(st.integers(0, n))
    lower, upper = share_bounds(count, n)
    assert lower <= count / n <= upper
    assert share_bounds(n - count, n) == pytest.approx((1 - upper, 1 - lower), abs=1e-9)


def test_no_tries_leave_every_share_possible() -> None:
    """Nothing measured, nothing known."""
    assert share_bounds(0, 0) == (0.0, 1.0)
