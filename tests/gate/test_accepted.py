"""What `baseline` stands for where a build is named."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.errors import UsageError
from harness.gate.accepted import NamedBuild, named_builds
from harness.observation.build import Build, lock_digest
from harness.observation.machine import this_machine
from harness.verdict.baseline_file import append, baseline_path, begin_epoch, keep_lock
from harness.verdict.fingerprint import machine_class
from tests.verdict.accepted import commit, entry

LOCK = "somepackage==1.0\n"


def accepted(baselines: Path, *builds: Build) -> Path:
    """A baseline with a run a week of each of these builds."""
    path = baseline_path(baselines, "sample", machine_class(this_machine()), "10")
    for week, build in enumerate(builds):
        append(path, msgspec.structs.replace(entry(week, 1.0), build=build))
    return path


def test_the_newest_and_the_first_of_its_epoch(tmp_path: Path) -> None:
    """With the versions that they were run with, where those were kept."""
    keep_lock(tmp_path / "sample", LOCK)
    path = accepted(tmp_path, Build(kind="git", revision=commit(0)))
    begin_epoch(path, by="ada", why="new", at="2026-03-01T00:00:00+00:00")
    for week in (1, 2, 3):
        build = Build(kind="git", revision=commit(week), lock=lock_digest(LOCK))
        append(path, msgspec.structs.replace(entry(week, 1.0, epoch=2), build=build))
    found = named_builds(["baseline:first", "baseline", "."], tmp_path, "sample", "10")
    assert found == [NamedBuild(commit(1), LOCK), NamedBuild(commit(3), LOCK), NamedBuild(".", None)]


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (Build(kind="git", revision=commit(1), dirty=("harness/run.py",)), "it was never committed"),
        (Build(), "nothing is known by which it could be run again"),
    ],
)
def test_a_build_that_cannot_be_had_again(build: Build, why: str, tmp_path: Path) -> None:
    """Is refused by name, for each that was asked for."""
    accepted(tmp_path, build)
    with pytest.raises(UsageError, match=why) as caught:
        named_builds(["baseline", "baseline:first"], tmp_path, "sample", "10")
    assert len(caught.value.mistakes) == 2


def test_no_baseline(tmp_path: Path) -> None:
    """Says how to begin one."""
    with pytest.raises(UsageError, match="`harness baseline record sample` begins a baseline"):
        named_builds(["baseline"], tmp_path, "sample", "10")
