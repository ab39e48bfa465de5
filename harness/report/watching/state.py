"""What is known of a run while it goes on: one state, fed by the run's events, of which the terminal's line, the live
page and the metrics are views.

The run only writes it and never waits for a reader. Readers wait for something newer than what they have seen; one
that is slow finds the newest state when it comes back, and the points that it missed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import msgspec

from harness.load.control import LoadReport, PhaseChanged, Progress, Waiting
from harness.observation.manifest import LevelEnd
from harness.observation.observation import Phase, ResourceSample
from harness.report.watching.shown import Counted, Ended, Mark, Now, Point, Span, Update

POINTS_MAX = 1200
"""Ten minutes at two a second; of a longer run every second one is dropped, again and again."""
MARKS_MAX = 200
COUNTED_MAX = 400
"""Levels of which the metrics are kept: a duet of thirty pairs has sixty."""


class RunState:
    """A run's Listener that keeps what its views show."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._version = 0
        self._began = time.monotonic()
        self._now = Now()
        self._phase: PhaseChanged | None = None
        self._points: list[Point] = []
        self._drawn = 0
        self._marks: list[Mark] = []
        self._spans: list[Span] = []
        self._ended: list[Ended] = []
        self._counted: dict[tuple[str, int, str, str], Counted] = {}
        self._faults_seen: dict[str, None] = {}  # in the order they came
        self._last: Progress | None = None
        self._last_cpu: tuple[float, float] | None = None

    @property
    def now(self) -> Now:
        """The newest of everything."""
        return self._now

    def scenario_began(self, name: str, seed: int) -> None:
        """A further scenario is run."""
        with self._news:
            self._ended.clear()
            self._tell(Now(scenario=name, seed=seed, execution=self._now.execution))

    def level_started(self, level: str, index: int, count: int) -> None:
        """The load of a level begins. A first level is that of a further execution."""
        with self._news:
            self._phase, self._last, self._last_cpu = None, None, None
            now = self._now
            self._marks = [*self._marks, Mark(self._at(), level)][-MARKS_MAX:]
            self._tell(
                Now(
                    scenario=now.scenario,
                    seed=now.seed,
                    execution=now.execution + (index == 0 or now.execution == 0),
                    level=level,
                    number=index + 1,
                    count=count,
                    note=now.note,
                )
            )

    def report(self, level: str, report: LoadReport, sample: ResourceSample | None) -> None:
        """The load process said something."""
        with self._news:
            if isinstance(report, PhaseChanged):
                self._phase = report
                self._set(phase=report.phase, left_s=max(0.0, report.ends_at - report.at), waiting="")
            elif isinstance(report, Waiting):
                awaited = report.awaited - report.joined
                self._set(
                    waiting=f"{report.joined} of {report.awaited} load processes are here; for {awaited} more: "
                    f"harness worker --master {report.host}:{report.port}"
                )
            elif isinstance(report, Progress):
                self._progress(report, sample)

    def faults_changed(self, active: Sequence[str]) -> None:
        """A fault began or was lifted."""
        with self._news:
            self._faults(active)
            self._set(faults=tuple(active))

    def level_ended(self, end: LevelEnd) -> None:
        """What the level came to stays in view."""
        with self._news:
            self._faults(())
            self._ended = [*self._ended, Ended(end.level, end.status, self._now)][-MARKS_MAX:]
            self._set(phase="", left_s=None, in_flight=0, users=0, faults=())

    def noted(self, note: str) -> None:
        """What the run says of what comes next."""
        with self._news:
            self._set(note=note)

    def judged(self, verdict: str, sentence: str, report: str) -> None:
        """The run has its verdict; `report` says where it is written."""
        with self._news:
            self._set(verdict=verdict, sentence=sentence, report=report, note="")

    def end(self) -> None:
        """Nothing will follow: readers that wait are let go."""
        with self._news:
            self._set(over=True)

    def wait(self, seen: int, timeout_s: float) -> int:
        """The newest version, as soon as it is beyond `seen`, or `seen` itself after `timeout_s`."""
        with self._news:
            self._news.wait_for(lambda: self._version > seen, timeout_s)
            return self._version

    def update(self, after: int | None) -> tuple[bytes, int]:
        """JSON of an `Update` with the points after this number (None: with all), and the newest point's number."""
        with self._news:
            found = Update(
                whole=after is None,
                now=self._now,
                points=[point for point in self._points if after is None or point.number > after],
                marks=self._marks,
                spans=self._spans,
                ended=self._ended,
            )
            return msgspec.json.encode(found), self._drawn

    def counted(self) -> tuple[list[Counted], list[str]]:
        """The counts of every phase so far, and the kinds of all faults that acted."""
        with self._news:
            return list(self._counted.values()), list(self._faults_seen)

    def _progress(self, report: Progress, sample: ResourceSample | None) -> None:
        cpu, cpu_s, rss_bytes = self._now.cpu, self._now.cpu_s, self._now.rss_bytes
        if sample is not None and sample.target is not None and sample.level == self._now.level:
            cpu_s, rss_bytes = sample.target.cpu_s, sample.target.rss_bytes
            cpu = self._cpu(sample.at, cpu_s)
        self._set(
            phase=report.phase,
            left_s=max(0.0, self._phase.ends_at - report.at) if self._phase else None,
            users=report.users,
            in_flight=report.in_flight,
            ok=report.ok,
            failed=report.failed,
            unknown=report.unknown,
            not_started=report.not_started,
            p50_s=report.p50_s,
            p95_s=report.p95_s,
            p99_s=report.p99_s,
            cpu=cpu,
            cpu_s=cpu_s,
            rss_bytes=rss_bytes,
            waiting="",
        )
        self._draw(report)
        self._count(report)
        self._last = report

    def _cpu(self, at: float, cpu_s: float) -> float | None:
        """Share of one core that the target used since the report before."""
        share = self._now.cpu
        if self._last_cpu is not None and at > self._last_cpu[0]:
            share = max(0.0, (cpu_s - self._last_cpu[1]) / (at - self._last_cpu[0]))
        self._last_cpu = (at, cpu_s)
        return share

    def _draw(self, report: Progress) -> None:
        last, now = self._last, self._now
        ok_rate, failed_rate = None, None
        if last is not None and counted_phase(last.phase) == counted_phase(report.phase) and report.at > last.at:
            lasted_s = report.at - last.at
            ok_rate, failed_rate = (report.ok - last.ok) / lasted_s, (report.failed - last.failed) / lasted_s
        self._drawn += 1
        self._points.append(
            Point(
                self._drawn,
                self._at(),
                report.in_flight,
                ok_rate,
                failed_rate,
                report.p50_s,
                report.p95_s,
                now.cpu,
                now.rss_bytes,
            )
        )
        if len(self._points) > POINTS_MAX:
            self._points = self._points[::2]  # the first stays, and so does the newest

    def _count(self, report: Progress) -> None:
        now, phase = self._now, counted_phase(report.phase)
        key = (now.scenario, now.execution, now.level, phase)
        self._counted[key] = Counted(
            scenario=now.scenario,
            execution=now.execution,
            level=now.level,
            phase=phase,
            ok=report.ok,
            failed=report.failed - report.unknown,
            unknown=report.unknown,
            not_started=report.not_started,
            cpu_s=now.cpu_s,
        )
        if len(self._counted) > COUNTED_MAX:
            del self._counted[next(iter(self._counted))]

    def _faults(self, active: Sequence[str]) -> None:
        at_s, open_spans = self._at(), [span for span in self._spans if span.to_s is None]
        for span in open_spans:
            if span.kind not in active:
                span.to_s = at_s
        going_on = {span.kind for span in open_spans}
        fresh = [Span(kind, at_s) for kind in dict.fromkeys(active) if kind not in going_on]
        self._spans = [*self._spans, *fresh][-MARKS_MAX:]
        self._faults_seen |= dict.fromkeys(active)

    def _at(self) -> float:
        return round(time.monotonic() - self._began, 2)

    def _set(self, **fields: object) -> None:
        self._tell(msgspec.structs.replace(self._now, **fields))

    def _tell(self, now: Now) -> None:
        self._now = now
        self._version += 1
        self._news.notify_all()


def counted_phase(phase: str) -> str:
    """Whose counts a report holds: those of measure, also while it drains."""
    return Phase.WARMUP if phase == Phase.WARMUP else Phase.MEASURE
