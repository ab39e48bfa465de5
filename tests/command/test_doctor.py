"""`harness doctor`: from real rounds to numbers, and what it says when there are none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from harness.command.commands import commands
from harness.command.doctor import planned
from harness.errors import TargetUnavailable, UsageError
from harness.gate.doctor import Diagnosis, Doctor, machine_notes, throttled_seconds
from harness.observation.manifest import Machine
from harness.run.listening import Interrupt
from harness.run.plan import Options, Plan, prepare

SCENARIOS = Path(__file__).parents[2] / "scenarios"
SCENARIO = """
name = "quick"
description = "two levels of short workflows"
[load]
closed = [4, 8]
warmup = "100 ms"
measure = "300 ms"
drain = "5 s"
[[workflow]]
kind = "job"
steps = [{ name = "only", agent = "data" }]
[agent.data]
work = { wait = "10 ms" }
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    """A scenario whose workflows take 10 ms."""
    path = tmp_path / "quick.toml"
    path.write_text(SCENARIO)
    return path


def only(plan: Plan) -> Plan:
    """The plan with its first level alone."""
    return replace(plan, levels=plan.levels[:1])


def doctor(tmp_path: Path, interrupt: Interrupt, told: list[str], *, after: int = 99) -> Doctor:
    """Three rounds; the person wants out when the round with number `after` begins."""

    def tell(line: str) -> None:
        told.append(line)
        if len(told) > after:
            interrupt.asked.set()

    return Doctor(rounds=3, seconds=0.3, reports=tmp_path / "rounds", interrupt=interrupt, tell=tell)


def test_a_scenario_is_examined_with_the_reference_beside_it(scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rounds of each, in turn; one JSON document with all numbers, and nothing is left in the folder."""
    monkeypatch.chdir(scenario.parent)
    result = CliRunner().invoke(
        commands, ["doctor", "quick.toml", "--level", "4", "--rounds", "3", "--seconds", "0.5", "--json"]
    )
    assert result.exit_code == 0, result.output
    told = [line.split(": ")[1] for line in result.stderr.splitlines()]
    assert told == ["quick, level 4", "reference, level 4"] * 3
    found = msgspec.json.decode(result.stdout, type=Diagnosis)
    assert [(subject.scenario, subject.level) for subject in found.subjects] == [("quick", "4"), ("reference", "4")]
    for subject in found.subjects:
        assert subject.n >= 20
        assert len(subject.conditions) == found.rounds == 3
        assert all(each.loop_lag_p99_s is not None for each in subject.conditions)
        assert all(each.others is None or 0 <= each.others <= 1 for each in subject.conditions)
        assert [spread.metric for spread in subject.spreads] == ["p50", "p95"]
    assert found.subjects[0].spreads[0].typical_s > 0.01
    assert len(found.sights) == 24
    assert list(scenario.parent.iterdir()) == [scenario]


def test_a_person_who_wants_out_gets_what_there_is(tmp_path: Path, scenario: Path) -> None:
    """Fewer than three rounds are nothing; one that was cut short is no round."""
    interrupt = Interrupt()
    told: list[str] = []
    examining = doctor(tmp_path, interrupt, told, after=1)
    assert examining.examine(only(prepare(scenario, Options(), "")), is_reference=True) is None
    assert len(told) == 2


def test_too_few_workflows_say_nothing(tmp_path: Path) -> None:
    """Which is told at once, with the way out."""
    path = tmp_path / "quick.toml"
    path.write_text(SCENARIO.replace('"10 ms"', '"200 ms"'))
    with pytest.raises(
        TargetUnavailable, match=r"quick, level 4: \d+ workflows succeeded in 0\.3 s, too few .*--seconds"
    ):
        doctor(tmp_path, Interrupt(), []).examine(only(prepare(path, Options(), "")), is_reference=True)


@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        (["--level", "4"], "--level 4: is one of a scenario's; name the scenario, too"),
        (["quick.toml", "--level", "5"], "--level 5: not a level of quick.toml (levels: 4, 8)"),
        (["nowhere.toml"], "nowhere.toml: no such scenario"),
    ],
)
def test_what_cannot_be_examined_is_said_before_anything_starts(
    words: list[str], mistake: str, scenario: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the way out."""
    monkeypatch.chdir(scenario.parent)
    result = CliRunner().invoke(commands, ["doctor", *words])
    assert isinstance(result.exception, UsageError)
    assert mistake in str(result.exception)


def test_without_a_scenario_the_reference_is_examined() -> None:
    """As it ships, for as long as was asked; of a scenario its first level, and never until so many were ok."""
    plan = planned(None, None, 6.0, allow_remote=False)
    assert plan.scenario.name == "reference"
    assert (plan.scenario.load.measure, plan.scenario.load.warmup) == (6.0, 1.0)
    weekly = planned(str(SCENARIOS / "concurrent_workflows_weekly.toml"), None, 2.4, allow_remote=False)
    assert [level.label for level in weekly.levels] == ["10"]
    assert (weekly.scenario.load.measure, weekly.scenario.load.until_ok) == (2.4, None)
    assert weekly.scenario.load.warmup == pytest.approx(0.8)


def machine(**fields: object) -> Machine:
    """A machine of many cores that nothing is wrong with."""
    plain = Machine(system="", cpu="", cores=16, memory_bytes=2**34, python="", versions={})
    return msgspec.structs.replace(plain, **fields)


def test_what_makes_a_machine_unsteady_is_noted(tmp_path: Path) -> None:
    """Governor, quota, virtual machine, few cores; nothing where nothing is known."""
    assert machine_notes(machine(), None, tmp_path) == []
    governor = tmp_path / "cpu0" / "cpufreq" / "scaling_governor"
    governor.parent.mkdir(parents=True)
    governor.write_text("performance\n")
    assert machine_notes(machine(), None, tmp_path) == []
    governor.write_text("powersave\n")
    notes = machine_notes(machine(cores=2, quota_cores=1.5, hypervisor="A vendor"), None, tmp_path)
    assert [note for note in notes if "powersave" in note]
    assert [note for note in notes if "A vendor" in note]
    assert [note for note in notes if "1.5 cores" in note]
    assert [note for note in notes if note.startswith("2 cores")]


def test_time_held_back_by_a_quota_is_seconds_or_unknown() -> None:
    """Whatever this machine's control group says."""
    found = throttled_seconds()
    assert found is None or found >= 0.0
