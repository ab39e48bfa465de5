"""The history of one level: a point a sitting, and where its metrics changed (GATE.md, step 6). It never blocks.

A point is a sitting, as it is for the gate: five runs in one sitting say one thing of the machine, and as five points
they would look like a change. All epochs are one series, since what an epoch accepted is a change as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import msgspec
import numpy as np

from harness.statistics.change import relative
from harness.statistics.changepoint import POINTS_MIN, change_points
from harness.statistics.comparison import CORRELATION_MIN, REFERENCES_MIN, SLOPE_PRIOR, SLOPE_WEIGHT, scaled
from harness.statistics.quantile import Floats
from harness.statistics.reading import COMPARED, Reading
from harness.verdict.baseline import Baseline, Entry

TREND_METRICS = ("p50", "p95", "throughput", "cpu_per_workflow")


class Sitting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One point of the series; a value is the geometric mean of the sitting's runs, as they were measured."""

    at: str  # its first run's start, ISO 8601
    commit: str  # of its newest run; empty when its build is not known
    run: str  # its newest run's id
    epoch: int
    runs: int
    values: dict[str, float] = {}


class Turn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A change point: between the sittings `last` and `first` (places in the trend, from 0) the metric changed."""

    last: int
    first: int
    before: float  # geometric means up to the next change points, on the natural scale
    after: float
    change: float  # after / before - 1
    is_worse: bool
    p: float
    gone_after: int | None = None  # sittings after which a later change point undid it


class MetricTrend(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One metric: the sittings that have it, and what change points are sought in."""

    metric: str
    places: tuple[int, ...]  # of the sittings, from 0
    values: tuple[float, ...]  # on the natural scale, the machine's own speed taken out where that was possible
    slope: float = 0.0  # how far they went along with the reference; 0: as measured
    missing: int = 0  # sittings that lack before change points are sought
    turns: tuple[Turn, ...] = ()


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """All accepted runs of one level on one class of machines."""

    scenario: str
    level: str
    machine_class: str
    sittings: tuple[Sitting, ...]
    metrics: tuple[MetricTrend, ...]


def trend_of(baseline: Baseline, metrics: Sequence[str] = TREND_METRICS) -> Trend:
    """What became of the level, oldest sitting first. `metrics` are names of COMPARED."""
    grouped = groupby(baseline.entries, key=lambda entry: (entry.sitting, entry.epoch))
    sittings = [tuple(entries) for _, entries in grouped]
    return Trend(
        scenario=baseline.scenario,
        level=baseline.level,
        machine_class=baseline.machine_class,
        sittings=tuple(_sitting(entries, metrics) for entries in sittings),
        metrics=tuple(_metric_trend(metric, sittings) for metric in metrics),
    )


def _sitting(entries: Sequence[Entry], metrics: Sequence[str]) -> Sitting:
    newest = entries[-1]
    known = {metric: _scaled(metric, [entry.reading for entry in entries]) for metric in metrics}
    return Sitting(
        at=entries[0].started_at,
        commit=newest.build.revision,
        run=newest.run,
        epoch=newest.epoch,
        runs=len(entries),
        values={metric: _natural(metric, value) for metric, value in known.items() if value is not None},
    )


def _metric_trend(metric: str, sittings: Sequence[Sequence[Entry]]) -> MetricTrend:
    own = [_scaled(metric, [entry.reading for entry in entries]) for entries in sittings]
    beside = [_scaled(metric, [entry.reference for entry in entries]) for entries in sittings]
    places = tuple(n for n, value in enumerate(own) if value is not None)
    values = np.array([value for value in own if value is not None])
    references = [reference for n in places if (reference := beside[n]) is not None]
    slope = _slope(np.array(references), values) if len(references) == len(places) else 0.0
    if slope:
        values = values - slope * (np.array(references) - np.mean(references))
    return MetricTrend(
        metric=metric,
        places=places,
        values=tuple(_natural(metric, float(value)) for value in values),
        slope=slope,
        missing=max(0, POINTS_MIN - len(places)),
        turns=tuple(_turns(metric, places, values)),
    )


def _scaled(metric: str, readings: Sequence[Reading | None]) -> float | None:
    """The mean of a sitting's runs on the scale of changes, on which worse is more; None where none has the metric."""
    known = (scaled(metric, reading) for reading in readings if reading is not None)
    found = [value for value in known if value is not None]
    return float(np.mean(found)) if found else None


def _slope(references: Floats, values: Floats) -> float:
    """How far the target goes along with the reference, as the gate has it (harness.statistics.comparison); 0: not.

    From one sitting to the next: a change of the target stands in one of those steps, and would stand in all sittings.
    """
    if len(values) < REFERENCES_MIN:
        return 0.0
    theirs, ours = np.diff(references), np.diff(values)
    if not theirs.any() or not ours.any():
        return 0.0
    lengths = math.sqrt(float(theirs @ theirs) * float(ours @ ours))
    if float(theirs @ ours) / lengths < CORRELATION_MIN:
        return 0.0
    fitted = float(theirs @ ours) / float(theirs @ theirs)
    return (len(values) * fitted + SLOPE_WEIGHT * SLOPE_PRIOR) / (len(values) + SLOPE_WEIGHT)


def _turns(metric: str, places: Sequence[int], values: Floats) -> list[Turn]:
    points = change_points([float(value) for value in values])
    turns = []
    for n, point in enumerate(points):
        middle = (point.before + point.after) / 2
        undone = (later for later in points[n + 1 :] if (later.after > middle) != (point.after > middle))
        gone = next(undone, None)
        before, after = _natural(metric, point.before), _natural(metric, point.after)
        turns.append(
            Turn(
                last=places[point.index - 1],
                first=places[point.index],
                before=before,
                after=after,
                change=relative(math.log(after / before)),
                is_worse=point.after > point.before,
                p=point.p,
                gone_after=None if gone is None else gone.index - point.index,
            )
        )
    return turns


def _natural(metric: str, value: float) -> float:
    """From the scale of changes, on which worse is more, to the metric's own."""
    return math.exp(value if COMPARED[metric].better == "less" else -value)
