"""The search for the load that an objective allows, without a clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.sweep.search import AROUND_MAX, CLOSE, LEVELS_MIN, next_around, next_load, order


def swept(holds: Callable[[int], bool], most: int = 500) -> dict[int, bool]:
    """All levels of a sweep of a system that holds the objective at these loads."""
    held: dict[int, bool] = {}
    while (load := next_load(held, most)) is not None:
        assert load not in held
        assert 1 <= load <= most
        held[load] = holds(load)
        assert len(held) <= 40
    return held


def test_it_doubles_halves_and_fills() -> None:
    """37 is the last that holds."""
    held = swept(lambda load: load <= 37, most=100)
    assert list(held)[:5] == [4, 8, 16, 32, 64]
    assert len(held) >= LEVELS_MIN
    assert max(load for load, ok in held.items() if ok) in range(33, 38)


@given(limit=st.integers(1, 400))
def test_the_bound_is_closed_in_on(limit: int) -> None:
    """Between a level that holds and one that does not, as close as whole loads allow; one level lies beyond."""
    held = swept(lambda load: load <= limit)
    below = max(load for load, ok in held.items() if ok)
    above = min(load for load, ok in held.items() if not ok)
    assert below <= limit < above
    assert above / below <= CLOSE or above == below + 1


@given(seed=st.integers(0, 2**32), most=st.integers(1, 300))
def test_it_ends_whatever_a_noisy_system_says(seed: int, most: int) -> None:
    """Also where the objective holds at one level and not at one below it."""
    from random import Random

    rng = Random(seed)
    swept(lambda _: rng.random() < 0.7, most)


def test_a_system_that_never_gives_out_is_measured_up_to_the_most() -> None:
    """And with as many levels."""
    held = swept(lambda _: True, most=100)
    assert max(held) == 100
    assert len(held) >= LEVELS_MIN


def test_a_system_that_holds_nothing_is_given_up_at_once() -> None:
    """Down to one at a time."""
    assert swept(lambda _: False, most=100) == {4: False, 2: False, 1: False}


def test_it_goes_down_where_the_first_is_too_much() -> None:
    """Three is the last that holds, and it begins with twenty."""
    held = swept(lambda load: load <= 3, most=500)
    assert list(held)[:4] == [20, 10, 5, 2]
    assert held[3]
    assert not held[4]


def test_few_loads_are_all_measured() -> None:
    """There are no more whole ones."""
    assert sorted(swept(lambda _: True, most=4)) == [1, 2, 3, 4]


def test_each_sitting_has_an_order_of_its_own() -> None:
    """The same for the same seed."""
    loads = [1, 2, 4, 8, 16, 32, 64]
    orders = [order(loads, seed=1, sitting=sitting) for sitting in range(3)]
    assert [sorted(each) for each in orders] == [loads] * 3
    assert len({tuple(each) for each in orders}) == 3
    assert orders == [order(loads, seed=1, sitting=sitting) for sitting in range(3)]


def test_a_largest_load_of_nothing_is_refused() -> None:
    """There would be nothing to do."""
    with pytest.raises(ValueError, match="nothing to measure"):
        next_load({}, 0)


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_near_a_guess_the_bound_is_bracketed_or_the_search_gives_up(limit: int, begun: int) -> None:
    """Up or down from the guess; a guess that was right is found in two or three levels."""
    held: dict[int, bool] = {}
    while (load := next_around(held, begun)) is not None:
        assert load >= 1
        assert load not in held
        held[load] = load <= limit
    assert len(held) <= AROUND_MAX
    below, broken = [load for load in held if held[load]], [load for load in held if not held[load]]
    if 0.9 * limit <= begun <= 1.1 * limit and limit >= 2:
        assert below
        assert broken
        assert max(below) <= limit < min(broken)
