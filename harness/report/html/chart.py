"""A chart as its template draws it: numbers become places, labels and paths.

A panel is as wide as its page: places across are thousandths of the plot, places down are pixels. Colours are inks of
`svg.py`. Whoever reads the picture with a script finds the scales beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.report.html.thinning import thinned_dots, thinned_line
from harness.report.svg import Ink
from harness.scenario.units import Kind, render
from harness.statistics.quantile import Floats

ACROSS = 1000.0
"""What the width of a plot is counted in."""
COLUMNS = 400
DOTS_MAX = 2500
TICKS_MAX = 5
ROUNDING = 1e-6
ROOM = 0.06
"""Share of a scale that stays free above the highest point."""

Scale = Literal["linear", "log"]


@dataclass(frozen=True, slots=True)
class Series:
    """Numbers over time or another ascending axis. A line breaks where y is NaN; dots are never joined."""

    name: str
    ink: Ink
    x: Floats
    y: Floats
    dots: bool = False
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Shade:
    """A stretch of the x axis that something was done to."""

    start: float
    end: float
    says: str


@dataclass(frozen=True, slots=True)
class Across:
    """The x axis: from `low` to `high`, and where its labels stand."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    unit: str  # how a script tells a place: s | percentile | load

    def at(self, x: Floats) -> Floats:
        """Places, 0 to ACROSS."""
        return (x - self.low) / (self.high - self.low) * ACROSS


@dataclass(frozen=True, slots=True)
class Panel:
    """What is to be drawn. All series have the unit."""

    title: str
    unit: Kind
    across: Across
    series: Sequence[Series]
    scale: Scale = "linear"
    shades: Sequence[Shade] = ()
    marks: Sequence[float] = ()  # places of x with a line of their own, as where a phase begins
    height: int = 120
    least: float | None = None  # the y axis reaches at least so high


@dataclass(frozen=True, slots=True)
class Path:
    """One series as it is drawn."""

    name: str
    ink: Ink
    d: str
    dots: bool
    wide: bool
    count: int  # numbers behind it, of which the picture may show fewer


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the template prints of a panel."""

    title: str
    says: str  # the panel in words
    unit: Kind
    scale: Scale
    height: int
    x: Across
    low: float
    high: float
    paths: tuple[Path, ...]
    y_ticks: tuple[tuple[float, str], ...]  # pixels from above, label
    x_ticks: tuple[tuple[float, str], ...]  # thousandths, label
    shades: tuple[tuple[float, float, str], ...]  # from, width, what
    marks: tuple[float, ...]


def drawn(panel: Panel) -> Drawn | None:
    """None when there is not one number to show."""
    shown = [series for series in panel.series if np.isfinite(series.y).any()]
    if not shown:
        return None
    low, high = _ends(panel, shown)
    return Drawn(
        title=panel.title,
        says=_words(panel, shown),
        unit=panel.unit,
        scale=panel.scale,
        height=panel.height,
        x=panel.across,
        low=low,
        high=high,
        paths=tuple(_path(panel, series, low, high) for series in shown),
        y_ticks=tuple(_y_ticks(panel, low, high)),
        x_ticks=tuple((float(panel.across.at(np.array(x))), label) for x, label in panel.across.ticks),
        shades=tuple(_shades(panel)),
        marks=tuple(float(panel.across.at(np.array(mark))) for mark in panel.marks),
    )


def over_time(start: float, end: float, zero: float) -> Across:
    """An axis of seconds since `zero`; all three in s from t0."""
    low, high = start - zero, max(end, start + 1e-3) - zero
    ticks = tuple((tick, f"{tick:g} s") for tick in rounded_ticks(low, high, 6))
    return Across(low, high, ticks, "s")


def rounded_ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from low to high, at most so many."""
    span = high - low
    if span <= 0:
        return [low]
    rough = span / most
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(each * scale for each in (1.0, 2.0, 2.5, 5.0, 10.0) if each * scale >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _ends(panel: Panel, shown: Sequence[Series]) -> tuple[float, float]:
    values = np.concatenate([series.y[np.isfinite(series.y)] for series in shown])
    highest = max(float(values.max()), panel.least or 0.0)
    if panel.scale == "log":
        positive = values[values > 0]
        low = float(positive.min()) if len(positive) else 1e-3
        return low / 1.25, max(highest, low) * 1.25
    if highest <= 0:
        return 0.0, 1.0
    return 0.0, highest * (1 + ROOM)


def _down(panel: Panel, y: Floats, low: float, high: float) -> Floats:
    """Pixels from above; what is below the scale lies on its foot."""
    if panel.scale == "log":
        share = np.log(np.maximum(y, low) / low) / math.log(high / low)
    else:
        share = (y - low) / (high - low)
    return (1.0 - share) * panel.height


def _path(panel: Panel, series: Series, low: float, high: float) -> Path:
    x, y = panel.across.at(series.x), _down(panel, series.y, low, high)
    if series.dots:
        known = np.flatnonzero(np.isfinite(y) & _within(x))
        kept = known[thinned_dots(x[known], panel.height - y[known], DOTS_MAX)]
        d = "".join(f"M{_n(a)} {_n(b)}h0" for a, b in zip(x[kept], y[kept], strict=True))
    else:
        known = np.flatnonzero(_within(x))
        kept = known[thinned_line(x[known], y[known], COLUMNS)] if len(known) else known
        d = _line(x[kept], y[kept])
    count = int(np.isfinite(series.y).sum())
    return Path(series.name, series.ink, d, series.dots, series.wide, count)


def _within(x: Floats) -> NDArray[np.bool_]:
    """Which places are on the axis; its ends are, whatever rounding did to them."""
    return (x > -ROUNDING) & (x < ACROSS + ROUNDING)


def _line(x: Floats, y: Floats) -> str:
    """From point to point; a point alone is a dot."""
    parts: list[str] = []
    is_open = False
    for a, b in zip(x, y, strict=True):
        if not math.isfinite(b):
            is_open = False
            continue
        parts.append(f"{'L' if is_open else 'M'}{_n(a)} {_n(b)}")
        is_open = True
    return "".join(parts) + ("h0" if len(parts) == 1 else "")


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _y_ticks(panel: Panel, low: float, high: float) -> Iterator[tuple[float, str]]:
    values = _log_ticks(low, high) if panel.scale == "log" else _size_ticks(panel, low, high)
    for value in values:
        yield float(_down(panel, np.array(value), low, high)), render(value, panel.unit)


def _size_ticks(panel: Panel, low: float, high: float) -> list[float]:
    """Round in the unit that is shown: bytes are told in MiB, counts are whole."""
    most = max(2, min(TICKS_MAX, panel.height // 28))
    if panel.unit == "count":  # there is no half of one
        return [tick for tick in rounded_ticks(low, high, most) if tick == round(tick)]
    if panel.unit != "size":
        return rounded_ticks(low, high, most)
    unit = 2.0**30 if high >= 2.0**30 else 2.0**20
    return [tick * unit for tick in rounded_ticks(low / unit, high / unit, most)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each decade; the decades alone where those were too many, round numbers where they were too few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [m * 10.0**e for e in decades for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    if len(found) > TICKS_MAX + 1:
        found = [10.0**e for e in decades if low <= 10.0**e <= high]
    return found if len(found) > 1 else [tick for tick in rounded_ticks(low, high, TICKS_MAX) if tick > 0]


def _shades(panel: Panel) -> Iterator[tuple[float, float, str]]:
    for shade in panel.shades:
        start, end = panel.across.at(np.clip([shade.start, shade.end], panel.across.low, panel.across.high))
        if end > start or panel.across.low <= shade.start <= panel.across.high:
            yield float(start), max(float(end - start), 1.0), shade.says


def _words(panel: Panel, shown: Sequence[Series]) -> str:
    """For those who do not see it: of each series the number of points, the median and the largest."""
    parts = []
    for series in shown:
        values = series.y[np.isfinite(series.y)]
        middle, most = render(float(np.median(values)), panel.unit), render(float(values.max()), panel.unit)
        parts.append(f"{series.name}: {len(values)} points, median {middle}, at most {most}")
    shades = [shade.says for shade in panel.shades]
    return f"{panel.title}. {'; '.join(parts)}.{' Shaded: ' + '; '.join(shades) + '.' if shades else ''}"
