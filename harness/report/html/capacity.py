"""A sweep's answer as one HTML file: the sentence, the curves around it, and what gives out first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from harness.report.capacity import UNITS, assessment_table, explained, refused, sentences
from harness.report.html.chart import Across, Drawn, Panel, Scale, Series, Shade, drawn, rounded_ticks
from harness.report.html.figures import INKS, Figure
from harness.report.html.page import page
from harness.report.rows import plain
from harness.report.svg import Ink
from harness.report.tables import Table
from harness.scenario.units import Kind
from harness.statistics.capacity import Condition
from harness.statistics.metrics import metric_type
from harness.verdict.capacity import Assessment, Level
from harness.verdict.objective import read_objective

CURVE_POINTS = 60


def capacity_page(found: Assessment, *, scenario: str, command: str) -> str:
    """The page."""
    headings, *rows = assessment_table(found)
    return page(
        "capacity.html.j2",
        scenario=scenario,
        command=command,
        mood="bad" if found.capacity is None or found.is_ours else "better",
        sentences=list(sentences(found)),
        explained=list(explained(found)),
        refused=list(refused(found)),
        levels=Table(headings, rows),
        figure=Figure("curves", "Over load", _note(found), tuple(_drawn(found))),
    )


def _note(found: Assessment) -> str:
    return f"Across: {UNITS[found.mode]}. A point is the mean of a load's sittings. Shaded: the capacity (90 %)."


def _drawn(found: Assessment) -> Iterator[Drawn]:
    levels = [level for level in found.levels if level.sittings]
    if not levels:
        return
    across = _across(found, levels)
    for panel in _panels(found, levels, across, _shades(found, across)):
        if (made := drawn(panel)) is not None:
            yield made


def _across(found: Assessment, levels: Sequence[Level]) -> Across:
    high = levels[-1].load * 1.05
    ticks = tuple((tick, f"{tick:g}") for tick in rounded_ticks(0.0, high, 8))
    return Across(0.0, high, ticks, "load" if found.mode == "closed" else "rate")


def _shades(found: Assessment, across: Across) -> list[Shade]:
    """The interval of the capacity, as far as it was measured."""
    capacity = found.capacity
    if capacity is None or capacity.load is None:
        return []
    lower = capacity.load if capacity.lower is None else capacity.lower
    upper = capacity.load if capacity.upper is None else capacity.upper
    return [Shade(lower, min(max(upper, lower), across.high), f"capacity {capacity.load:.3g}")]


def _panels(found: Assessment, levels: Sequence[Level], across: Across, shades: Sequence[Shade]) -> Iterator[Panel]:
    loads = np.array([level.load for level in levels])
    for condition in read_objective(found.objective):
        kind = metric_type(condition.metric)
        if kind is not None:
            series = [_measured(condition.metric, "same", levels), _bound(condition, across)]
            scale: Scale = "log" if kind.unit == "duration" else "linear"
            yield Panel(condition.metric, kind.unit, across, series, scale, shades, height=180)
    rates = [Series("measured", "same", loads, np.array([level.rate for level in levels]))]
    yield Panel("workflows ended a second", "rate", across, [*rates, *_fitted(found, across)], "linear", shades)
    tables: Mapping[str, tuple[Kind, list[dict[str, float]]]] = {
        "busy instances of an agent's pool": ("share", [level.pools for level in levels]),
        "services: p95 of the time to answer": ("duration", [level.services for level in levels]),
    }
    for title, (unit, own) in tables.items():
        names = sorted({name for table in own for name in table})
        series = [
            Series(plain(name), ink, loads, np.array([table.get(name, np.nan) for table in own]))
            for name, ink in zip(names, INKS, strict=False)
        ]
        yield Panel(title, unit, across, series, "linear", shades)


def _measured(metric: str, ink: Ink, levels: Sequence[Level]) -> Series:
    values = np.array([level.metrics.get(metric, np.nan) for level in levels])
    return Series("measured", ink, np.array([level.load for level in levels]), values, wide=True)


def _bound(condition: Condition, across: Across) -> Series:
    ends = np.array([across.low, across.high])
    return Series(f"objective {condition.operator}", "bad", ends, np.full(2, condition.bound))


def _fitted(found: Assessment, across: Across) -> Iterator[Series]:
    """The model that explains throughput best, no further than it may be told."""
    if not found.fits:
        return
    loads = np.linspace(across.high / CURVE_POINTS, across.high, CURVE_POINTS)
    values = [found.fits[0].throughput(float(load)) for load in loads]
    told = np.array([np.nan if value is None else value for value in values])
    yield Series(f"explained by {found.fits[0].model}", "violet", loads, told)
