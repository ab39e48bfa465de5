"""`harness run --gate`: the run, the frozen reference beside it, the history, and a duet where that cannot decide."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.errors import TargetUnavailable, UsageError
from harness.gate.accepted import lost
from harness.gate.arms import resolve_arms
from harness.gate.duet import DuetPlan, command_of, run_duet
from harness.gate.reference import likeness, reference_plan
from harness.observation.duet import ARM_SHARE, ARM_WORKFLOWS
from harness.observation.json_file import replace_json
from harness.run.listening import Interrupt, Listener
from harness.run.plan import Plan
from harness.run.run import execute
from harness.scenario.scenario import Level
from harness.statistics.reading import Reading, reading_of
from harness.terminal import shown
from harness.verdict.baseline import Entry
from harness.verdict.baseline_file import read_baseline, read_lock
from harness.verdict.duet import read_duet
from harness.verdict.gate import MARGIN, confirm
from harness.verdict.gated import (
    BASELINES,
    GATE_FILE,
    REFERENCE,
    GateFacts,
    Seen,
    current_facts,
    duet_folder,
    history_of_run,
)
from harness.verdict.judge import JudgedRun, judge_run


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOptions:
    """What a person may say of the gate."""

    margin: float = MARGIN
    duet: bool = True  # the baseline's build may be run beside this one, where the history cannot decide
    pairs: int = 30  # at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Gating:
    """One gated run: what is compared, how, and who is told."""

    plan: Plan
    options: GateOptions
    listener: Listener
    interrupt: Interrupt
    tell: Callable[[str], None]  # what happens next, a line each

    def run(self) -> Path:
        """Run the plan, compare it with its baseline, and return the run's folder, which holds all of it.

        A run that broke a limit or was cut short is compared with nothing. Raises what `execute` raises.
        """
        run_dir = execute(self.plan, self.listener, self.interrupt)
        judged = judge_run(run_dir)
        if self.interrupt.asked.is_set() or judged.verdict.exit_code in (1, 4):
            return run_dir
        facts = self._keep_baselines(run_dir, judged)
        self._run_references(run_dir, judged, facts)
        if self.interrupt.asked.is_set():
            return run_dir
        replace_json(run_dir / GATE_FILE, facts)
        for label, seen in history_of_run(run_dir, judged.manifest, judged.summary, facts).items():
            why = self._confirmed(label, seen, run_dir) if seen.decision.outcome == "undecided" else None
            if why is not None:
                facts = msgspec.structs.replace(facts, no_duet={**facts.no_duet, label: why})
                replace_json(run_dir / GATE_FILE, facts)
        return run_dir

    def _keep_baselines(self, run_dir: Path, judged: JudgedRun) -> GateFacts:
        """Copy what the run is compared with into its folder, where it stays as it is now."""
        current = current_facts(self.plan.baselines, judged.manifest, GateFacts(margin=self.options.margin))
        kept: dict[str, str] = {}
        for label, path in current.baselines.items():
            target = run_dir / BASELINES / Path(path).name
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target)
            kept[label] = str(target.relative_to(run_dir))
        return msgspec.structs.replace(current, baselines=kept)

    def _run_references(self, run_dir: Path, judged: JudgedRun, facts: GateFacts) -> None:
        """The frozen reference for each level, made like the first run of the baseline's epoch."""
        readings = {level.level: reading_of(level) for level in judged.summary.levels}
        for level in self.plan.levels:
            if self.interrupt.asked.is_set():
                return
            self.tell(f"level {level.label}: the frozen reference beside it")
            like = likeness(_first(run_dir, facts, level) or readings[level.label])
            execute(reference_plan(self.plan, level, run_dir / REFERENCE, like), self.listener, self.interrupt)

    def _confirmed(self, label: str, seen: Seen, run_dir: Path) -> str | None:
        """Run baseline and candidate side by side until that decides; why not, when it cannot be done."""
        newest = seen.newest
        if newest is None:
            return "there is no baseline yet: if this run is as it should be, `harness baseline accept` it"
        if (why := self._why_not(newest)) is not None:
            return why
        folder, level = duet_folder(run_dir, label), next(each for each in self.plan.levels if each.label == label)

        def enough(pairs: int) -> bool:
            margin, most = self.options.margin, self.options.pairs
            found = confirm(read_duet(folder).pairs, seen.to_confirm, margin=margin, pairs_max=most, last=False)
            return found.outcome != "undecided"

        try:
            run_duet(
                self._duet(newest, level, seen), folder, self.listener, self.interrupt, enough=enough, tell=self.tell
            )
        except (UsageError, TargetUnavailable) as error:
            return f"the baseline's build could not be run beside it: {error}"
        return None

    def _why_not(self, newest: Entry) -> str | None:
        if not self.options.duet:
            return "a duet would tell, and was not to be run (--no-duet)"
        if self.plan.scenario.target == "http":
            return "a black box cannot be started as it was then: run again in other sittings"
        if (why := lost(newest.build)) is not None:
            return f"the baseline's build cannot be had again: {why}, so only further sittings can tell"
        return None

    def _duet(self, newest: Entry, level: Level, seen: Seen) -> DuetPlan:
        """The newest accepted build against what is here; a fifth of the run's workflows an arm a pair."""
        plan, revision = self.plan, newest.build.revision
        lock = read_lock(self.plan.baselines, plan.scenario.name, newest.build.lock)
        a, b = resolve_arms(
            [revision, "."], target=plan.scenario.target, folder=plan.folder, locks=[lock], tell=self.tell
        )
        workflows = max(ARM_WORKFLOWS, seen.candidate.reading.ok // ARM_SHARE)
        scenario = shown(plan.scenario_path)
        return DuetPlan(
            plan=plan,
            level=level,
            a=a,
            b=b,
            command=command_of(
                revision, ".", scenario, level.label, self.options.pairs, plan.scenario.seed, workflows=workflows
            ),
            seed=plan.scenario.seed,
            pairs_max=self.options.pairs,
            workflows=workflows,
        )


def _first(run_dir: Path, facts: GateFacts, level: Level) -> Reading | None:
    """The first reading of the baseline's epoch."""
    if level.label not in facts.baselines:
        return None
    baseline = read_baseline(run_dir / facts.baselines[level.label])
    return next((entry.reading for entry in baseline.entries if entry.epoch == baseline.epochs[-1].number), None)
