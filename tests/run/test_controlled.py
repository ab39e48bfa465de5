"""The control arm: run beside a broken level, and told beside it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.run.controlled import execute_controlled, unbroken
from harness.run.listening import Interrupt, Silent
from harness.run.plan import Options, prepare
from harness.verdict.control import CONTROL
from harness.verdict.judge import judge_run

SCENARIO = """
name = "broken"
description = "A program that is held still for a while."
target = "python:agent:run"
control = true
[load]
closed = [2]
warmup = "100 ms"
measure = "1500 ms"
[[workflow]]
kind = "job"
[[fault]]
kind = "target.freeze"
at = "300 ms"
for = "700 ms"
"""
AGENT = """
import asyncio
async def run(request, watch):
    await asyncio.sleep(0.005)
    return {}
"""
LIMITS = '[limits."2"]\nsuccess = ">= 99 %"\np99 = "< 5 s"\n'


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its control arm."""
    folder = tmp_path_factory.mktemp("controlled")
    (folder / "broken.toml").write_text(SCENARIO)
    (folder / "agent.py").write_text(AGENT)
    (folder / "baselines").mkdir()
    (folder / "baselines" / "broken.toml").write_text(LIMITS)
    plan = prepare(folder / "broken.toml", Options(reports=folder / "reports"), "")
    told: list[str] = []
    found = execute_controlled(plan, Silent(), Interrupt(), told.append)
    assert len(told) == 1
    return found


@pytest.fixture
def copied(run_dir: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    shutil.copytree(run_dir, tmp_path / "run")
    return tmp_path / "run"


def test_both_arms_are_told_side_by_side(run_dir: Path) -> None:
    """While it is held still nothing is done: fewer workflows, and as many succeed of those there are."""
    verdict = judge_run(run_dir).verdict
    found = {each.metric: (each.broken, each.control) for each in verdict.beside}
    broken, control = found["throughput"]
    assert broken is not None
    assert control is not None
    assert 0.2 * control < broken < 0.85 * control
    assert verdict.word == "pass", verdict.sentences
    against = verdict.against["2"]
    assert (against.broken, against.mended) == (0, 0)
    assert against.paired > 20
    assert min(window.goodput.change or 0.0 for window in against.windows) < 0


def test_a_run_whose_control_arm_is_gone_is_no_pass(copied: Path) -> None:
    """What the fault costs is not known then."""
    shutil.rmtree(copied / CONTROL)
    verdict = judge_run(copied).verdict
    assert (verdict.word, verdict.beside) == ("inconclusive", ())
    assert any("level 2 has no control arm to be compared with" in sentence for sentence in verdict.sentences)


def test_what_is_broken_without_a_fault_is_not_blamed_on_it(copied: Path) -> None:
    """The control arm is held against the same limits."""
    (copied / "limits.toml").write_text('[limits."2"]\np99 = "< 1 ms"\n')
    verdict = judge_run(copied).verdict
    assert verdict.word == "failed: limit"
    [said] = [check for check in verdict.checks if check.name == 'control."2"']
    assert said.sentence.startswith("level 2, with nothing broken: ")
    assert said.sentence.endswith("so it is no fault's")


def test_nothing_is_broken_in_the_control_arm(run_dir: Path) -> None:
    """Not even what nobody thought of when this was written: the faults' file is not there."""
    [other] = (run_dir / CONTROL).iterdir()
    assert (run_dir / "faults.jsonl").exists()
    assert not (other / "faults.jsonl").exists()


def test_a_control_arm_of_nothing_is_a_mistake(tmp_path: Path) -> None:
    """It would be the same run twice."""
    text = SCENARIO.partition("[[fault]]")[0]
    (tmp_path / "broken.toml").write_text(text)
    with pytest.raises(UsageError, match="control: is the same run without its faults, and there are none"):
        prepare(tmp_path / "broken.toml", Options(), "")


def test_everything_that_breaks_is_left_out(tmp_path: Path) -> None:
    """Crashes and outages, too."""
    (tmp_path / "broken.toml").write_text(SCENARIO)
    scenario = prepare(tmp_path / "broken.toml", Options(), "").scenario
    whole = unbroken(scenario)
    assert whole == replace(scenario, fault=(), control=False)
