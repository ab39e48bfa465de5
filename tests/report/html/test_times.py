"""The parts of a workflow's time add up to it, and lie on the path that its end waited for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.observation.observation import Observation, Outcome, Phase, StepRecord
from harness.report.html.times import critical_path, groups, parts_of, telling


def step(name: str, queued: float, started: float, ended: float, models_s: float = 0.0) -> StepRecord:
    """A step of the agent of that name."""
    return StepRecord(name, name, queued, started, ended, Outcome.OK, 1, models_s)


def workflow(*steps: StepRecord, ended: float = 10.0, stamps: bool = True, **fields: object) -> Observation:
    """Intended at 0, sent at 0.1, accepted at 0.2, begun at 0.5; the target ended it 0.1 before we knew."""
    target = {"target_accepted": 0.2, "target_started": 0.5, "target_ended": ended - 0.1} if stamps else {}
    whole = {"id": "w", "kind": "k", "level": "10", "phase": Phase.MEASURE, "seed": 1, "intended": 0.0, "started": 0.1}
    return Observation(outcome=Outcome.OK, ended=ended, steps=steps, **{**whole, **target, **fields})  # type: ignore[arg-type]


CHAIN = (step("triage", 0.5, 0.6, 2.0), step("data", 2.1, 3.1, 6.0, 2.0), step("optimization", 6.0, 6.0, 9.8))


def test_a_chain_is_its_own_critical_path() -> None:
    """Whatever the order in which its steps are told."""
    assert [each.name for each in critical_path(CHAIN[::-1])] == ["triage", "data", "optimization"]


def test_of_branches_only_the_longest_is_on_the_path() -> None:
    """The others were over before anybody waited for them."""
    fan = (step("plan", 0, 0, 1), step("short", 1, 1, 3), step("long", 1, 1, 5), step("join", 5, 5, 6))
    assert [each.name for each in critical_path(fan)] == ["plan", "long", "join"]


def test_steps_of_no_length_end_the_search_too() -> None:
    """Many at one moment are no ring."""
    assert len(critical_path([step("a", 1, 1, 1), step("b", 1, 1, 1)])) == 2


def test_the_parts_of_a_chain() -> None:
    """Each where it belongs."""
    found = {name: seconds for (_, name), seconds in parts_of(workflow(*CHAIN)).items()}
    assert found["late start"] == pytest.approx(0.1)
    assert found["on the way"] == pytest.approx(0.2)
    assert found["the admission queue"] == pytest.approx(0.3)
    assert found["waiting for data"] == pytest.approx(1.0)
    assert found["models, asked by data"] == pytest.approx(2.0)
    assert found["data"] == pytest.approx(0.9)
    assert found["between steps"] == pytest.approx(0.2)
    assert sum(found.values()) == pytest.approx(10.0)


def test_a_black_box_has_what_is_left_within_it() -> None:
    """No stamps of its own, and steps that it may have told."""
    found = {name: seconds for (_, name), seconds in parts_of(workflow(stamps=False)).items()}
    assert found == {"late start": pytest.approx(0.1), "the target, beyond its steps": pytest.approx(9.9)}


TIMES = st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3), st.floats(0, 3), st.floats(0, 1)), min_size=1, max_size=6)


@given(TIMES)
def test_the_parts_add_up_to_the_latency(times: list[tuple[float, float, float, float]]) -> None:
    """For any chain of steps with gaps between them."""
    at, steps = 0.5, []
    for number, (gap, wait, took, share) in enumerate(times):
        queued = at + gap
        steps.append(step(f"s{number}", queued, queued + wait, queued + wait + took, share * took))
        at = queued + wait + took
    whole = workflow(*steps, ended=at + 0.5)
    assert sum(parts_of(whole).values()) == pytest.approx(at + 0.5)


def test_groups_are_all_the_middle_and_the_slowest() -> None:
    """With their own means; one that never ended is in none."""
    runs = [workflow(ended=1.0 + number / 10, id=f"w{number}") for number in range(100)]
    runs.append(workflow(ended=99.0, censored=True, id="censored"))
    found = groups(runs)
    assert [(group.name, group.count) for group in found] == [
        ("all", 100), ("around the median", 20), ("the slowest 5 %", 5),
    ]  # fmt: skip
    assert found[0].latency_s == pytest.approx(5.95)
    assert found[2].latency_s == pytest.approx(10.7)
    assert sum(found[1].by_nature().values()) == pytest.approx(found[1].latency_s)


def test_nothing_ended_means_no_groups() -> None:
    """As in a run that was cut at once."""
    assert groups([]) == []
    assert telling([]) == []


def test_a_part_of_next_to_nothing_has_no_row() -> None:
    """Unless it is something for the slowest."""
    fast = [workflow(step("a", 0.5, 0.501, 9.9), id=f"f{n}") for n in range(99)]
    slow = workflow(step("a", 0.5, 8.0, 20.0), id="slow", ended=20.2)
    parts = [name for _, name in telling(groups(fast))]
    assert "waiting for a" not in parts
    assert "waiting for a" in [name for _, name in telling(groups([*fast, slow]))]
