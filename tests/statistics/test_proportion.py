"""Losses of success: the beta-binomial against whole numbers and definitions, pairs against both of their tests."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.statistics.change import Change
from harness.statistics.proportion import RUNS, Tally, _at_most, loss_against, loss_in_pairs
from harness.statistics.quantile import binomial_cdf

STEADY = [Tally(1990, 2000)] * 20
ALPHA = 0.01 / 3


def exact(n: int, a: int, b: int) -> list[Fraction]:
    """P(X <= k) of a beta-binomial with whole a and b, by its definition, in whole numbers."""

    def beta(x: int, y: int) -> Fraction:
        return Fraction(math.factorial(x - 1) * math.factorial(y - 1), math.factorial(x + y - 1))

    masses = [math.comb(n, k) * beta(k + a, n - k + b) / beta(a, b) for k in range(n + 1)]
    assert sum(masses) == 1
    return [sum(masses[: k + 1], Fraction(0)) for k in range(n + 1)]


def against(candidate: Tally, history: list[Tally]) -> Change:
    found = loss_against(candidate, history)
    assert found is not None
    return found


def in_pairs(pairs: list[tuple[Tally, Tally]], alpha: float = ALPHA) -> Change:
    found = loss_in_pairs(pairs, alpha)
    assert found is not None
    return found


def is_ordered(change: Change) -> bool:
    bounds = (change.lower, change.lower95, change.change, change.upper95, change.upper)
    return all(map(math.isfinite, bounds)) and list(bounds) == sorted(bounds)


# The beta-binomial.


@pytest.mark.parametrize(("n", "a", "b"), [(1, 1, 1), (12, 3, 2), (40, 19, 1), (75, 1, 6)])
def test_the_beta_binomial_is_exact(n: int, a: int, b: int) -> None:
    """Within 1e-12 of the sum over whole numbers, at every count."""
    found = [_at_most(k, n, a / (a + b), a + b) for k in range(-1, n + 1)]
    assert found == pytest.approx([0.0, *map(float, exact(n, a, b))], abs=1e-12)


def test_runs_that_do_not_vary_are_binomial() -> None:
    """In the limit of a large concentration, to more digits than an alpha of .01 needs."""
    for k in (1900, 1980, 1990, 1995):
        assert _at_most(k, 2000, 0.995, 1e9) == pytest.approx(binomial_cdf(k, 2000, 0.995), abs=1e-5)


# Against history.


def test_the_lower_bound_is_above_zero_exactly_when_so_few_are_rarer_than_alpha() -> None:
    """Its sign is the test: the candidate's count under what the history predicts, the history's own error included."""
    mean = (1990 * 20 + 0.5) / 40_001
    concentration = (1 - 1 / 40_000) * 40_000  # all that is not known is the mean itself
    for ok in range(1960, 2001):
        rarer = _at_most(ok, 2000, mean, concentration) < 0.01
        assert (against(Tally(ok, 2000), STEADY).lower > 0) == rarer, ok


def test_the_bounds_are_ordered_and_the_change_lies_between() -> None:
    """One-sided at 99 % outside those at 95 %."""
    change = against(Tally(1960, 2000), STEADY)
    assert change.change == pytest.approx(0.015, abs=1e-4)
    assert is_ordered(change)
    assert 0 < change.mde < 0.015
    assert not change.is_log


def test_a_history_that_varies_excuses_more() -> None:
    """The same loss is an alarm after steady runs, and none after runs that came and went by as much."""
    uneven = [Tally(1990 + 20 * (-1) ** number - 10, 2000) for number in range(20)]
    assert against(Tally(1965, 2000), STEADY).lower > 0
    assert against(Tally(1965, 2000), uneven).lower < 0


def test_only_the_last_twenty_runs_count() -> None:
    """What was long ago is no excuse."""
    assert against(Tally(1960, 2000), [Tally(1000, 2000)] * 30 + STEADY) == against(Tally(1960, 2000), STEADY)
    assert against(Tally(1960, 2000), STEADY).n == RUNS


@pytest.mark.parametrize("candidate", [Tally(0, 1000), Tally(1000, 1000), Tally(1, 1000)])
@pytest.mark.parametrize("share", [0, 500, 1000])
def test_all_or_nothing_has_bounds_as_well(candidate: Tally, share: int) -> None:
    """No success at all, or no failure, on either side: finite, in order, and an alarm where one is due."""
    change = against(candidate, [Tally(share, 1000)] * 5)
    bounds = (change.lower, change.lower95, change.upper95, change.upper)
    assert list(bounds) == sorted(bounds)
    assert all(map(math.isfinite, (*bounds, change.mde)))
    assert (change.lower > 0) == (candidate.ok / 1000 < share / 1000 - 0.1)


def test_fewer_than_two_runs_say_nothing() -> None:
    """Nor do runs in which nothing arrived."""
    assert loss_against(Tally(10, 10), [Tally(10, 10)]) is None
    assert loss_against(Tally(10, 10), [Tally(10, 10), Tally(0, 0)]) is None
    assert loss_against(Tally(0, 0), STEADY) is None


def test_a_healthy_candidate_of_varying_runs_is_seldom_accused() -> None:
    """Runs that vary by beta(995 / 4, 5 / 4): one in a hundred, where one large pooled run would be one in eight."""
    rng = np.random.default_rng(5)
    alarms, trials = 0, 1000
    for _ in range(trials):
        runs = [Tally(int(ok), 2000) for ok in rng.binomial(2000, rng.beta(995, 5, size=21))]
        change = against(runs[0], runs[1:])
        alarms += change.lower > 0 and change.change > 0.01
    assert alarms <= 0.02 * trials


# In pairs.


def test_a_loss_in_every_pair_is_found_by_both_tests() -> None:
    """Ten pairs of 200, about 1 failure against about 6."""
    pairs = [(Tally(199 - number % 2, 200), Tally(194 - number % 3, 200)) for number in range(10)]
    change = in_pairs(pairs)
    assert change.lower > 0
    assert change.change == pytest.approx(np.mean([(a.ok - b.ok) / 200 for a, b in pairs]))
    assert is_ordered(change)


def test_one_burst_of_failures_is_no_loss() -> None:
    """Sixty failures in one arm of ten pairs: beyond doubt by their number, and one event all the same."""
    pairs = [(Tally(199, 200), Tally(199, 200))] * 9 + [(Tally(200, 200), Tally(140, 200))]
    assert in_pairs(pairs).lower < 0


def test_a_handful_of_failures_is_no_loss() -> None:
    """One in each of ten pairs: no spread, so certain to a t test, and 10 : 0 of a coin at alpha / 100 is not."""
    pairs = [(Tally(200, 200), Tally(199, 200))] * 10
    assert in_pairs(pairs, 0.01).lower > 0
    assert in_pairs(pairs, 0.0001).lower < 0


def test_the_exact_bound_is_the_binomial_tests() -> None:
    """Without spread between pairs its sign alone decides: P(at least so many of all failures are the candidate's)."""
    for failed in range(1, 12):
        pairs = [(Tally(199, 200), Tally(200 - failed, 200))] * 3
        tail = 1 - binomial_cdf(3 * failed - 1, 3 * failed + 3, 0.5)
        assert (in_pairs(pairs, 0.01).lower > 0) == (tail <= 0.01 and failed > 1), failed


def test_no_failure_anywhere_bounds_the_loss_by_how_many_were_tried() -> None:
    """By the rule of three: at most about 3 of 2,000."""
    change = in_pairs([(Tally(200, 200), Tally(200, 200))] * 10)
    assert change.change == 0
    assert change.upper95 == pytest.approx(3 / 2000, rel=0.01)
    assert change.lower95 == pytest.approx(-3 / 2000, rel=0.01)


def test_fewer_than_two_pairs_say_nothing() -> None:
    """Nor do pairs in which one arm sent nothing."""
    assert loss_in_pairs([(Tally(9, 10), Tally(10, 10))], ALPHA) is None
    assert loss_in_pairs([(Tally(9, 10), Tally(10, 10)), (Tally(0, 0), Tally(9, 10))], ALPHA) is None


@given(
    counts=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=2, max_size=12),
    alpha=st.sampled_from([0.01, ALPHA, 0.001]),
)
def test_bounds_of_pairs_are_ordered_and_mirrored(counts: list[tuple[int, int]], alpha: float) -> None:
    """Exchanging the arms exchanges the bounds."""
    pairs = [(Tally(a, 40), Tally(b, 40)) for a, b in counts]
    change, mirrored = in_pairs(pairs, alpha), in_pairs([(b, a) for a, b in pairs], alpha)
    bounds = (change.lower, change.lower95, change.upper95, change.upper)
    assert bounds == pytest.approx(sorted(bounds), abs=1e-12)
    assert (change.lower, change.upper95) == pytest.approx((-mirrored.upper, -mirrored.lower95), abs=1e-9)
    assert change.mde >= 0
