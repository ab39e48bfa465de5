"""What a dependency saw of what was meant: amplification, retries after a 429, waste."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.observation.llm import LlmCall
from harness.statistics.amplification import (
    Amplification,
    Count,
    Wakes,
    Waste,
    amplification,
    call_layers,
    dispersion,
    wakes_after_429,
    waste,
)
from harness.statistics.calls import Calls, LevelCalls


def call(workflow: str, step: str, at: float, attempt: int = 0, **more: Any) -> LlmCall:
    """One attempt that was answered at once, unless `more` says otherwise."""
    written = {"status": 200, "complete": True, "ended_s": 0.0, **more}
    return LlmCall(level="25", at=at, api="openai.chat", model="m", workflow=workflow, step=step, attempt=attempt,
                   **written)  # fmt: skip


def rows_of(*calls: LlmCall) -> Calls:
    """As `calls.py` keeps them."""
    level = LevelCalls()
    for each in calls:
        level.add(each)
    return level.rows


def refused(workflow: str, step: str, at: float, retry_after_s: float | None, attempt: int = 0) -> LlmCall:
    """A 429 that took a quarter of a second."""
    return call(workflow, step, at, attempt, status=429, complete=False, ended_s=0.25, retry_after_s=retry_after_s)


def test_amplification_multiplies_from_layer_to_layer() -> None:
    """100 operations, 150 tries of theirs, 450 requests: 1.5 x 3 = 4.5."""
    found = amplification([Count("workflows", 100), Count("steps", 150), Count("requests", 450)])
    assert found == Amplification(layers={"steps": 1.5, "requests": 3.0}, end_to_end=4.5)
    assert found.metric.value == 4.5


def test_amplification_below_one_says_that_some_never_arrived() -> None:
    """Of ten that were meant, the dependency saw two."""
    assert amplification([Count("calls", 10), Count("attempts", 2)]).end_to_end == 0.2


def test_amplification_of_nothing_is_not_known() -> None:
    """Nor is it 1. A layer below an empty one has no ratio either."""
    found = amplification([Count("calls", 0), Count("asked", 0), Count("attempts", 0)])
    assert found == Amplification(layers={"asked": None, "attempts": None}, end_to_end=None)
    assert found.metric.value is None
    with pytest.raises(ValueError, match="logical operations"):
        amplification([Count("calls", 3)])


def test_the_layers_of_calls_are_told_apart_by_the_sdks_numbers() -> None:
    """Three steps. a: the orchestrator asked twice, the SDK tried 2 + 3 times; b: twice, and both first tries
    never arrived; c was meant and never arrived. Lines come in the order of their ends."""
    calls = rows_of(
        call("w1", "a", 1.5, 1),
        call("w1", "a", 1.0, 0),
        call("w1", "a", 4.0, 0),
        call("w1", "a", 5.0, 1),
        call("w1", "a", 6.0, 2),
        call("w1", "b", 3.0, 1),
        call("w1", "b", 4.0, 1),
    )
    layers = call_layers(calls, meant=3)
    assert layers == (Count("calls", 3), Count("asked", 4), Count("attempts", 7))
    assert amplification(layers).end_to_end == 7 / 3


def test_calls_of_no_named_step_are_asked_where_the_sdk_begins() -> None:
    """Nobody knows which belong together."""
    calls = rows_of(call("", "", 1.0, 0), call("", "", 2.0, 1), call("", "", 3.0, 0))
    assert call_layers(calls, meant=2) == (Count("calls", 2), Count("asked", 2), Count("attempts", 3))
    assert call_layers(rows_of(), meant=2) == (Count("calls", 2), Count("asked", 0), Count("attempts", 0))


def test_a_wake_is_the_next_attempt_after_a_429_that_said_when() -> None:
    """Permitted at 1 + 0.25 + 2 = 3.25. Without a Retry-After, or without another attempt, there is none."""
    found = wakes_after_429(
        rows_of(
            call("w1", "a", 3.5, 1),
            refused("w1", "a", 1.0, 2.0),
            refused("w2", "a", 1.0, None),
            call("w2", "a", 1.5, 1),
            refused("w3", "a", 1.0, 2.0),
            call("w4", "a", 4.0),
        )
    )
    assert (found.permitted.tolist(), found.at.tolist()) == ([3.25], [3.5])


def test_a_second_429_after_a_first_is_a_wake_and_makes_another() -> None:
    """Each is a moment at which somebody came back."""
    found = wakes_after_429(
        rows_of(refused("w", "a", 0.0, 1.0), refused("w", "a", 2.0, 1.0, 1), call("w", "a", 4.0, 2))
    )
    assert (found.permitted.tolist(), found.at.tolist()) == ([1.25, 3.25], [2.0, 4.0])


def wakes(*late_s: float, permitted: float = 10.0) -> Wakes:
    """So long after the moment that was permitted to all."""
    late = np.array(late_s)
    return Wakes(permitted=np.full(len(late), permitted), at=permitted + late)


def test_a_herd_that_comes_back_at_once_has_no_dispersion() -> None:
    """All at the very moment: none is early, all are within a tenth of a second, and nothing spreads them."""
    found = dispersion(wakes(0.0, 0.0, 0.0, 0.0))
    assert (found.wakes, found.early, found.spread_s, found.herd_share) == (4, 0, 0.0, 1.0)
    assert found.metric.value == 0.0


def test_jitter_spreads_wakes() -> None:
    """Quartiles by nearest rank: the 2nd and the 6th of 8, so 2.5 - 0.5 = 2 s. Two of them are within 0.1 s."""
    found = dispersion(wakes(0.0, 0.5, 0.5625, 1.0, 2.0, 2.5, 3.0, 4.0))
    assert (found.spread_s, found.herd_share) == (2.0, 0.25)


def test_who_comes_before_the_permitted_moment_is_early() -> None:
    """A millisecond is the clock of an event loop; more is not."""
    assert dispersion(wakes(-0.5, -0.002, -0.0005, 1.0)).early == 2


def test_few_wakes_have_no_spread_and_none_have_nothing() -> None:
    """Three have no quartiles."""
    assert dispersion(wakes(0.0, 1.0, 2.0)).spread_s is None
    none = dispersion(wakes())
    assert (none.wakes, none.herd_share, none.metric.value) == (0, None, None)


@given(st.lists(st.integers(0, 64), min_size=4, max_size=30), st.integers(0, 10_000))
def test_dispersion_does_not_depend_on_when_the_clock_began(late: list[int], by_s: int) -> None:
    """Sixteenths of a second, so that nothing is rounded."""
    late_s = [sixteenths / 16 for sixteenths in late]
    assert dispersion(wakes(*late_s, permitted=10.0 + by_s)) == dispersion(wakes(*late_s))


def ids(*workflows: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Hashed as `tally.py` does."""
    return np.array([hash(workflow) for workflow in workflows], dtype=np.int64)


def test_waste_is_all_that_nothing_came_of() -> None:
    """By hand, of 1,000 tokens and 1 $ in all; `good` ended ok, `bad` did not.

    good a: a failed attempt (100 asked, 0.125 $), then one of use (100 + 100, 3 of them unread: 3). good b: answered
    twice, so the first is discarded (100 + 50, 0.25 $), and the second (100 + 50, 0.25 $) is of use.
    bad a: answered, for nothing (200 + 197, 0.25 $). Discarded: 100 + 3 + 150 + 397 = 650 tokens and 0.625 $.
    """
    calls = rows_of(
        call("good", "a", 1.0, 0, status=500, complete=False, input_tokens=100, cost_usd=0.125),
        call("good", "a", 2.0, 1, input_tokens=100, output_tokens=100, unread_tokens=3, cost_usd=0.125),
        call("good", "b", 4.0, input_tokens=100, output_tokens=50, cost_usd=0.25),
        call("good", "b", 3.0, input_tokens=100, output_tokens=50, cost_usd=0.25),
        call("bad", "a", 1.0, input_tokens=200, output_tokens=197, cost_usd=0.25),
    )
    assert waste(calls, ids("good")) == Waste(calls=3, tokens=650, cost_usd=0.625, tokens_share=0.65, cost_share=0.625)


def test_a_call_that_names_nobody_is_of_use_when_it_was_answered() -> None:
    """It cannot be known what became of it; without a step, two of a workflow need not be the same one twice."""
    calls = rows_of(
        call("", "", 1.0, input_tokens=10),
        call("", "", 1.0, input_tokens=10, complete=False),
        call("good", "", 1.0, input_tokens=10),
        call("good", "", 2.0, input_tokens=10),
    )
    assert waste(calls, ids("good")).tokens == 10


def test_waste_without_a_price_is_known_in_tokens_only() -> None:
    """Not as 0 $. Where all with an unknown price are of use, the discarded have one, and no share."""
    calls = rows_of(call("good", "a", 1.0, cost_usd=None), call("bad", "a", 1.0, input_tokens=7, cost_usd=0.5))
    both = waste(calls, ids())
    assert (both.tokens, both.cost_usd, both.cost_share) == (7, None, None)
    one = waste(calls, ids("good"))
    assert (one.cost_usd, one.cost_share) == (0.5, None)


def test_no_calls_waste_nothing() -> None:
    """And have no share of it."""
    nothing = Waste(calls=0, tokens=0, cost_usd=0.0, tokens_share=None, cost_share=None)
    assert waste(rows_of(), ids("good")) == nothing
