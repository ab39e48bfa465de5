"""The charts of one level: latency over time, its distribution, and what everything took on the same clock."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.observation.observation import HealthSample, PoolUse, ProcessUse, ResourceSample
from harness.report.html.chart import Across, Drawn, Panel, Series, Shade, drawn, over_time
from harness.report.html.course import Course, latencies
from harness.report.rows import plain
from harness.report.svg import Ink
from harness.scenario.units import Kind
from harness.statistics.fault_spans import fault_spans
from harness.statistics.level import LevelSummary
from harness.statistics.quantile import Floats
from harness.statistics.resources import increases
from harness.statistics.tally import DEGRADED, FAILED, NOT_STARTED, OK, UNKNOWN, Rows, flagged, outcome

Uses = Sequence[tuple[float, ProcessUse]]
INKS: Sequence[Ink] = ("same", "worse", "better", "violet", "margin", "rose", "bad", "dot")
BIN_S = 1.0
CPU_S = 0.5
"""CPU is a difference of readings at least so far apart: the clock of a process ticks a hundred times a second."""
POOLS_MAX = len(INKS)
PERCENTILES = ((0.0, "p0"), (0.5, "p50"), (0.9, "p90"), (0.95, "p95"), (0.99, "p99"), (0.999, "p99.9"))


@dataclass(frozen=True, slots=True)
class Figure:
    """Panels on one axis."""

    name: str  # of the figure within its level, for links
    title: str
    note: str
    panels: tuple[Drawn, ...]
    clock: str = ""  # figures with the same one are zoomed together


def figures(course: Course, summary: LevelSummary) -> list[Figure]:
    """All of a level that have something to show."""
    clock = over_time(course.zero, course.end, course.zero)
    shades = list(_shades(course))
    marks = [at - course.zero for phase, at in course.marks.items() if phase in ("measure", "drain")]
    said = "; ".join(f"{shade.says}: {shade.start:.1f} to {shade.end:.1f} s" for shade in shades)
    note = "Dashed: where measuring began and ended." + (f" Shaded: {said}." if said else "")
    found = [
        Figure("latency", "Latency over time", f"By intended start. {note}",
               _drawn([_latency(course, summary, clock, shades, marks)]), clock=course.level),
        Figure("distribution", "Latency distribution", "How long the fastest so many percent took, by how they ended.",
               _drawn([_distribution(course)])),
        Figure("resources", "Resources on the same clock", note,
               _drawn(_resources(course, clock, shades, marks)), clock=course.level),
    ]  # fmt: skip
    return [figure for figure in found if figure.panels]


def _drawn(panels: Sequence[Panel] | Iterator[Panel]) -> tuple[Drawn, ...]:
    return tuple(found for panel in panels if (found := drawn(panel)) is not None)


def _shades(course: Course) -> Iterator[Shade]:
    """The faults, as the run noted them."""
    for span in fault_spans(course.evidence.faults):
        lifted = course.end if span.lifted is None else span.lifted
        yield Shade(span.began - course.zero, lifted - course.zero, plain(span.kind))


def _by_outcome(rows: Rows) -> dict[str, tuple[Ink, Rows]]:
    """How they ended -> their ink, and which."""
    ended_as, is_degraded = outcome(rows), flagged(rows, DEGRADED)
    return {
        "ok": ("same", rows[(ended_as == OK) & ~is_degraded]),
        "degraded": ("margin", rows[(ended_as == OK) & is_degraded]),
        "failed": ("bad", rows[ended_as == FAILED]),
        "unknown (at least)": ("rose", rows[ended_as == UNKNOWN]),
    }


def _latency(
    course: Course, summary: LevelSummary, clock: Across, shades: Sequence[Shade], marks: Sequence[float]
) -> Panel:
    series = [
        Series(name, ink, rows["intended"] - course.zero, latencies(rows), dots=True)
        for name, (ink, rows) in _by_outcome(course.workflows).items()
    ]
    blocks = summary.blocks
    if len(blocks) > 1:
        middle = np.array([block.start for block in blocks]) + (blocks[1].start - blocks[0].start) / 2 - course.zero
        inks: Mapping[str, Ink] = {"p50": "text", "p95": "worse"}
        for name, ink in inks.items():
            values = np.array([_value(getattr(block, name)) for block in blocks])
            series.append(Series(name, ink, middle, values, wide=True))
    return Panel("latency", "duration", clock, series, "log", shades, marks, height=240)


def _value(value: float | None) -> float:
    return math.nan if value is None else value


def _distribution(course: Course) -> Panel:
    """Percentiles across, each nine of them as wide as the last."""
    rows = course.of_measure
    n = max(len(rows), 1)
    far = min(3.0, max(1.0, math.log10(2 * n)))
    ticks = tuple((_nines(share), label) for share, label in PERCENTILES if _nines(share) <= far + 1e-9)
    across = Across(0.0, far, ticks, "percentile")
    found: Mapping[str, tuple[Ink, Rows]] = {"all": ("text", rows), **_by_outcome(rows)}
    series = [_percentiles(name, ink, own) for name, (ink, own) in found.items() if len(own)]
    if len(series) == 2:  # all of them ended alike
        series = series[1:]
    return Panel("latency", "duration", across, series, "log", height=220)


def _nines(share: float) -> float:
    return -math.log10(1.0 - share)


def _percentiles(name: str, ink: Ink, rows: Rows) -> Series:
    took = latencies(rows)
    ordered = np.sort(took[~np.isnan(took)])
    n = len(ordered)
    share = (np.arange(n) + 0.5) / n if n else np.empty(0)
    return Series(name, ink, -np.log10(1.0 - share), ordered, wide=name == "all")


def _resources(course: Course, clock: Across, shades: Sequence[Shade], marks: Sequence[float]) -> Iterator[Panel]:
    """A panel a quantity, all on the level's clock."""
    found = course.evidence.samples
    blank = Panel("", "count", clock, (), shades=shades, marks=marks)
    yield replace(blank, title="workflows ended a second", unit="rate", series=list(_rates(course)))
    uses: Mapping[str, tuple[Ink, Uses]] = {
        "orchestrator": ("same", [(sample.at, sample.target) for sample in found if sample.target]),
        "load processes": ("worse", [(sample.at, sample.load) for sample in found if sample.load]),
        "models": ("better", [(sample.at, sample.llm) for sample in found if sample.llm]),
    }
    cpu = [_cpu(name, ink, own, course.zero) for name, (ink, own) in uses.items()]
    rss = [_rss(name, ink, own, course.zero) for name, (ink, own) in uses.items()]
    yield replace(blank, title="CPU, of one core", unit="share", series=cpu)
    yield replace(blank, title="memory (RSS)", unit="size", series=rss)
    for title, unit, series in _of_host(found, course.zero):
        yield replace(blank, title=title, unit=unit, series=series)
    health = list(_health(course))
    yield replace(blank, title="services: time to answer", unit="duration", series=health, scale="log")


def _rates(course: Course) -> Iterator[Series]:
    rows = course.workflows
    edges = np.arange(course.zero, course.end + BIN_S, BIN_S)
    if len(edges) < 2:
        return
    ended_as = outcome(rows)
    at = edges[:-1] + BIN_S / 2 - course.zero
    told: Mapping[str, tuple[Ink, int]] = {"ok": ("same", OK), "failed": ("bad", FAILED), "unknown": ("rose", UNKNOWN)}
    for name, (ink, code) in told.items():
        ended = rows["ended"][ended_as == code]
        if len(ended):
            yield Series(name, ink, at, np.histogram(ended[~np.isnan(ended)], edges)[0] / BIN_S)
    refused = rows["intended"][ended_as == NOT_STARTED]
    if len(refused):
        yield Series("not started", "dot", at, np.histogram(refused, edges)[0] / BIN_S)


def _cpu(name: str, ink: Ink, uses: Uses, zero: float) -> Series:
    """Share of a core, between readings CPU_S apart."""
    x, y = [], []
    grown = increases([(at, use.cpu_s) for at, use in uses])
    before = grown[0] if grown else None
    for at, spent in grown[1:]:
        assert before is not None
        if at - before[0] >= CPU_S:
            x.append(at - zero)
            y.append((spent - before[1]) / (at - before[0]))
            before = (at, spent)
    return Series(name, ink, np.array(x, dtype=np.float64), np.array(y, dtype=np.float64))


def _rss(name: str, ink: Ink, uses: Uses, zero: float) -> Series:
    return Series(name, ink, _array(at - zero for at, _ in uses), _array(use.rss_bytes for _, use in uses))


def _of_host(found: Sequence[ResourceSample], zero: float) -> Iterator[tuple[str, Kind, list[Series]]]:
    """What the target's host knows of itself."""
    hosts = [(sample.at - zero, sample.host) for sample in found if sample.host is not None]
    at = _array(moment for moment, _ in hosts)
    lags = _array(max(host.loop_lags_s, default=math.nan) for _, host in hosts)
    yield "event loop lag, the longest", "duration", [Series("lag", "same", at, lags)]
    running, queued = _array(host.running for _, host in hosts), _array(host.queue_depth for _, host in hosts)
    counts = [Series("running", "same", at, running), Series("in the queue", "margin", at, queued)]
    yield "workflows in the orchestrator", "count", counts
    agents = sorted({agent for _, host in hosts for agent in host.pools})[:POOLS_MAX]
    busy = [_array(_busy(host.pools.get(agent)) for _, host in hosts) for agent in agents]
    pools = [Series(plain(agent), ink, at, own) for agent, ink, own in zip(agents, INKS, busy, strict=False)]
    yield "busy instances of an agent's pool", "share", pools


def _busy(pool: PoolUse | None) -> float:
    return pool.busy / pool.size if pool and pool.size else math.nan


def _health(course: Course) -> Iterator[Series]:
    """Where none came, the line is broken."""
    by_service: dict[str, list[HealthSample]] = {}
    for sample in course.evidence.health:
        by_service.setdefault(sample.service, []).append(sample)
    for n, (service, own) in enumerate(sorted(by_service.items())):
        x = _array(sample.at - course.zero for sample in own)
        yield Series(service, INKS[n % len(INKS)], x, _array(_value(sample.response_s) for sample in own))


def _array(values: Iterable[float]) -> Floats:
    return np.array(list(values), dtype=np.float64)
