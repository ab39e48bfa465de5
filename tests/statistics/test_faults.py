"""What a run says of its faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.observation.breakers import BreakerEvent
from harness.observation.faults import FaultEvent, Turn
from harness.observation.observation import Outcome
from harness.scenario.models import LlmFault
from harness.scenario.shapes import Step
from harness.statistics.faults import did_not_bite, faulted_services
from harness.statistics.summary import summarise
from tests.conftest import RunBuilder

WHOLE: tuple[Turn, ...] = ("begins", "began", "bit", "lifts", "lifted")
FREEZE = {"kind": "redis.freeze", "for": "3 s"}


def events(*turns: Turn, fault: int = 0, kind: str = "redis.freeze") -> list[FaultEvent]:
    """A second apart, with as many bites as turns were taken."""
    return [
        FaultEvent(level="10", fault=fault, kind=kind, turn=turn, at=10.0 + second, bites=second)
        for second, turn in enumerate(turns)
    ]


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ((), "fault 1, redis.freeze never began"),
        (("begins", "failed"), "fault 1, redis.freeze never began"),
        (("begins", "began", "lifts", "lifted"), "fault 1, redis.freeze began and met nothing to act on"),
    ],
)
def test_a_fault_that_did_not_bite_is_said(turns: tuple[Turn, ...], said: str) -> None:
    """By its place and kind."""
    [sentence] = did_not_bite([FREEZE], events(*turns))
    assert said in sentence


def test_each_fault_is_looked_at_alone() -> None:
    """The second's bite is not the first's."""
    second = events(*WHOLE, fault=1, kind="machine.cpu")
    declared = [FREEZE, {"kind": "machine.cpu", "for": "1 s"}]
    assert list(did_not_bite(declared, [*events(*WHOLE), *second])) == []
    assert len(list(did_not_bite(declared, second))) == 1
    assert faulted_services(declared) == {"redis", "machine"}


def test_a_level_tells_of_its_faults(run: RunBuilder) -> None:
    """A service that was broken on purpose is not said to have been away; a fault that did nothing is."""
    run.fault = (FREEZE, {"kind": "postgres.freeze", "for": "1 s"})
    run.broke("redis.freeze", *WHOLE)
    run.health(0.001, None, None, None, None, 0.001)
    run.sound()
    [level] = summarise(run.write()).levels
    assert [each.kind for each in level.faults] == ["redis.freeze"]
    assert level.undeclared == ()
    [sentence] = level.not_fired
    assert "fault 2, postgres.freeze never began" in sentence


def test_a_fault_of_models_has_to_meet_a_call(run: RunBuilder) -> None:
    """Of two, one was injected into a call."""
    run.llm, run.llm_faults = "simulated", (LlmFault(fault="stall"), LlmFault(fault="garbage", share=0.001))
    run.call("w0", "step", fault="stall")
    run.sound()
    [level] = summarise(run.write()).levels
    [sentence] = level.not_fired
    assert "llm.fault 2, garbage, concerned no call" in sentence
    run.llm = "live"
    [level] = summarise(run.write()).levels
    assert level.not_fired == ()


SLOW = {"kind": "agent.slow", "agent": "data", "for": "4 s"}


def harmed(run: RunBuilder) -> RunBuilder:
    """400 sound workflows that need agent data and 100 that do not; four of the first are hurt, and one other."""
    run.fault, run.agents = (SLOW,), ("data", "triage")
    run.workflow_steps = (Step(name="step", agent="data"),)
    run.broke("agent.slow", *WHOLE)
    run.workflows(100, kind="other")
    for _ in range(4):
        run.workflow(outcome=Outcome.FAILED, intended=16.0, steps=(run.step("triage", outcome=Outcome.FAILED),))
    run.workflow(9.0, kind="other", intended=16.0)
    run.sound()
    return run


def test_who_did_not_need_what_was_broken_is_a_bystander(run: RunBuilder) -> None:
    """Five were harmed, one of which is of a kind that never calls the agent."""
    [level] = summarise(harmed(run).write()).levels
    assert level.metric("blast_radius").value == pytest.approx(1 / 5)
    assert level.faults[0].blast is not None
    assert level.faults[0].blast.harmed == 5


def test_the_error_budget_is_the_objective_s(run: RunBuilder) -> None:
    """Of 505 arrivals 1 % may fail, and four did; with three nines the same four are ten times as much."""
    [level] = summarise(harmed(run).write()).levels
    assert level.metric("burn").value == pytest.approx(4 / 5.05)
    run.objective = 0.999
    [level] = summarise(run.write()).levels
    assert level.metric("burn").value == pytest.approx(4 / 0.505)


def test_what_failed_and_was_not_aimed_at_cascaded(run: RunBuilder) -> None:
    """Agent data was aimed at; agent triage failed."""
    [level] = summarise(harmed(run).write()).levels
    assert level.metric("cascade").value == 1.0


def test_what_nothing_could_notice_went_unnoticed_for_no_time(run: RunBuilder) -> None:
    """Without a breaker or fallback there is no time; with a breaker that stayed closed there is a lower bound."""
    [level] = summarise(harmed(run).write()).levels
    assert level.metric("ttd").value is None
    closed = {"level": "10", "process": 1, "of": "agent", "name": "data", "before": "closed", "after": "closed"}
    run.others["breakers.jsonl"] = [BreakerEvent(**closed, at=10.0, why="begins", permitted=1)]  # type: ignore[arg-type]
    [level] = summarise(run.write()).levels
    assert level.metric("ttd").at_least


def test_calls_with_faults_are_counted(run: RunBuilder) -> None:
    """Every attempt that one was injected into."""
    run.llm, run.llm_faults = "simulated", (LlmFault(fault="stall"),)
    for number in range(5):
        run.call(f"w{number}", "step", fault="stall" if number < 3 else "")
    run.sound()
    [level] = summarise(run.write()).levels
    assert (level.metric("faulted_calls").value, level.metric("faulted_calls").n) == (3, 5)


def test_runs_without_faults_have_none(run: RunBuilder) -> None:
    """As all runs of older versions."""
    run.sound()
    folder: Path = run.write()
    assert not (folder / "faults.jsonl").exists()
    [level] = summarise(folder).levels
    assert (level.faults, level.not_fired) == ((), ())
