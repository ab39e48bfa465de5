"""A sweep: runs of one scenario at loads that the search names, in sittings, and the rig's own ceiling beside them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from harness.gate.reference import reference_plan
from harness.observation.json_file import replace_json
from harness.run.listening import Interrupt, Silent
from harness.run.plan import Plan
from harness.run.run import execute
from harness.scenario.scenario import Load, Scenario, Workflow
from harness.statistics.capacity import Capacity, Condition
from harness.statistics.metrics import TOO_FEW_BELOW
from harness.statistics.point import Point, point_of
from harness.statistics.steady import Steady, steady_of
from harness.sweep.hopeless import Hopeless
from harness.sweep.search import next_around, next_load, order
from harness.sweep.what_if import Change, sizes_of
from harness.verdict.capacity import Assessment, assess
from harness.verdict.what_if import Prediction, measured_system, predict

NULL = "python:harness.target.null:run"
CAPACITY_FILE = "capacity.json"
LEVELS_FOLDER = "levels"
ENDED_MIN = 20
LONGER_TIMES = 20.0
REFERENCE_LOAD = 10  # at once, or a second
REFERENCE_S = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What to sweep: `plan` says all but the loads. `most` is the largest load, `text` the objective in words."""

    plan: Plan
    objective: Sequence[Condition]
    text: str
    most: int
    sittings: int
    interrupt: Interrupt
    tell: Callable[[str], None]
    changes: Sequence[Change] = ()  # of sizes: predicted, and measured beside that
    _points: list[Point] = field(default_factory=list)
    _references: list[Steady] = field(default_factory=list)

    @property
    def is_closed(self) -> bool:
        """Whether loads are workflows at once; else arrivals a second."""
        return not self.plan.scenario.load.open

    def run(self) -> tuple[Path, Assessment]:
        """Sweep, and say what came of it; its folder. Raises what `execute` raises."""
        started = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        name = f"{started}-capacity-{self.plan.scenario.name}-{secrets.token_hex(2)}"
        folder = self.plan.reports / name
        held: dict[int, bool] = {}
        self._look_at_reference(folder, 1)
        while (load := next_load(held, self.most)) is not None and not self._over:
            held[load] = self._measure(folder, load, 1).holds(self.objective)
        for sitting in range(2, self.sittings + 1):
            self._look_at_reference(folder, sitting)
            for load in order(list(held), seed=self.plan.scenario.seed, sitting=sitting):
                if not self._over:
                    self._measure(folder, load, sitting)
        self._look_at_reference(folder, self.sittings)
        found = self._assessed()
        if found.capacity is not None and found.capacity.load is not None and not self._over:
            found = self._assessed(self._rig_rate(folder, round(found.capacity.load)))
        predicted = tuple(self._what_if(folder, change, found) for change in self.changes if not self._over)
        found = msgspec.structs.replace(found, what_if=predicted)
        replace_json(folder / CAPACITY_FILE, found)
        return folder, found

    @property
    def _over(self) -> bool:
        return self.interrupt.asked.is_set()

    def _assessed(self, rig_rate: float | None = None) -> Assessment:
        mode = "closed" if self.is_closed else "open"
        return assess(
            self._points,
            self.objective,
            text=self.text,
            mode=mode,
            rig_rate=rig_rate,
            references=self._references,
            interrupted=self._over,
        )

    def _look_at_reference(self, folder: Path, sitting: int) -> None:
        """A target that never changes, under a load that never does: did the machine?"""
        if self._over:
            return
        self.tell(f"sitting {sitting} of {self.sittings}: the reference, which shows whether the machine changes")
        at = self._at(folder, REFERENCE_LOAD)
        usual = at.scenario.load
        timed = replace(usual, warmup=min(1.0, usual.warmup), measure=min(REFERENCE_S, usual.measure))
        at = replace(at, scenario=replace(at.scenario, load=timed), crew=None)
        run_dir = execute(reference_plan(at, timed.levels[0], at.reports), Silent(), self.interrupt)
        if not self._over:
            self._references.append(steady_of(run_dir, sitting))

    def _what_if(self, folder: Path, change: Change, found: Assessment) -> Prediction:
        """What another size would hold: by the model, and as it is measured there."""
        scenario = self.plan.scenario
        changed = change.of(scenario)
        sizes, others = sizes_of(scenario), sizes_of(changed)
        system = measured_system(self._points, sizes, found.capacity, closed=self.is_closed, objective=self.objective)
        if isinstance(system, str):
            said = Prediction(change=str(change), why_not=system)
        elif others == sizes:
            said = Prediction(change=str(change), why_not="the model knows no such size; this can only be measured")
        else:
            said = predict(system, others, str(change))
        begun = said.load or (found.capacity.load if found.capacity else None)
        if begun is None:
            return said
        other = replace(self, plan=replace(self.plan, scenario=changed), sittings=1, _points=[])
        return msgspec.structs.replace(said, measured=other._around(folder, max(1, round(begun)), str(change)))

    def _around(self, folder: Path, begun: int, named: str) -> Capacity | None:
        """The limit near a load at which it is thought to be: from it up, or down, until it lies between two levels."""
        held: dict[int, bool] = {}
        while (load := next_around(held, begun)) is not None and not self._over:
            self.tell(f"what if {named}:")
            held[load] = self._measure(folder, load, 1).holds(self.objective)
        return self._assessed().capacity

    def _measure(self, folder: Path, load: int, sitting: int) -> Point:
        """Run one level against a fresh target; once more and for longer where too little ended to say anything."""
        self.tell(f"sitting {sitting} of {self.sittings}: {self._named(load)}")
        point = self._once(folder, load, sitting, self._measure_s(load))
        longer_s = self._measure_s(load, point.rate)
        too_few = point.ended < self._ended_min and not point.stopped
        if too_few and point.rate and longer_s > self._measure_s(load):
            point = self._once(folder, load, sitting, longer_s)
        if not self.interrupt.asked.is_set():
            self._points.append(point)
        return point

    def _once(self, folder: Path, load: int, sitting: int, measure_s: float) -> Point:
        plan = self._at(folder, load)
        timed = replace(plan.scenario, load=replace(plan.scenario.load, measure=measure_s))
        hopeless = Hopeless(self.objective, self.interrupt)
        run_dir = execute(replace(plan, scenario=timed), hopeless, hopeless.interrupt)
        point = point_of(run_dir, self.objective, load=load, sitting=sitting, closed=self.is_closed)
        if hopeless.why and not self._over:
            refused = (f"it was ended early, as hopeless: {hopeless.why}",)
            point = msgspec.structs.replace(point, stopped=hopeless.why, refused=refused)
        return point

    def _measure_s(self, load: int, rate: float | None = None) -> float:
        """As long as the scenario says, and longer where at this `rate` (or one in proportion to that of the largest
        smaller load) fewer workflows than a percentile needs would end."""
        usual_s = self.plan.scenario.load.measure
        below = [point for point in self._points if point.load <= load and point.rate]
        if not self.is_closed:
            rate = load
        elif rate is None and below:
            nearest = max(below, key=lambda point: point.load)
            rate = nearest.rate * load / nearest.load
        return usual_s if not rate else min(LONGER_TIMES * usual_s, max(usual_s, 1.3 * self._ended_min / rate))

    @property
    def _ended_min(self) -> int:
        """Workflows that a level has to end to say anything of the objective."""
        return max(ENDED_MIN, *(TOO_FEW_BELOW.get(each.metric, 0) + 8 for each in self.objective))

    def _rig_rate(self, folder: Path, load: int) -> float:
        """What is reached with nothing behind the wire, by as many users that do not wait."""
        self.tell(f"the rig itself: {self._named(load)}, and an orchestrator that does nothing")
        kinds = tuple(Workflow(kind=each.kind, weight=each.weight) for each in self.plan.scenario.workflow)
        at = self._at(folder, load)
        scenario = Scenario(
            name=at.scenario.name,
            description=at.scenario.description,
            target=NULL,
            load=replace(at.scenario.load, closed=(max(1, load),), open=()),
            workflow=kinds,
        )
        rig = replace(at, scenario=scenario, levels=scenario.load.levels)
        run_dir = execute(rig, Silent(), self.interrupt)
        return point_of(run_dir, (), load=load, sitting=0, closed=True).rate

    def _at(self, folder: Path, load: int) -> Plan:
        declared = self.plan.scenario.load
        loads = {"closed": (load,), "open": ()} if self.is_closed else {"closed": (), "open": (float(load),)}
        only: Load = replace(declared, burst=(), burst_size=None, **loads)
        scenario = replace(self.plan.scenario, load=only)
        return replace(
            self.plan, scenario=scenario, levels=only.levels, limits_path=None, reports=folder / LEVELS_FOLDER
        )

    def _named(self, load: int) -> str:
        return f"{load} at once" if self.is_closed else f"{load}/s"
