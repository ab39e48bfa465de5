"""The shift function: which quantiles moved, by how much, and how sure that is."""

from __future__ import annotations

import math
import random

import pytest

from harness.statistics.reading import Reading
from harness.statistics.shift import QUANTILES, shift_function


def arm(scale: float, tail: float = 1.0, *, without: str = "") -> Reading:
    """An arm whose quantiles are scaled, p99 by `tail` besides."""
    quantiles = {name: scale * (0.1 + 0.01 * n) for n, name in enumerate(QUANTILES)}
    quantiles["p99"] *= tail
    quantiles.pop(without, None)
    return Reading(arrivals=100, ok=100, measure_s=10.0, blocks=(), quantiles=quantiles)


def test_a_tail_shows_in_the_tail_alone() -> None:
    """What every quantile has in common is told apart from what p99 has besides."""
    pairs = [(arm(s), arm(s * 1.1, 1.5)) for s in (0.9, 1.0, 1.2)]
    found = {shift.quantile: shift for shift in shift_function(pairs, 0.01)}
    assert list(found) == list(QUANTILES)
    assert found["p50"].change == pytest.approx(math.log(1.1))
    assert found["p99"].change == pytest.approx(math.log(1.65))
    assert found["p50"].upper - found["p50"].lower == pytest.approx(0, abs=1e-9)  # a sitting's own scale cancels


def test_the_interval_is_students() -> None:
    """Published: the 99 % quantile of t with 4 degrees of freedom is 3.747."""
    changes = [0.02, 0.05, 0.03, 0.09, 0.01]
    shifts = shift_function([(arm(1), arm(math.exp(change))) for change in changes], 0.01)
    found = next(shift for shift in shifts if shift.quantile == "p50")
    sd = math.sqrt(sum((c - 0.04) ** 2 for c in changes) / 4)
    assert found.change == pytest.approx(0.04)
    assert found.upper - found.change == pytest.approx(3.747 * sd / math.sqrt(5), rel=1e-3)
    assert (found.n, found.alpha) == (5, 0.01)


def test_bounds_hold_as_often_as_they_say() -> None:
    """At alpha 5 % the true shift lies above the lower bound in about 95 % of duets."""
    rng = random.Random(5)
    held = 0
    for _ in range(400):
        pairs = [(arm(1), arm(math.exp(rng.gauss(0.1, 0.05)))) for _ in range(6)]
        held += next(s for s in shift_function(pairs, 0.05) if s.quantile == "p50").lower < 0.1
    assert 360 <= held <= 396


def test_what_two_pairs_do_not_have_is_left_out() -> None:
    """No interval is made of one pair, and a quantile that lacks on one side is no change."""
    assert shift_function([], 0.01) == []
    assert shift_function([(arm(1), arm(1))], 0.01) == []
    found = shift_function([(arm(1), arm(1)), (arm(1, without="p99"), arm(1))], 0.01)
    assert [shift.quantile for shift in found] == [name for name in QUANTILES if name != "p99"]
