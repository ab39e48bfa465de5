"""The history of levels in SVG: a panel a metric, its sittings as dots, and lines where it changed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.report.history import commit_text, heading, headline, turn_text, value_text
from harness.report.svg import Drawing, Ink, wrapped
from harness.verdict.trend import MetricTrend, Trend, Turn

WIDTH = 900
LEFT, RIGHT = 84, 24
PANEL, HEAD, FOOT = 128, 58, 44
"""Heights of a metric's panel, of a series' title above and of its dates beneath."""
DATES_MAX = 8
HEADING_END = 230  # a metric's heading ends before here


def history_svg(trends: Sequence[Trend]) -> str:
    """A document of its own, legible without scripts, light or dark as the page it is seen on."""
    heights = [HEAD + PANEL * len(_shown(trend)) + FOOT for trend in trends]
    told = " ".join(f"{headline(trend)}. {' '.join(f'{text}.' for text in _turns(trend))}".strip() for trend in trends)
    title = ", ".join(dict.fromkeys(f"History of {trend.scenario}" for trend in trends))
    drawing = Drawing(WIDTH, sum(heights), title, told)
    top = 0
    for trend, height in zip(trends, heights, strict=True):
        _series(drawing, trend, top)
        top += height
    return drawing.text()


def _shown(trend: Trend) -> list[MetricTrend]:
    return [each for each in trend.metrics if each.values]


def _turns(trend: Trend) -> Iterator[str]:
    for each in trend.metrics:
        yield from (turn_text(trend, each.metric, turn) for turn in each.turns)


@dataclass(frozen=True, slots=True)
class _Panel:
    """One metric: places of sittings across, logarithms of values up."""

    drawing: Drawing
    each: MetricTrend
    sittings: int
    top: float

    @property
    def bottom(self) -> float:
        return self.top + PANEL - 44

    def x(self, place: float) -> float:
        return LEFT + (place + 0.5) / self.sittings * (WIDTH - RIGHT - LEFT)

    def y(self, value: float) -> float:
        low, high = math.log(min(self.each.values)), math.log(max(self.each.values))
        room = 0.12 * (high - low) or 0.01
        return self.bottom - (math.log(value) - low + room) / (high - low + 2 * room) * (self.bottom - self.top)


def _series(drawing: Drawing, trend: Trend, top: float) -> None:
    drawing.write(24, top + 32, wrapped(headline(trend), 108, 1)[0], size=15, bold=True)
    shown = _shown(trend)
    for n, each in enumerate(shown):
        panel = _Panel(drawing, each, len(trend.sittings), top + HEAD + PANEL * n + 18)
        _metric(panel, trend)
    if shown:
        _dates(panel, trend, top + HEAD + PANEL * len(shown) + 2)


def _metric(panel: _Panel, trend: Trend) -> None:
    drawing, each = panel.drawing, panel.each
    drawing.write(LEFT, panel.top - 7, heading(each.metric), bold=True)
    if each.missing:
        text = f"{each.missing} more sittings until change points are sought"
        drawing.write(WIDTH - RIGHT, panel.top - 7, text, ink="faint", size=12, anchor="end")
    for value in dict.fromkeys((min(each.values), max(each.values))):
        drawing.line(LEFT, panel.y(value), WIDTH - RIGHT, panel.y(value), "grid")
        drawing.write(LEFT - 8, panel.y(value) + 4, value_text(each.metric, value), ink="faint", size=12, anchor="end")
    epochs = [sitting.epoch for sitting in trend.sittings]
    for n in range(1, len(epochs)):
        if epochs[n] != epochs[n - 1]:
            x = panel.x(n - 0.5)
            drawing.line(x, panel.top, x, panel.bottom, "faint", dash="2 3")
    points = [(panel.x(place), panel.y(value)) for place, value in zip(each.places, each.values, strict=True)]
    drawing.polyline(points, "grid")
    for (x, y), place, value in zip(points, each.places, each.values, strict=True):
        sitting = trend.sittings[place]
        says = f"{sitting.at[:10]} {commit_text(sitting)}: {value_text(each.metric, value)}"
        drawing.dot(x, y, "dot", radius=3, says=says)
    for n, turn in enumerate(each.turns):
        _turn(panel, turn, _ends(panel, n), is_low=bool(n % 2))


def _ends(panel: _Panel, n: int) -> tuple[int, int]:
    """Places of the first sitting before the change and of the last one after it."""
    turns = panel.each.turns
    first = turns[n - 1].first if n else panel.each.places[0]
    last = turns[n + 1].last if n + 1 < len(turns) else panel.each.places[-1]
    return first, last


def _turn(panel: _Panel, turn: Turn, ends: tuple[int, int], *, is_low: bool) -> None:
    """A line between two sittings, the means on both sides of it, and how much."""
    drawing = panel.drawing
    ink: Ink = "worse" if turn.is_worse else "better"
    x = panel.x((turn.last + turn.first) / 2)
    drawing.line(x, panel.top, x, panel.bottom, ink, width=1.5, dash="6 4")
    drawing.line(panel.x(ends[0] - 0.4), panel.y(turn.before), x, panel.y(turn.before), "same", width=2)
    drawing.line(x, panel.y(turn.after), panel.x(ends[1] + 0.4), panel.y(turn.after), "same", width=2)
    label_y = panel.bottom + 12 if is_low or x < HEADING_END else panel.top - 7
    drawing.write(x, label_y, f"{turn.change * 100:+.1f} %", ink=ink, size=12, anchor="middle")


def _dates(panel: _Panel, trend: Trend, y: float) -> None:
    """Dates across, and beneath them where an epoch begins."""
    every = max(1, math.ceil(len(trend.sittings) / DATES_MAX))
    for place, sitting in enumerate(trend.sittings):
        x = panel.x(place)
        anchor: Literal["middle", "end"] = "end" if x > WIDTH - RIGHT - 24 else "middle"
        if place % every == 0:
            panel.drawing.write(x, y, sitting.at[:10], ink="faint", size=12, anchor=anchor)
        if place and sitting.epoch != trend.sittings[place - 1].epoch:
            panel.drawing.write(x, y + 15, f"epoch {sitting.epoch}", ink="faint", size=12, anchor=anchor)
