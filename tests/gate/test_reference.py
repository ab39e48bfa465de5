"""The reference beside a level is like it, and the same in every sitting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from harness.gate.reference import SCENARIO, Likeness, likeness, reference_plan
from harness.observation.manifest import LevelEnd, read_manifest
from harness.run.listening import Interrupt
from harness.run.plan import Options, Plan, prepare
from harness.run.run import execute
from harness.scenario.scenario import Load
from harness.statistics.reading import BlockReading, Reading, reading_of
from harness.statistics.summary import summarise
from harness.target.reference import REFERENCE_VERSION, STEPS
from harness.verdict.fingerprint import scenario_digest

GATED = """
name = "gated"
description = "a level that is gated"
seed = 77
[load]
closed = [4, 8]
warmup = "200 ms"
measure = "1 s"
drain = "5 s"
[[workflow]]
kind = "job"
steps = [{ name = "only", agent = "data" }]
[agent.data]
work = { wait = "50 ms" }
"""


def reading(
    p50_s: float, cpu_s: float | None = None, throughput: float | None = None, disturbed: float = 0.0
) -> Reading:
    """Of a level, as a baseline keeps it."""
    values = {"cpu_per_workflow": cpu_s, "throughput": throughput}
    return Reading(
        arrivals=1000,
        ok=1000,
        measure_s=20.0,
        blocks=tuple(BlockReading(50, 50, p50_s, 2 * p50_s, 3 * p50_s, disturbed) for _ in range(20)),
        quantiles={"p50": p50_s},
        values={name: value for name, value in values.items() if value is not None},
    )


@pytest.mark.parametrize(
    ("found", "like"),
    [
        (reading(1.04, 0.0113, 10.0), Likeness(1.0, 8)),  # a chain with 11 ms of CPU: (11.3 - 1) / 1.4 = 7.4
        (reading(0.95, 0.0105, 10.4), Likeness(1.0, 8)),  # the same chain on another day
        (reading(0.30, 0.0015), Likeness(0.25, 1)),
        (reading(0.30), Likeness(0.25, 1)),  # a black box: nobody saw its CPU
        (reading(0.30, 0.0008), Likeness(0.25, 1)),  # less than the least
        (reading(1.04, 0.0113, disturbed=0.9), Likeness(1.0, 8)),  # a neighbour all along
        (reading(2.2, 0.2, 20.0), Likeness(2.0, 16)),  # four cores' worth: half a core is 25 ms a workflow
        (reading(0.0001, 0.001), Likeness(1 / 64, 1)),
        (reading(3000.0, 50.0, 0.01), Likeness(64.0, 64)),
    ],
)
def test_a_workflow_waits_and_works_about_as_much(found: Reading, like: Likeness) -> None:
    """In powers of two, so that two runs of one level choose the same."""
    assert likeness(found) == like


def test_there_is_no_likeness_to_what_never_ended() -> None:
    """A level without a p50."""
    assert likeness(Reading(arrivals=10, ok=0, measure_s=20.0, blocks=())) is None


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A scenario with two levels."""
    path = tmp_path / "gated.toml"
    path.write_text(GATED)
    return prepare(path, Options(reports=tmp_path / "reports"), "harness run gated.toml --gate")


def test_the_load_is_the_levels_own(plan: Plan) -> None:
    """Length, amount and phases; another level of the scenario is not run."""
    like = Likeness(0.0625, 2)
    found = reference_plan(plan, plan.levels[1], plan.reports, like)
    assert found.levels == (plan.levels[1],)
    assert found.scenario.load == replace(plan.scenario.load, closed=(8,))
    assert found.scenario.workflow[0].input == {"wait_s": 0.0625, "rounds": 2, "version": REFERENCE_VERSION}
    assert found.limits_path is None
    assert found.command == plan.command


@pytest.mark.parametrize(
    "load",
    [
        Load(open=(5.0, 20.0), arrivals="poisson", in_flight_max=50, measure=10.0),
        Load(burst=(100, 200), burst_size=50, burst_every=2.0),
    ],
    ids=["open", "burst"],
)
def test_arrivals_are_of_the_levels_kind(plan: Plan, load: Load) -> None:
    """Rates and bursts, with as many in flight at most."""
    gated = replace(plan, scenario=replace(plan.scenario, load=load), levels=load.levels)
    found = reference_plan(gated, gated.levels[1], plan.reports, Likeness(1.0, 1))
    assert found.levels == gated.levels[1:]
    assert replace(found.scenario.load, open=load.open, burst=load.burst) == load


def test_it_is_the_same_whatever_it_stands_beside_and_another_when_it_is_like_another(plan: Plan) -> None:
    """Two scenarios of one load have one reference; another wait is another scenario, and is not compared."""
    renamed = replace(plan, scenario=replace(plan.scenario, name="other", seed=5))
    first, second, third = (
        msgspec.json.encode(reference_plan(each, each.levels[0], plan.reports, like).scenario, order="sorted")
        for each, like in ((plan, Likeness(1.0, 1)), (renamed, Likeness(1.0, 1)), (plan, Likeness(2.0, 1)))
    )
    assert first == second
    assert first != third


class Told:
    """Whoever runs a reference is told how it ended."""

    def __init__(self) -> None:
        self.ended: list[LevelEnd] = []

    def level_started(self, level: str, index: int, count: int) -> None:
        """Nothing to keep."""

    def faults_changed(self, active: object) -> None:
        """Not of interest here."""

    def report(self, level: str, report: object, sample: object) -> None:
        """Nothing to keep."""

    def level_ended(self, end: LevelEnd) -> None:
        self.ended.append(end)


def test_it_runs_as_any_run_does_into_the_gated_runs_folder(plan: Plan, tmp_path: Path) -> None:
    """An ordinary run folder that can be summarised; its file is what ships, its content what was asked for."""
    told = Told()
    gated_run = tmp_path / "reports" / "gated"
    run_dir = execute(
        reference_plan(plan, plan.levels[0], gated_run / "reference", Likeness(0.0625, 1)), told, Interrupt()
    )
    assert run_dir.parent == gated_run / "reference"
    assert [end.status for end in told.ended] == ["complete"]
    assert (run_dir / "scenario.toml").read_bytes() == SCENARIO.read_bytes()
    assert read_manifest(run_dir).scenario == "reference"
    [level] = summarise(run_dir).levels
    found = reading_of(level)
    assert found.ok == found.arrivals > 0
    p50 = found.quantiles["p50"]  # of all blocks, those included that other tests disturbed
    assert p50 > 0.0625 * 0.9
    assert set(level.agents) == set(STEPS)
    assert scenario_digest(run_dir)


def test_what_ships_is_a_scenario_of_its_own() -> None:
    """`harness doctor` runs it as it stands, with the version it was written for."""
    shipped = prepare(SCENARIO, Options(), "").scenario
    assert [workflow.input["version"] for workflow in shipped.workflow] == [REFERENCE_VERSION]
