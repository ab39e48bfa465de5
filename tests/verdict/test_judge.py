"""Judging a run's folder: by which limits, and what is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.errors import HarnessError, RunInvalid, UsageError
from harness.verdict.judge import judge_run

if TYPE_CHECKING:
    from tests.conftest import RunBuilder

LOOSE = '[limits."10"]\np95 = "< 5 s"'
TIGHT = '[limits."10"]\np95 = "< 500 ms"'


def test_judging_again_writes_the_same_bytes(run: RunBuilder) -> None:
    """On any machine, at any time."""
    run.sound()
    run.limits = LOOSE
    folder = run.write()
    judge_run(folder)
    before = {name: (folder / name).read_bytes() for name in ("summary.json", "verdict.json")}
    judge_run(folder)
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_a_run_is_judged_by_its_own_copy_of_the_limits(run: RunBuilder, tmp_path: Path) -> None:
    """Others are asked for explicitly, and leave the run's own verdict alone."""
    run.sound()
    run.limits = LOOSE
    folder = run.write()
    assert judge_run(folder).verdict.word == "pass"
    before = (folder / "verdict.json").read_bytes()
    (tmp_path / "hand_written.toml").write_text(TIGHT)
    assert judge_run(folder, against=tmp_path).verdict.failed == ('limits."10".p95',)
    assert (folder / "verdict.json").read_bytes() == before


def test_limits_that_are_not_there_are_a_usage_error(run: RunBuilder, tmp_path: Path) -> None:
    """A person who names a folder means its limits."""
    run.sound()
    with pytest.raises(UsageError, match=r"has no hand_written\.toml"):
        judge_run(run.write(), against=tmp_path)


def test_our_limits_are_not_held_against_others(run: RunBuilder) -> None:
    """The same run, by another target."""
    run.sound()
    run.limits = f'{LOOSE}\n[ours."10"]\np95 = "< 500 ms"'
    assert judge_run(run.write()).verdict.failed == ('ours."10".p95',)
    run.target, run.agents = "python:bot:run", ()
    assert judge_run(run.write()).verdict.word == "pass"


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    """Before anything is written into it."""
    with pytest.raises(RunInvalid, match="is not a run"):
        judge_run(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_says_so(run: RunBuilder) -> None:
    """Here because its name is taken by a folder."""
    run.sound()
    folder = run.write()
    (folder / "verdict.json").mkdir()
    with pytest.raises(HarnessError, match="cannot write into"):
        judge_run(folder)
