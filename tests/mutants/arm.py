"""Running a broken orchestrator in place of the embedded one, and judging it as any run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from harness.run.listening import Interrupt, Silent
from harness.run.plan import Options, Plan, prepare
from harness.run.run import execute
from harness.target import TARGETS
from harness.verdict.judge import JudgedRun, judge_run

HERE = Path(__file__).parent
LEVELS = ("10", "25", "50")
SEEDS = (1, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A broken orchestrator, and what brings out that it is."""

    target: str  # module:attribute in this folder
    scenario: str  # the file it is run with
    caught_by: str  # the metric that tells
    limit: str = "== 0"  # on it; invariants need none
    broken: Mapping[str, Any] = field(default_factory=dict)  # fields of the scenario, instead of its own
    level: str = "10"
    measure_s: float = 2.0


def judged(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    mutant: Mutant,
    *,
    sound: bool = False,
    seed: int = 1,
) -> JudgedRun:
    """A run with what breaks it; `sound`: of the embedded orchestrator instead."""
    if not sound:
        monkeypatch.setitem(TARGETS, "embedded", mutant.target)  # type: ignore[arg-type]
    options = Options(levels=(mutant.level,), reports=folder, seed=seed, measure_s=mutant.measure_s)
    plan: Plan = prepare(HERE / f"{mutant.scenario}.toml", options, command="test")
    limits = folder / "limits.toml"
    limits.write_text("".join(f'[ours."{level}"]\n{mutant.caught_by} = "{mutant.limit}"\n' for level in LEVELS))
    plan = replace(plan, scenario=replace(plan.scenario, **mutant.broken), limits_path=limits)
    return judge_run(execute(plan, Silent(), Interrupt()))


def unharmed(monkeypatch: pytest.MonkeyPatch, folder: Path, mutant: Mutant) -> JudgedRun:
    """A run of the broken orchestrator at all levels with nothing that brings it out, by the scenario's own limits."""
    monkeypatch.setitem(TARGETS, "embedded", mutant.target)  # type: ignore[arg-type]
    options = Options(levels=LEVELS, reports=folder, measure_s=1.0)
    return judge_run(execute(prepare(HERE / f"{mutant.scenario}.toml", options, command="test"), Silent(), Interrupt()))


def breached(run: JudgedRun) -> set[str]:
    """The metrics of limits and invariants that were broken, without section and level."""
    return {check.metric or check.name.rpartition(".")[2] for check in run.verdict.checks if check.result == "breached"}


def assert_unharmed(monkeypatch: pytest.MonkeyPatch, folder: Path, mutant: Mutant) -> None:
    """Every limit holds at every level: they alone would let it pass."""
    run = unharmed(monkeypatch, folder, mutant)
    limits = [check for check in run.verdict.checks if check.kind == "limit"]
    assert len(limits) == 6 * len(LEVELS)
    assert {check.result for check in limits} == {"held"}, run.verdict.sentences


def assert_caught(monkeypatch: pytest.MonkeyPatch, folder: Path, mutant: Mutant, seed: int) -> None:
    """By the check that is named."""
    run = judged(monkeypatch, folder, mutant, seed=seed)
    assert run.verdict.exit_code == 1, run.verdict.sentences
    assert mutant.caught_by in breached(run)


def assert_sound(monkeypatch: pytest.MonkeyPatch, folder: Path, mutant: Mutant) -> None:
    """The embedded orchestrator under the same, with the same check: nothing is broken."""
    run = judged(monkeypatch, folder, mutant, sound=True)
    assert run.verdict.failed == (), run.verdict.sentences
    assert run.summary.levels[0].status == "complete"
