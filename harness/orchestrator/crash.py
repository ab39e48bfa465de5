"""Named crash points: the moments at which an orchestrator that dies does the most harm.

The orchestrator passes its points all the time. When one is armed and passed, the process writes down that it fires,
and then kills or stops itself: no closer aim is possible from outside.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.observation.observation import CrashFired
from harness.scenario.scenario import CrashPoint

FILE = "crashes.jsonl"
SIGNALS = {"kill": signal.SIGKILL, "pause": signal.SIGSTOP}


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashOrder:
    """What one process is to do to itself."""

    point: CrashPoint
    how: str  # a key of SIGNALS
    after_s: float  # since the process began, before it is armed


class CrashPoints:
    """The points of one process. `path` is the run's crashes.jsonl; `clock` gives seconds, `t0` is the run's zero."""

    def __init__(
        self, order: CrashOrder | None, *, path: Path | None, level: str, t0: float, clock: Callable[[], float]
    ) -> None:
        self._order = order
        self._path = path
        self._level = level
        self._t0 = t0
        self._clock = clock
        self._armed_at = clock() + (order.after_s if order else 0.0)

    def passed(self, point: CrashPoint, workflow: str = "", step: str = "") -> None:
        """The orchestrator is at this point now. A paused process goes on from here when it is continued."""
        order = self._order
        if order is None or order.point != point or self._clock() < self._armed_at:
            return
        self._order = None
        assert self._path is not None, "an order comes with a file"
        pid = os.getpid()
        fired = CrashFired(self._level, self._clock() - self._t0, order.how, point, pid, workflow, step)
        # Written by one system call into the page cache, which the death of the process cannot take back.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(descriptor, msgspec.json.encode(fired) + b"\n")
        os.close(descriptor)
        os.kill(pid, SIGNALS[order.how])
