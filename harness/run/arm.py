"""Which build of the system under test a run drives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.observation.build import Build


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A build that can be run: where its target's Python is imported from, and by which interpreter."""

    named: str
    build: Build
    folder: Path  # the scenario's, as this build has it
    python: str | None = None  # None: the interpreter that runs the harness, which then is the build, too
    target: str | None = None  # instead of the scenario's own
