"""Whose time is it: what is left of a workflow's time when its models' is taken away, for any graph and any retries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.observation.llm import LlmCall
from harness.scenario.shapes import SHAPES, Step
from harness.statistics.calls import LevelCalls
from harness.statistics.overhead import critical_path, held, overheads
from harness.statistics.tally import MEASURE, OK, STEP_ROW, WORKFLOW_ROW, LevelTally, Rows

TIMES = st.floats(0.0, 30.0)
ALMOST = pytest.approx
W = "w-1"


def calls_of(*attempts: tuple[str, float, float, float | None], workflow: str = W) -> LevelCalls:
    """Attempts of a workflow as (step, at, took, retry after)."""
    calls = LevelCalls()
    for step, at, took_s, retry_after_s in attempts:
        calls.add(
            LlmCall(level="10", at=at, api="openai.chat", model="m", workflow=workflow, agent="data", step=step,
                    ended_s=took_s, retry_after_s=retry_after_s, complete=True)
        )  # fmt: skip
    return calls


def workflow_row(accepted: float, ended: float, workflow: str = W, *, stamped: bool = True) -> Rows:
    """A workflow that succeeded; without `stamped`, as an HTTP target's."""
    stamps = (accepted, accepted, ended) if stamped else (np.nan, np.nan, np.nan)
    return np.array([(accepted, accepted, ended, *stamps, hash(workflow), OK | MEASURE)], dtype=WORKFLOW_ROW)


def overhead(calls: LevelCalls, took_s: float, steps: Sequence[Step] | None, *, stamped: bool = True) -> list[float]:
    """Of one workflow that was accepted at 0 and took so long."""
    graphs = {} if steps is None else {"job": steps}
    rows = {"job": workflow_row(0.0, took_s, stamped=stamped)}
    return list(overheads(calls.rows, rows, graphs, LevelTally()).workflows)


def run_side_by_side(steps: Sequence[Step], model_s: Sequence[float], own_s: float) -> tuple[LevelCalls, float]:
    """What an orchestrator leaves that starts each step as soon as it may, and adds `own_s` to every step."""
    ended: dict[str, float] = {}
    attempts = []
    for step, took_s in zip(steps, model_s, strict=True):
        began = max((ended[needed] for needed in step.needs), default=0.0) + own_s
        attempts.append((step.name, began, took_s, None))
        ended[step.name] = began + took_s
    return calls_of(*attempts), max(ended.values())


@given(st.sampled_from(sorted(SHAPES)), st.lists(TIMES, min_size=6, max_size=6))
def test_an_orchestrator_that_costs_nothing_has_no_overhead(shape: str, model_s: list[float]) -> None:
    """Whatever the graph: branches side by side are not added up."""
    steps = SHAPES[shape]
    calls, took_s = run_side_by_side(steps, model_s[: len(steps)], 0.0)
    assert overhead(calls, took_s, steps) == ALMOST([0.0], abs=1e-6)


@given(st.lists(TIMES, min_size=1, max_size=8), st.floats(0.0, 1.0))
def test_along_a_chain_overheads_add_up(model_s: list[float], own_s: float) -> None:
    """Each step's own time is on the only path there is."""
    steps = [
        Step(name=f"s{place}", agent="data", needs=(f"s{place - 1}",) * (place > 0)) for place in range(len(model_s))
    ]
    calls, took_s = run_side_by_side(steps, model_s, own_s)
    assert overhead(calls, took_s, steps) == ALMOST([own_s * len(steps)], abs=1e-6)


@given(st.sampled_from(sorted(SHAPES)), st.lists(TIMES, min_size=6, max_size=6), st.floats(0.0, 1.0))
def test_overhead_lies_between_none_and_every_steps(shape: str, model_s: list[float], own_s: float) -> None:
    """Own time beside a longer branch costs nothing; on the longest path it costs in full."""
    steps = SHAPES[shape]
    calls, took_s = run_side_by_side(steps, model_s[: len(steps)], own_s)
    [found] = overhead(calls, took_s, steps)
    assert -1e-6 <= found <= own_s * len(steps) + 1e-6


@given(st.lists(st.floats(0.5, 30.0), min_size=6, max_size=6))
def test_a_fan_out_run_one_after_the_other_shows(model_s: list[float]) -> None:
    """All branches but the longest are the orchestrator's own time."""
    steps = SHAPES["fan-out"]
    at, attempts = 0.0, []
    for step, took_s in zip(steps, model_s, strict=True):
        attempts.append((step.name, at, took_s, None))
        at += took_s
    calls = calls_of(*attempts)
    assert overhead(calls, at, steps) == ALMOST([sum(model_s[1:5]) - max(model_s[1:5])], abs=1e-6)
    assert overhead(calls, at, None) == ALMOST([0.0], abs=1e-6)  # nobody said that they could run side by side


@given(
    st.lists(
        st.tuples(st.floats(0.0, 5.0), st.floats(0.0, 5.0), st.none() | st.floats(0.0, 5.0)), min_size=1, max_size=8
    )
)
def test_a_wait_is_the_providers_as_far_as_it_asked_for_it(attempts: list[tuple[float, float, float | None]]) -> None:
    """Each attempt takes a time and is followed by a pause, of which the provider had asked for some."""
    at, tried, injected = 0.0, [], 0.0
    for place, (took_s, pause_s, retry_after_s) in enumerate(attempts):
        tried.append(("look", at, took_s, retry_after_s))
        injected += took_s + (min(pause_s, retry_after_s or 0.0) if place < len(attempts) - 1 else 0.0)
        at += took_s + pause_s
    rows = calls_of(*tried).rows
    assert held(rows["step"], rows, obeyed=True).seconds == ALMOST([injected], abs=1e-6)
    assert overhead(calls_of(*tried), at, [Step(name="look", agent="data")]) == ALMOST([at - injected], abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), min_size=1, max_size=12))
def test_no_moment_is_counted_twice(spans: list[tuple[int, int]]) -> None:
    """Attempts that overlap, as after a time-out of ours, and calls side by side within a workflow."""
    rows = calls_of(*((f"s{place}", float(at), float(took), None) for place, (at, took) in enumerate(spans))).rows
    covered = {second for at, took in spans for second in range(at, at + took)}
    assert held(rows["workflow"], rows, obeyed=False).seconds == ALMOST([len(covered)], abs=1e-6)


def test_workflows_do_not_mix() -> None:
    """Each has its own path, also one whose steps have the same names and times."""
    calls = calls_of(("look", 0.0, 3.0, None))
    for name, took_s in (("w-2", 5.0), ("w-3", 1.0)):
        calls.add(LlmCall(level="10", at=0.5, api="openai.chat", model="m", workflow=name, step="look", ended_s=took_s))
    ids = np.array([hash("w-3"), hash(W), hash("w-4"), hash("w-2")])
    injected = held(calls.rows["step"], calls.rows, obeyed=True)
    assert list(critical_path(ids, [Step(name="look", agent="data")], injected)) == ALMOST([1.0, 3.0, 0.0, 5.0])


def test_a_workflow_without_a_call_has_no_overhead() -> None:
    """There is nothing to tell apart."""
    assert overhead(calls_of(("look", 0.0, 1.0, None), workflow="another"), 2.0, SHAPES["sequential"]) == []


def test_a_target_without_stamps_is_timed_from_outside() -> None:
    """Transit is in it then; of our own one it would be a missing stamp, which is not measured."""
    calls = calls_of(("look", 0.5, 1.0, None))
    assert overhead(calls, 2.0, None, stamped=False) == ALMOST([1.0])
    assert np.isnan(overhead(calls, 2.0, SHAPES["sequential"], stamped=False)).all()


def test_it_is_never_below_zero() -> None:
    """A branch may still be at the provider when its workflow has failed."""
    assert overhead(calls_of(("triage", 0.0, 9.0, None)), 2.0, SHAPES["sequential"]) == [0.0]


def test_a_steps_overhead_holds_its_wait_for_an_instance() -> None:
    """From asking for one to the end; a step that called no model has none."""
    tally = LevelTally()
    steps = np.array([(0.0, 1.0, 4.0, hash(W) ^ hash("look")), (0.0, 1.0, 4.0, hash(W) ^ hash("idle"))], dtype=STEP_ROW)
    tally.steps["data"] += steps.tobytes()
    found = overheads(calls_of(("look", 1.5, 2.0, None)).rows, {"job": workflow_row(0.0, 4.0)}, {}, tally)
    assert found.steps["data"] == ALMOST([2.0, np.nan], nan_ok=True)
