"""What `baseline` stands for where a build is named: the build of an accepted run, and what it was run with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from harness.errors import UsageError
from harness.observation.build import Build
from harness.observation.machine import this_machine
from harness.verdict.baseline_file import read_baseline, read_lock
from harness.verdict.fingerprint import machine_class
from harness.verdict.gated import find_baseline

NAMES = {"baseline": "the newest accepted run", "baseline:first": "the first accepted run of the newest epoch"}


class NamedBuild(NamedTuple):
    """A build as `resolve_arms` takes it."""

    name: str
    lock: str | None  # the versions of everything else that it was run with, where they are known


def named_builds(names: Sequence[str], baselines: Path, scenario: str, level: str) -> list[NamedBuild]:
    """The same names, with those of NAMES looked up. Raises UsageError with each that stands for nothing."""
    found: list[NamedBuild] = []
    mistakes: list[str] = []
    for name in names:
        try:
            found.append(_accepted(name, baselines, scenario, level) if name in NAMES else NamedBuild(name, None))
        except UsageError as error:
            mistakes += error.mistakes
    if mistakes:
        raise UsageError(mistakes)
    return found


def lost(build: Build) -> str | None:
    """Why a build cannot be had again, if it cannot."""
    if build.kind == "none":
        return "nothing is known by which it could be run again"
    return "it was never committed" if build.dirty else None


def _accepted(name: str, baselines: Path, scenario: str, level: str) -> NamedBuild:
    path = find_baseline(baselines, scenario, machine_class(this_machine()), level)
    entries = () if path is None else read_baseline(path).entries
    if not entries:
        raise UsageError(
            f"{name}: {scenario} at {level} has no accepted run in {baselines}; "
            f"`harness baseline record {scenario}` begins a baseline"
        )
    newest = entries[-1]
    entry = newest if name == "baseline" else next(each for each in entries if each.epoch == newest.epoch)
    if (why := lost(entry.build)) is not None:
        raise UsageError(f"{name}: {NAMES[name]}, {entry.run}, cannot be run again: {why}")
    return NamedBuild(entry.build.revision, read_lock(baselines, scenario, entry.build.lock))
