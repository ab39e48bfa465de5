"""The view of a run while it goes on: one redrawn line in a terminal, a plain line every ten seconds without one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from harness.load.control import LoadReport, Progress, Waiting
from harness.observation.manifest import LevelEnd
from harness.observation.observation import ResourceSample
from harness.report.watching.shown import Now
from harness.report.watching.state import RunState
from harness.scenario.units import render

PLAIN_EVERY_S = 10.0


class LiveProgress:
    """A run's Listener that keeps its state, which other views may share, and shows it in a line."""

    def __init__(self, console: Console, state: RunState | None = None) -> None:
        self._console = console
        self._redraw = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(console=console, transient=True, auto_refresh=False) if self._redraw else None
        self._last_plain = 0.0
        self._state = state or RunState()

    def __enter__(self) -> LiveProgress:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def level_started(self, level: str, index: int, count: int) -> None:
        self._state.level_started(level, index, count)
        if not self._live:
            self._console.print(f"{_position(self._state.now)}: started", highlight=False)

    def report(self, level: str, report: LoadReport, sample: ResourceSample | None) -> None:
        self._state.report(level, report, sample)
        if isinstance(report, Waiting | Progress):
            self._show(line(self._state.now))

    def faults_changed(self, active: Sequence[str]) -> None:
        self._state.faults_changed(active)

    def level_ended(self, end: LevelEnd) -> None:
        self._state.level_ended(end)
        words = f"level {end.level}: {end.status.replace('_', ' ')}"
        self._console.print(words + (f": {end.message}" if end.message else ""), highlight=False, markup=False)

    def _show(self, line: str) -> None:
        if self._live:
            self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)
        elif time.monotonic() - self._last_plain >= PLAIN_EVERY_S:
            self._last_plain = time.monotonic()
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def line(now: Now) -> str:
    """The state in one line."""
    if now.waiting:
        return f"{_position(now)}: {now.waiting}"
    left = f", {now.left_s:.0f} s left" if now.left_s is not None else ""
    parts = [
        f"{_position(now)}: {now.phase}{left}",
        *([f"broken now: {', '.join(now.faults)}"] if now.faults else []),
        f"{now.in_flight} in flight",
        f"{now.ok} ok",
        f"{now.failed} failed",
    ]
    if now.not_started:
        parts.append(f"{now.not_started} not started")
    if now.p95_s is not None and now.p50_s is not None:
        parts.append(f"p50 {render(now.p50_s, 'duration')}, p95 {render(now.p95_s, 'duration')} so far")
    if now.rss_bytes is not None:
        parts.append(f"CPU {now.cpu or 0.0:.0%}, {render(now.rss_bytes, 'size')}")
    return " · ".join(parts)


def _position(now: Now) -> str:
    return f"level {now.level} ({now.number} of {now.count})"
