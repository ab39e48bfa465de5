"""The invariants are alive: three orchestrators that are broken on purpose are caught, on three seeds each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.observation.observation import ResourceSample
from harness.run.listening import Interrupt
from harness.run.plan import Options, Plan, prepare
from harness.run.run import execute
from harness.scenario.scenario import Crash
from harness.target import TARGETS
from harness.verdict.judge import JudgedRun, judge_run

HERE = Path(__file__).parent
SEEDS = (1, 2, 3)
CRASHES = Crash(kill=("after_effect", "before_checkpoint"), pause=("before_effect", "before_checkpoint"), every=0.5)
CAUGHT = {  # mutant -> the invariant it breaks, the crash that makes it do so, and how long that takes
    "no_operation_ids": ("dup_effects", Crash(kill=("after_effect",), every=0.5), 3.0),
    "no_fencing": ("zombie_effects", Crash(pause=("before_effect",), every=0.5), 4.0),
    "blind_writes": ("lost_updates", None, 2.0),
}


class Silent:
    """Nobody watches."""

    def level_started(self, level: str, index: int, count: int) -> None: ...

    def report(self, level: str, report: object, sample: ResourceSample | None) -> None: ...

    def level_ended(self, end: object) -> None: ...


def judged(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    mutant: str | None,
    *,
    seed: int,
    crash: Crash | None = None,
    measure_s: float,
) -> JudgedRun:
    """A run of mutant.toml against the orchestrator of that name; the embedded one when there is none."""
    if mutant is not None:
        monkeypatch.setitem(TARGETS, "embedded", f"broken:{mutant}")  # type: ignore[arg-type]
    plan: Plan = prepare(HERE / "mutant.toml", Options(reports=folder, seed=seed, measure_s=measure_s), command="test")
    plan = replace(plan, scenario=replace(plan.scenario, crash=crash))
    return judge_run(execute(plan, Silent(), Interrupt()))


def broken(run: JudgedRun) -> set[str]:
    """What was breached, without the level."""
    return {name.removeprefix('invariant."10".') for name in run.verdict.failed}


@pytest.mark.parametrize("mutant", CAUGHT)
def test_a_mutant_holds_every_limit_while_nothing_goes_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mutant: str
) -> None:
    """Limits alone would let each of them pass."""
    run = judged(monkeypatch, tmp_path, mutant, seed=1, measure_s=2.0)
    limits = [check for check in run.verdict.checks if check.kind == "limit"]
    assert len(limits) == 6
    assert {check.result for check in limits} == {"held"}, run.verdict.sentences


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mutant", CAUGHT)
def test_each_mutant_is_caught(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mutant: str, seed: int) -> None:
    """By the invariant that it breaks, with the offenders named."""
    invariant, crash, measure_s = CAUGHT[mutant]
    run = judged(monkeypatch, tmp_path, mutant, seed=seed, crash=crash, measure_s=measure_s)
    assert run.verdict.exit_code == 1, run.verdict.sentences
    assert invariant in broken(run)
    assert run.summary.levels[0].offenders[invariant]


def test_the_orchestrator_itself_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Under the crashes of all of them nothing is lost, repeated or overwritten."""
    run = judged(monkeypatch, tmp_path, None, seed=1, crash=CRASHES, measure_s=8.0)
    assert run.verdict.failed == (), run.verdict.sentences
    assert run.summary.levels[0].status == "complete"
    held = {check.name for check in run.verdict.checks if check.kind == "invariant" and check.result == "held"}
    assert {f'invariant."10".{name}' for name in ("lost", "dup_effects", "zombie_effects", "lost_updates")} <= held
