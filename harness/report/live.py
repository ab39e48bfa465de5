"""The view of a run while it goes on: one redrawn line in a terminal, a plain line every ten seconds without one."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from harness.load.control import LoadReport, PhaseChanged, Progress, Waiting
from harness.observation.manifest import LevelEnd
from harness.observation.observation import ResourceSample
from harness.scenario.units import render

PLAIN_EVERY_S = 10.0


class LiveProgress:
    """A run's Listener that shows phase, time left, work in flight and done, percentiles so far, CPU and memory."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._redraw = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(console=console, transient=True, auto_refresh=False) if self._redraw else None
        self._position = ""
        self._phase: PhaseChanged | None = None
        self._last_plain = 0.0
        self._last_cpu: tuple[float, float] | None = None
        self._cpu_share = 0.0

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
        self._position = f"level {level} ({index + 1} of {count})"
        self._phase = None
        self._last_cpu = None
        self._cpu_share = 0.0
        if not self._live:
            self._console.print(f"{self._position}: started", highlight=False)

    def report(self, level: str, report: LoadReport, sample: ResourceSample | None) -> None:
        if isinstance(report, PhaseChanged):
            self._phase = report
        elif isinstance(report, Waiting):
            awaited = report.awaited - report.joined
            self._show(
                f"{self._position}: {report.joined} of {report.awaited} load processes are here; for {awaited} more: "
                f"harness worker --master {report.host}:{report.port}"
            )
        elif isinstance(report, Progress):
            self._show(self._line(report, sample))

    def level_ended(self, end: LevelEnd) -> None:
        words = f"level {end.level}: {end.status.replace('_', ' ')}"
        self._console.print(words + (f": {end.message}" if end.message else ""), highlight=False, markup=False)

    def _line(self, progress: Progress, sample: ResourceSample | None) -> str:
        left = f", {max(0.0, self._phase.ends_at - progress.at):.0f} s left" if self._phase else ""
        parts = [
            f"{self._position}: {progress.phase}{left}",
            f"{progress.in_flight} in flight",
            f"{progress.ok} ok",
            f"{progress.failed} failed",
        ]
        if progress.not_started:
            parts.append(f"{progress.not_started} not started")
        if progress.p95_s is not None and progress.p50_s is not None:
            parts.append(f"p50 {render(progress.p50_s, 'duration')}, p95 {render(progress.p95_s, 'duration')} so far")
        if sample and sample.target:
            parts.append(f"CPU {self._cpu(sample):.0%}, {render(sample.target.rss_bytes, 'size')}")
        return " · ".join(parts)

    def _cpu(self, sample: ResourceSample) -> float:
        """Share of one core the target used since the last line."""
        assert sample.target is not None
        if self._last_cpu and sample.at > self._last_cpu[0]:
            self._cpu_share = (sample.target.cpu_s - self._last_cpu[1]) / (sample.at - self._last_cpu[0])
        if not self._last_cpu or sample.at > self._last_cpu[0]:
            self._last_cpu = (sample.at, sample.target.cpu_s)
        return max(0.0, self._cpu_share)

    def _show(self, line: str) -> None:
        if self._live:
            self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)
        elif time.monotonic() - self._last_plain >= PLAIN_EVERY_S:
            self._last_plain = time.monotonic()
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
