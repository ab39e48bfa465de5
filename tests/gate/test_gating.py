"""A gated run from end to end: recorded, accepted, made slower, and found, with a real target and a real history."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.gate.accepting import accept
from harness.gate.gating import GateOptions, Gating
from harness.run.listening import Interrupt, Silent
from harness.run.plan import Options, prepare
from harness.verdict.baseline_file import read_baseline
from harness.verdict.judge import JudgedRun, judge_run

SCENARIO = """name = "quick"
description = "Workflows of a tenth of a second."
target = "python:quick:run"

[load]
closed = [80]
warmup = "0.5 s"
measure = "3 s"
drain = "5 s"

[[workflow]]
kind = "job"
"""
LIMITS = '[limits."80"]\nsuccess = ">= 90 %"\np50 = "< 4 s"\np95 = "< 4 s"\np99 = "< 4 s"\n'
TARGET = """import asyncio


async def run(request, watch):
    async with watch.step("triage"):
        await asyncio.sleep(0.05)
    async with watch.step("answer"):
        await asyncio.sleep(0.05)
    return {}
"""
SLOWER = TARGET.replace(
    '"answer"):\n        await asyncio.sleep(0.05)', '"answer"):\n        await asyncio.sleep(0.25)'
)


class Project:
    """A user's repository with a scenario, its limits, and a Python target."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "scenarios").mkdir(parents=True)
        (folder / "baselines").mkdir()
        (folder / "scenarios" / "quick.toml").write_text(SCENARIO)
        (folder / "baselines" / "quick.toml").write_text(LIMITS)
        self._git("init", "--quiet")
        self.commit(TARGET)

    def commit(self, target: str) -> None:
        (self.folder / "scenarios" / "quick.py").write_text(target)
        self._git("add", "-A")
        self._git("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "-m", "a build")

    def run(self, **options: int | bool) -> JudgedRun:
        """Run it with the gate, and judge it."""
        plan = prepare(
            self.folder / "scenarios" / "quick.toml",
            Options(reports=self.folder / "reports"),
            command="harness run quick",
        )
        gating = Gating(
            plan=plan,
            options=GateOptions(**options),  # type: ignore[arg-type]
            listener=Silent(),
            interrupt=Interrupt(),
            tell=lambda line: None,
        )
        return judge_run(gating.run())

    def _git(self, *words: str) -> None:
        subprocess.run(["git", "-C", str(self.folder), *words], check=True)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Other tests may take as much of the machine as they like: here it is not too much."""
    monkeypatch.setattr("harness.statistics.reading.DISTURBED_MAX", 2.0)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return Project(tmp_path / "project")


@pytest.mark.timeout(300)  # eight real runs, and the baseline's build made
def test_a_slower_build_is_found_beside_the_accepted_one(project: Project) -> None:
    """The first run is learning and may be accepted; the next build is run beside it, is slower, and says where."""
    first = project.run(duet=False)
    [gate] = first.verdict.gate
    assert (first.verdict.word, gate.decision.outcome) == ("inconclusive", "learning"), first.verdict.sentences
    assert list((first.run_dir / "reference").glob("*/run.json"))
    baselines = project.folder / "baselines"
    assert "learning: " in accept(
        first.run_dir, baselines, levels=(), by="somebody", at="2999-01-01T00:00:00+00:00", dry_run=False
    )[0]  # fmt: skip
    [path] = baselines.glob("quick/*/80.json")
    [entry] = read_baseline(path).entries
    assert entry.reference is not None
    assert entry.build.kind == "git"

    project.commit(SLOWER)
    second = project.run(pairs=3)
    [gate] = second.verdict.gate
    assert (second.verdict.word, gate.decision.outcome, gate.pairs) == ("regressed", "regressed", 3), gate.sentence
    assert 'gate."80".p50' in second.verdict.failed
    assert gate.decision.parts[0].part == "agent answer"
    assert entry.build.revision[:7] in gate.sentence
    assert len(list((second.run_dir / "duet" / "80" / "pairs").iterdir())) == 6
    assert judge_run(second.run_dir).verdict == second.verdict
