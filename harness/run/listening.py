"""Who is told what happens while a run goes on, and who may end it early."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from harness.load.control import LoadReport
from harness.observation.manifest import LevelEnd
from harness.observation.observation import ResourceSample


class Listener(Protocol):
    """Told what happens while a run goes on."""

    def level_started(self, level: str, index: int, count: int) -> None:
        """The target of this level is up; load begins."""

    def report(self, level: str, report: LoadReport, sample: ResourceSample | None) -> None:
        """The load process said something; `sample` is the newest resource sample."""

    def faults_changed(self, active: Sequence[str]) -> None:
        """A fault began or was lifted: the kinds of all that act now."""

    def level_ended(self, end: LevelEnd) -> None:
        """The level is over and all of its files are written."""


@dataclass(slots=True)
class Interrupt:
    """Set when the person wants out: the level ends early and no further one starts."""

    asked: threading.Event = field(default_factory=threading.Event)


class Silent:
    """Says nothing: for runs that are a small part of something larger."""

    def level_started(self, level: str, index: int, count: int) -> None: ...

    def report(self, level: str, report: LoadReport, sample: ResourceSample | None) -> None: ...

    def faults_changed(self, active: Sequence[str]) -> None: ...

    def level_ended(self, end: LevelEnd) -> None: ...
