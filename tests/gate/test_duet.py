"""Two builds run in turn."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from harness.errors import HarnessError
from harness.gate.arms import resolve_arms
from harness.gate.duet import FAILED_MAX, DuetPlan, run_duet
from harness.observation.duet import ARMS_FILE, PAIRS_FOLDER, ArmRun
from harness.observation.manifest import LevelEnd, read_manifest
from harness.run.listening import Interrupt, Silent
from harness.run.plan import Options, prepare
from harness.verdict.duet import read_duet
from tests.gate.test_arms import git

SCENARIO = """
name = "small"
description = "two levels, of which one is compared"
target = "python:agent:run"
seed = 5
[load]
closed = [1, 2]
warmup = "3 s"
measure = "10 s"
[[workflow]]
kind = "job"
"""
AGENT = """
import asyncio, os
async def run(request, watch):
    async with watch.step("NAME"):
        await asyncio.sleep(0.002)
    return {}
async def other(request, watch):
    async with watch.step("other"):
        await asyncio.sleep(0.002)
    return {}
async def dies(request, watch): os._exit(7)
"""
WORKFLOWS = 12


def planned(tmp_path: Path, *names: str, folder: Path | None = None) -> DuetPlan:
    """A duet of the level of two users, as short as can be."""
    folder = folder or tmp_path
    (folder / "small.toml").write_text(SCENARIO)
    if not (folder / "agent.py").exists():
        (folder / "agent.py").write_text(AGENT)
    plan = prepare(folder / "small.toml", Options(reports=tmp_path / "reports"), "")
    a, b = resolve_arms(names, target=plan.scenario.target, folder=plan.folder, tell=lambda _: None)
    return DuetPlan(plan=plan, level=plan.levels[1], a=a, b=b, command="", workflows=WORKFLOWS, warmup_s=0.05)


def arms_of(folder: Path) -> list[ArmRun]:
    """The lines of `arms.jsonl`."""
    return [msgspec.json.decode(line, type=ArmRun) for line in (folder / ARMS_FILE).read_bytes().splitlines()]


def test_pairs_are_run_until_a_look_says_that_it_is_enough(tmp_path: Path) -> None:
    """Each arm is a run of its own, of the one level; the arms of a pair make the same draws, pairs other ones."""
    duet, folder, looked = planned(tmp_path, "python:agent:run", "python:agent:other"), tmp_path / "duet", list[int]()

    def enough(pairs: int) -> bool:
        looked.append(pairs)
        return pairs == 2

    run_duet(duet, folder, Silent(), Interrupt(), enough=enough, tell=lambda _: None, looks=(1, 2))
    read = read_duet(folder)
    assert looked == [1, 2]
    assert (len(read.pairs), read.problems, read.duet.finished) == (2, (), True)
    for a, b in read.pairs:
        assert (*a.agents, *b.agents) == ("NAME", "other")
        assert a.ok >= WORKFLOWS
        assert b.ok >= WORKFLOWS
    arms = arms_of(folder)
    assert [arm.pair for arm in arms] == [0, 0, 1, 1]
    assert [arm.first for arm in arms] == [True, False, True, False]
    assert [{arms[0].side, arms[1].side}, {arms[2].side, arms[3].side}] == [{"a", "b"}] * 2
    runs = [read_manifest(folder / PAIRS_FOLDER / arm.run) for arm in arms]
    assert [run.levels for run in runs] == [("2",)] * 4
    assert runs[0].seed == runs[1].seed != runs[2].seed == runs[3].seed


def test_a_commit_beside_what_it_was_changed_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The baseline runs as it was committed, in an environment of its own, while the candidate runs as it is here."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    scenarios = tmp_path / "repository" / "scenarios"
    scenarios.mkdir(parents=True)
    (scenarios / "agent.py").write_text(AGENT.replace("NAME", "committed"))
    git(scenarios, "init", "--quiet", str(scenarios.parent))
    git(scenarios, "add", ".")
    git(scenarios, "commit", "--quiet", "-m", "baseline")
    (scenarios / "agent.py").write_text(AGENT.replace("NAME", "changed"))
    duet, folder = planned(tmp_path, "HEAD", ".", folder=scenarios), tmp_path / "duet"
    run_duet(duet, folder, Silent(), Interrupt(), enough=lambda _: True, tell=lambda _: None, looks=(1,))
    read = read_duet(folder)
    [(a, b)] = read.pairs
    assert (*a.agents, *b.agents) == ("committed", "changed")
    assert read.duet.a.build.revision == git(scenarios, "rev-parse", "HEAD")
    assert read.duet.a.build.dirty == ()
    assert "scenarios/agent.py" in read.duet.b.build.dirty
    by_side = {arm.side: read_manifest(folder / PAIRS_FOLDER / arm.run).build for arm in arms_of(folder)}
    assert by_side == {"a": read.duet.a.build, "b": read.duet.b.build}


class LeavesAfterOne(Silent):
    """Somebody who wants out when the first arm is over."""

    def __init__(self) -> None:
        self.interrupt = Interrupt()

    def level_ended(self, end: LevelEnd) -> None:
        """Enough of it."""
        self.interrupt.asked.set()


def test_an_interrupted_duet_keeps_what_was_measured(tmp_path: Path) -> None:
    """It is marked as cut short."""
    duet, folder, listener = planned(tmp_path, ".", "python:agent:other"), tmp_path / "duet", LeavesAfterOne()
    run_duet(duet, folder, listener, listener.interrupt, enough=lambda _: False, tell=lambda _: None)
    assert len(arms_of(folder)) == 1
    read = read_duet(folder)
    assert (len(read.pairs), read.duet.finished) == (0, False)


def test_arms_may_be_measured_for_a_time(tmp_path: Path) -> None:
    """Which growth of memory needs: as long as it was said, however many succeed."""
    plan = replace(planned(tmp_path, ".", "."), pairs_max=1, measure_s=0.7)
    run_duet(plan, tmp_path / "duet", Silent(), Interrupt(), enough=lambda _: True, tell=lambda _: None)
    read = read_duet(tmp_path / "duet")
    assert (read.duet.workflows, read.duet.measure_s) == (0, 0.7)
    [(a, b)] = read.pairs
    assert min(a.ok, b.ok) > WORKFLOWS
    assert (a.measure_s, b.measure_s) == pytest.approx((0.7, 0.7), abs=0.05)


def test_a_duet_is_not_run_into_another_one(tmp_path: Path) -> None:
    """Its pairs would be taken for this one's."""
    duet, folder = replace(planned(tmp_path, ".", "."), pairs_max=0), tmp_path / "duet"
    run_duet(duet, folder, Silent(), Interrupt(), enough=lambda _: False, tell=lambda _: None)
    with pytest.raises(HarnessError, match="cannot write the duet's folder"):
        run_duet(duet, folder, Silent(), Interrupt(), enough=lambda _: False, tell=lambda _: None)


def harness(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command, as a person runs it in that folder."""
    program = [sys.executable, "-m", "harness", *words]
    return subprocess.run(program, capture_output=True, text=True, cwd=folder, check=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere", "nothing", "small.toml", "--level", "2"), ("nowhere: is no file", "nothing: is no file")),
        ((".", ".", "small.toml"), ("small has the levels 1, 2: say which",)),
        ((".", ".", "small.toml", "--level", "3"), ("small has the levels 1, 2: 3 is none",)),
        (("baseline", "baseline:first", "small.toml", "--level", "2"), ("baseline: small at 2 has no accepted run",)),
        ((".", ".", "small.toml", "--level", "2", "--workflows", "50", "--measure", "1 s"), ("either so many",)),
        ((".", ".", "."), ("is a folder; a duet is of one scenario",)),
        ((".", ".", "small.toml", "--level", "2", "--strict", "--margin", "7 %"), ("--strict is --margin 5%",)),
        ((".", ".", "black.toml"), ('a black box (target = "http")',)),
        ((".", ".", "small.toml", "--level", "2", "--pairs", "7"), ("'7' is not one of '10', '20', '30'",)),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_starts(
    words: tuple[str, ...], said: tuple[str, ...], tmp_path: Path
) -> None:
    """With every mistake of both builds, and exit code 2."""
    (tmp_path / "small.toml").write_text(SCENARIO)
    black = SCENARIO.replace("python:agent:run", "http").replace("[1, 2]", "[2]").replace('"small"', '"black"')
    (tmp_path / "black.toml").write_text(f'{black}[http.submit]\nurl = "http://127.0.0.1:9/"\n')
    done = harness(tmp_path, "duet", *words)
    assert done.returncode == 2, done.stderr
    for each in said:
        assert each in done.stderr
    assert not (tmp_path / "reports").exists()


def test_a_candidate_that_always_dies_ends_the_command(tmp_path: Path) -> None:
    """Though the baseline comes to its end each time. No pair is whole, so nothing is said; what there is stays."""
    (tmp_path / "small.toml").write_text(SCENARIO)
    (tmp_path / "agent.py").write_text(AGENT)
    short = ("--level", "2", "--pairs", "10", "--workflows", "20", "--warmup", "50 ms")
    done = harness(tmp_path, "duet", ".", "python:agent:dies", "small.toml", *short, "--json")
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    assert f"{FAILED_MAX} arms in a row failed, the last one of b" in done.stderr
    assert "ended (exit 7) during the level" in done.stderr
    [folder] = (tmp_path / "reports").iterdir()
    read = read_duet(folder)
    assert (len(read.pairs), read.duet.finished) == (0, False)
    assert len(read.problems) == FAILED_MAX
    assert all("candidate: target died" in problem for problem in read.problems)
