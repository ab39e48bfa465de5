"""`harness doctor`: short rounds of a level and of the reference beside it, to learn what could be seen here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.errors import TargetUnavailable
from harness.gate.reference import likeness, reference_plan
from harness.observation.journal import Damage
from harness.observation.machine import control_group, this_machine
from harness.observation.manifest import Machine, read_manifest
from harness.observation.observation import ResourceSample
from harness.run.listening import Silent
from harness.run.run import execute
from harness.statistics.disturbance import disturbed_shares
from harness.statistics.level import LevelSummary
from harness.statistics.noise import BLOCK_MIN, ROUNDS_MIN, Sight, Spread, sights, spreads
from harness.statistics.reading import reading_of
from harness.statistics.resources import Window, growth, read_resources
from harness.statistics.summary import summarise
from harness.statistics.tally import MEASURE, OK, WORKFLOW_ROW, Tally, flagged, outcome

if TYPE_CHECKING:
    from harness.run.listening import Interrupt
    from harness.run.plan import Plan

GOVERNORS = Path("/sys/devices/system/cpu")
CORES_FEW = 4


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What one round was measured under; shares are of the whole machine, None where nobody tells."""

    others: float | None  # CPU that others took, stolen time included
    others_worst: float | None  # in its worst second
    stolen: float | None
    pressure: float | None  # share of the time in which some task waited for a core
    loop_lag_p99_s: float | None  # how late the target's event loop woke up
    late_p99_s: float | None  # how late the load started a workflow


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What was run in every round, and how much its rounds differed."""

    scenario: str
    level: str
    n: int  # workflows a round that succeeded: the median
    spreads: tuple[Spread, ...]
    conditions: tuple[Conditions, ...]  # of each round


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of this machine after the rounds."""

    machine: Machine
    notes: tuple[str, ...]
    rounds: int
    seconds: float
    subjects: tuple[Subject, ...]  # the reference last
    sights: tuple[Sight, ...]  # of the first subject


@dataclass(frozen=True, slots=True)
class _Measured:
    latencies: NDArray[np.float64]
    level: LevelSummary
    conditions: Conditions


@dataclass(slots=True)
class _Rounds:
    """One subject's rounds so far."""

    plan: Plan
    found: list[_Measured] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doctor:
    """How to examine: `rounds` of `seconds` each, their folders in `reports`."""

    rounds: int
    seconds: float
    reports: Path
    interrupt: Interrupt
    tell: Callable[[str], None]  # what happens next, a line each

    def examine(self, plan: Plan, *, is_reference: bool) -> Diagnosis | None:
        """Run the plan's only level in rounds, the reference beside each; None when fewer than ROUNDS_MIN were.

        `is_reference`: the plan is the reference's own, and nothing stands beside it. Raises what `execute` raises,
        TargetUnavailable when a round did not end as it should, or so little succeeded that it says nothing.
        """
        throttled_s = throttled_seconds()
        subjects = [_Rounds(plan)]
        self._add_round(subjects[0])
        if not is_reference and subjects[0].found:
            # Only now is it known what the reference has to be like.
            like = likeness(reading_of(subjects[0].found[0].level))
            subjects.append(_Rounds(reference_plan(plan, plan.levels[0], self.reports, like)))
        while not self.interrupt.asked.is_set():
            due = min(subjects, key=lambda subject: len(subject.found))
            if len(due.found) == self.rounds:
                break
            self._add_round(due)
        whole = min(len(subject.found) for subject in subjects)
        return self._diagnosis(subjects, whole, throttled_s) if whole >= ROUNDS_MIN else None

    def _diagnosis(self, subjects: Sequence[_Rounds], whole: int, throttled_s: float | None) -> Diagnosis:
        rounds = [[each.latencies for each in subject.found[:whole]] for subject in subjects]
        beside = rounds[1] if len(rounds) > 1 else None
        return Diagnosis(
            machine=this_machine(),
            notes=tuple(machine_notes(this_machine(), throttled_s)),
            rounds=whole,
            seconds=self.seconds,
            subjects=tuple(
                Subject(
                    scenario=subject.plan.scenario.name,
                    level=subject.plan.levels[0].label,
                    n=int(np.median([len(each) for each in found])),
                    spreads=spreads(found, beside if found is rounds[0] else None),
                    conditions=tuple(each.conditions for each in subject.found[:whole]),
                )
                for subject, found in zip(subjects, rounds, strict=True)
            ),
            sights=sights(rounds[0], beside),
        )

    def _add_round(self, subject: _Rounds) -> None:
        """Run it once more; a round that was interrupted is left out."""
        plan = subject.plan
        self.tell(
            f"round {len(subject.found) + 1} of {self.rounds}: {plan.scenario.name}, level {plan.levels[0].label}"
        )
        run_dir = execute(replace(plan, reports=self.reports), Silent(), self.interrupt)
        if self.interrupt.asked.is_set():
            return
        for end in read_manifest(run_dir).ended:
            if end.status != "complete":
                raise TargetUnavailable(f"{plan.scenario.name}: a round ended as {end.status}: {end.message}")
        measured = measured_round(run_dir)
        if (n := len(measured.latencies)) < BLOCK_MIN:
            raise TargetUnavailable(
                f"{plan.scenario.name}, level {plan.levels[0].label}: {n} workflows succeeded in {self.seconds:g} s, "
                f"too few to say anything (at least {BLOCK_MIN}); give --seconds, or another --level"
            )
        subject.found.append(measured)


def measured_round(run_dir: Path) -> _Measured:
    """What a round's folder holds of its only level."""
    [level] = summarise(run_dir).levels
    tally = Tally()
    tally.read(run_dir / "journal.jsonl")
    kinds, _ = tally.levels[level.level].ended_once()
    rows = np.concatenate(list(kinds.values())) if kinds else np.empty(0, dtype=WORKFLOW_ROW)
    chosen = rows[flagged(rows, MEASURE) & (outcome(rows) == OK)]
    chosen = chosen[np.argsort(chosen["intended"])]
    latencies = chosen["ended"] - chosen["intended"]
    samples = read_resources(run_dir / "resources.jsonl", Damage()).get(level.level, [])
    return _Measured(latencies, level, _conditions(level, samples))


def _conditions(level: LevelSummary, samples: Sequence[ResourceSample]) -> Conditions:
    if not level.blocks or level.measure_s is None:
        window = Window(0.0, 0.0)
    else:
        window = Window(level.blocks[0].start, level.blocks[0].start + level.measure_s)
    found = [(sample.at, sample.machine) for sample in samples if sample.machine is not None]
    stolen = growth([(at, use.stolen_s) for at, use in found if use.stolen_s is not None], window)
    pressure = growth([(at, use.pressure_s) for at, use in found if use.pressure_s is not None], window)
    [others] = disturbed_shares(samples, [window.start, window.end])
    seconds = np.linspace(window.start, window.end, max(1, round(window.length_s)) + 1)
    by_second = [share for share in disturbed_shares(samples, seconds) if share is not None]
    return Conditions(
        others=others,
        others_worst=max(by_second, default=None),
        stolen=stolen[0] / (stolen[1] * found[0][1].cores) if stolen else None,
        pressure=pressure[0] / pressure[1] if pressure else None,
        loop_lag_p99_s=level.metric("loop_lag_p99").value,
        late_p99_s=level.metric("lateness_p99").value,
    )


def machine_notes(machine: Machine, throttled_before_s: float | None, governors: Path = GOVERNORS) -> list[str]:
    """What about this machine makes measurements unsteady, as far as it tells."""
    notes = []
    found = {path.read_text().strip() for path in governors.glob("cpu[0-9]*/cpufreq/scaling_governor")}
    if found - {"performance"}:
        notes.append(
            f"the CPU's clock follows its load (governor {', '.join(sorted(found))}); `performance` is steadier"
        )
    if machine.hypervisor:
        notes.append(
            f"a virtual machine ({machine.hypervisor}): others share its cores, and not all of it shows as stolen"
        )
    if machine.quota_cores is not None:
        notes.append(f"a quota of {machine.quota_cores:g} cores: past it everything stops until the next period")
    now_s = throttled_seconds()
    if now_s is not None and throttled_before_s is not None and now_s > throttled_before_s:
        notes.append(f"the quota held processes back for {now_s - throttled_before_s:.2f} s during the rounds")
    if machine.cores < CORES_FEW:
        notes.append(
            f"{machine.cores} cores carry target, load and samplers together: a neighbour has nowhere else to go"
        )
    return notes


def throttled_seconds() -> float | None:
    """How long this control group (version 2) was held back by its quota so far; None without one."""
    with contextlib.suppress(OSError, ValueError):
        for line in (control_group() / "cpu.stat").read_text().splitlines():
            if line.startswith("throttled_usec "):
                return int(line.split()[1]) / 1e6
    return None
