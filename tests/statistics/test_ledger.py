"""What the witness wrote down, counted by level: duplicates, zombies, and what was claimed and never done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.observation.observation import Outcome, Phase
from harness.scenario.scenario import Load, Work
from harness.scenario.shapes import Step
from harness.statistics.level import LevelSummary
from harness.statistics.promises import OFFENDERS_MAX
from harness.statistics.summary import summarise

if TYPE_CHECKING:
    from tests.conftest import RunBuilder

ACTS = Work(effect=True)
STEPS = (Step(name="pay", agent="data"), Step(name="look", agent="reader"), Step(name="send", agent="data"))


@pytest.fixture
def acting(run: RunBuilder) -> RunBuilder:
    """A run of one level whose workflows pay and send, and look in between without a trace."""
    run.work, run.workflow_steps = ACTS, STEPS
    run.phases()
    return run


def level_of(run: RunBuilder) -> LevelSummary:
    """The only level of the run, summarised from its files."""
    [level] = summarise(run.write()).levels
    return level


def values(level: LevelSummary, *names: str) -> list[float | None]:
    """The values of some metrics."""
    return [level.metric(name).value for name in names]


def test_an_effect_performed_twice_is_a_duplicate(acting: RunBuilder) -> None:
    """Of one step of one workflow; what was only replayed or refused is none."""
    for step in ("pay", "pay", "pay", "send"):
        acting.effect("10-1", step)
    acting.effect("10-1", "send", "replayed")
    acting.effect("10-2", "pay")
    acting.effect("10-2", "pay", "refused")
    level = level_of(acting)
    assert values(level, "dup_effects", "effects", "effects_replayed", "effects_refused") == [1, 5, 1, 1]
    assert level.metric("dup_effects").n == 7
    assert level.offenders["dup_effects"] == ("10-1 pay (3 times)",)


def test_an_old_owner_that_acts_after_a_new_one_is_a_zombie(acting: RunBuilder) -> None:
    """Whatever token it showed, and also if it was done before; unless it was refused."""
    acting.effect("10-1", "pay", owner=1)
    acting.effect("10-2", "pay", "refused", owner=2)
    acting.effect("10-3", "pay", owner=1, token=3)
    acting.effect("10-4", "pay", owner=2, token=4)
    acting.effect("10-5", "pay", owner=1, token=3)
    acting.effect("10-6", "pay", "replayed", owner=1)
    acting.effect("10-7", "pay", "refused", owner=1)
    acting.effect("10-8", "pay", owner=2)
    level = level_of(acting)
    assert values(level, "zombie_effects") == [2]
    assert level.offenders["zombie_effects"] == ("10-5 pay (owner 1, token 3)", "10-6 pay (owner 1, token 0)")


def test_a_success_without_its_effects_is_a_claim(acting: RunBuilder) -> None:
    """In any phase; what failed has claimed nothing."""
    for name in ("10-1", "10-2", "10-3"):
        acting.workflow(id=name)
    acting.workflow(id="10-4", outcome=Outcome.FAILED, error_class="agent_error")
    acting.workflow(id="10-5", phase=Phase.WARMUP)
    for step in ("pay", "send"):
        acting.effect("10-1", step)
    acting.effect("10-2", "pay")
    acting.effect("10-2", "send", "refused")
    acting.effect("10-3", "look")
    level = level_of(acting)
    assert values(level, "effects_missing") == [3]
    assert level.metric("effects_missing").n == 4
    assert level.offenders["effects_missing"] == ("10-2: send", "10-3: pay, send", "10-5: pay, send")


def test_levels_with_like_names_are_kept_apart(run: RunBuilder) -> None:
    """10, 100 and 10 a second: the prefix of an id is all of it."""
    run.work, run.workflow_steps = ACTS, STEPS
    run.levels, run.load = ("10", "100", "10/s"), Load(closed=(10, 100), open=(10.0,), measure=20.0)
    for count, prefix in enumerate(("10", "100", "10_s", "elsewhere"), start=1):
        for number in range(count):
            run.effect(f"{prefix}-{number}", "pay")
    assert [level.metric("effects").value for level in summarise(run.write()).levels] == [1, 2, 3]


def test_offenders_are_named_up_to_a_bound(acting: RunBuilder) -> None:
    """The count is whole."""
    for number in range(50):
        acting.effect(f"10-{number}", "pay")
        acting.effect(f"10-{number}", "pay")
    level = level_of(acting)
    assert values(level, "dup_effects") == [50]
    assert len(level.offenders["dup_effects"]) == OFFENDERS_MAX


def test_without_a_ledger_nothing_is_counted(acting: RunBuilder) -> None:
    """And that is said, because the scenario declares effects."""
    acting.workflow(id="10-1")
    level = level_of(acting)
    assert values(level, "dup_effects", "zombie_effects", "effects_missing") == [None] * 3
    assert level.missing == ("the scenario declares effects, and there is no ledger.jsonl of a witness",)


def test_a_scenario_without_effects_needs_no_ledger(run: RunBuilder) -> None:
    """Nothing is missing, and nothing is counted."""
    run.sound()
    level = level_of(run)
    assert level.missing == ()
    assert values(level, "dup_effects", "effects") == [None, None]


@pytest.mark.parametrize(("kept_in", "lost"), [("memory", 1), ("postgres", 4)])
def test_what_a_durable_target_accepted_must_be_told_of(run: RunBuilder, kept_in: str, lost: int) -> None:
    """A promise of a store that outlives its process: a timeout, a stopped host or a censored one breaks it."""
    run.state = kept_in
    run.workflow(id="told", outcome=Outcome.UNKNOWN, accepted=15.1, target_ended=15.9, error_class="timeout")
    run.workflow(id="asked", outcome=Outcome.UNKNOWN, error_class="connection")
    run.workflow(id="timed-out", outcome=Outcome.UNKNOWN, accepted=15.1, error_class="timeout")
    run.workflow(id="stopped", outcome=Outcome.UNKNOWN, target_accepted=15.1, target_ended=15.9,
                 error_class="host_stopped")  # fmt: skip
    run.opened("censored", accepted=True)
    run.workflow(id="censored", outcome=Outcome.UNKNOWN, censored=True, error_class="censored")
    run.opened("vanished", accepted=True)
    run.phases()
    level = level_of(run)
    assert values(level, "lost") == [lost]
    assert level.offenders["lost"] == ("vanished", "timed-out", "stopped", "censored")[:lost]


def test_duplicates_and_wrong_results_are_named(run: RunBuilder) -> None:
    """Which costs a second look at the journal, and only then."""
    for name in ("a", "b", "a", "c", "c", "c"):
        run.workflow(id=name)
    run.workflow(id="d", outcome=Outcome.FAILED, error_class="corrupted")
    run.phases()
    level = level_of(run)
    assert values(level, "duplicates", "corrupted") == [3, 1]
    assert level.offenders == {"corrupted": ("d",), "duplicates": ("a", "c")}
