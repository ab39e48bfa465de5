"""The picture of a duet, in SVG: a dot a pair with the zero line, the interval, and beneath it the shift function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.axis import Axis, axis_of, bounds_note, label, span, told
from harness.report.svg import Drawing, Ink, wrapped
from harness.statistics.change import Change
from harness.statistics.shift import Shift

WIDTH, HEIGHT = 900, 520
LEFT, RIGHT = 96, 180  # room for labels of the axis, and for what lines and bands mean
LINE_CHARACTERS = 128  # of a sentence at 13 px in the picture's width, by the widest usual fonts
SENTENCE_LINES_MAX = 4
TICKS_MAX = 6
SHIFT_METRIC = "p50"  # any quantile of latency: all are told alike


@dataclass(frozen=True, slots=True)
class _Panel:
    """A part of the picture with an axis that goes up: worse is above."""

    drawing: Drawing
    axis: Axis
    top: float
    bottom: float

    @property
    def right(self) -> float:
        return self.drawing.width - RIGHT

    def y(self, change: float) -> float:
        return self.bottom - self.axis.at(change) * (self.bottom - self.top)

    def grid(self) -> None:
        """Labelled lines; zero is the strongest."""
        for tick in self.axis.ticks(TICKS_MAX):
            self.drawing.line(LEFT, self.y(tick), self.right, self.y(tick), "grid")
            self.drawing.write(
                LEFT - 8,
                self.y(tick) + 4,
                label(self.axis.metric, tick).removesuffix("/min"),
                ink="faint",
                size=12,
                anchor="end",
            )
        self.drawing.line(LEFT, self.y(0.0), self.right, self.y(0.0), "text", width=1.5)

    def level(self, change: float, ink: Ink) -> None:
        """A dashed line across, where the axis reaches it."""
        if self.axis.low < change < self.axis.high:
            self.drawing.line(LEFT, self.y(change), self.right, self.y(change), ink, width=1.5, dash="6 4")


def duet_svg(
    title: str,
    sentence: str,
    dots: Sequence[float],
    change: Change,
    shifts: Sequence[Shift],
    *,
    margin: float | None = None,
) -> str:
    """The picture as a document of its own, light or dark as the page it is seen on, and legible without scripts.

    `dots` are the changes of `change.metric` in each pair, in order, and `margin` is how much worse it may become: all
    on the scale of `change`, worse being positive. Without shifts there is no second panel.
    """
    title, sentence = title.replace("`", ""), sentence.replace("`", "")
    lines = wrapped(sentence, LINE_CHARACTERS, SENTENCE_LINES_MAX)
    drawing = Drawing(WIDTH, HEIGHT, title, f"{sentence} {_described(dots, change, shifts)}")
    drawing.write(24, 34, wrapped(title, 88, 1)[0], size=18, bold=True)
    for n, line in enumerate(lines):
        drawing.write(24, 58 + 18 * n, line)
    top = 58 + 18 * len(lines) + 26
    bottom = HEIGHT - 34
    middle = top + (bottom - top) * 0.5 - 22 if shifts else bottom
    _dots(drawing, dots, change, margin, top, middle)
    if shifts:
        _shifts(drawing, shifts, middle + 66, bottom)
    return drawing.text()


def ink_of(lower: float, upper: float) -> Ink:
    """Worse or better beyond doubt, or not."""
    return "worse" if lower > 0 else "better" if upper < 0 else "same"


def _dots(
    drawing: Drawing, dots: Sequence[float], change: Change, margin: float | None, top: float, bottom: float
) -> None:
    known = [(pair, dot) for pair, dot in enumerate(dots, start=1) if math.isfinite(dot)]
    axis = axis_of(change.metric, [*(dot for _, dot in known), change.lower, change.upper, margin or 0.0])
    panel = _Panel(drawing, axis, top, bottom)
    ink = ink_of(change.lower, change.upper)
    drawing.write(LEFT, top - 9, f"{change.metric}, a dot a pair: candidate against baseline, up is worse", bold=True)
    panel.grid()
    high, low = panel.y(change.upper), panel.y(change.lower)
    drawing.band(LEFT, high, panel.right - LEFT, max(low - high, 1), ink, opacity=0.18)
    drawing.line(LEFT, panel.y(change.change), panel.right, panel.y(change.change), ink, width=2)
    if margin is not None:
        panel.level(margin, "margin")
    step = (panel.right - LEFT) / (len(dots) + 1)
    every = math.ceil(len(dots) / 15)
    for pair, dot in known:
        x = LEFT + step * pair
        drawing.dot(x, panel.y(dot), "dot", says=f"pair {pair}: {label(change.metric, dot, 1)}")
        if pair % every == 0:
            drawing.write(x, bottom + 18, str(pair), ink="faint", size=12, anchor="middle")
    drawing.write(LEFT - 8, bottom + 18, "pair", ink="faint", size=12, anchor="end")
    _legend(panel, change, margin, ink)


def _legend(panel: _Panel, change: Change, margin: float | None, ink: Ink) -> None:
    """What lines and bands are, at their height, pushed apart where they would lie on one another."""
    rows: list[tuple[float, Ink, tuple[str, ...]]] = [(panel.y(0.0), "text", ("no change",))]
    ends = span(change.metric, change.lower, change.upper)
    mean = f"mean {label(change.metric, change.change, 1)}"
    rows.append((panel.y(change.change), ink, (mean, ends, bounds_note(change.alpha))))
    if margin is not None:
        rows.append((panel.y(margin), "margin", (f"margin {label(change.metric, margin)}",)))
    x, free = panel.right + 10, panel.top - 8
    for y, colour, texts in sorted(rows, key=lambda row: row[0]):
        y = max(y - 7 * (len(texts) - 1), free + 8)
        for text in texts:
            panel.drawing.write(x, y + 4, text, ink=colour, size=12)
            y += 15
        free = y - 5


def _shifts(drawing: Drawing, shifts: Sequence[Shift], top: float, bottom: float) -> None:
    values = [value for shift in shifts for value in (shift.lower, shift.upper)]
    panel = _Panel(drawing, axis_of(SHIFT_METRIC, values), top, bottom - 16)
    drawing.write(LEFT, top - 9, "Latency, by quantile: candidate against baseline, up is slower", bold=True)
    panel.grid()
    step = (panel.right - LEFT) / len(shifts)
    places = [(LEFT + step * (n + 0.5), shift) for n, shift in enumerate(shifts)]
    drawing.polyline([(x, panel.y(shift.change)) for x, shift in places], "grid", width=2)
    for x, shift in places:
        ink = ink_of(shift.lower, shift.upper)
        drawing.line(x, panel.y(shift.lower), x, panel.y(shift.upper), ink, width=2.5)
        for end in (shift.lower, shift.upper):
            drawing.line(x - 5, panel.y(end), x + 5, panel.y(end), ink, width=2)
        drawing.dot(x, panel.y(shift.change), ink, radius=4.5, says=_shift_words(shift))
        drawing.write(x, bottom + 2, shift.quantile, ink="faint", size=12, anchor="middle")
    drawing.write(panel.right + 10, panel.y(0.0) + 4, "no change", size=12)
    last = shifts[-1]
    y = panel.y(last.change)
    if abs(y - panel.y(0.0)) > 16:
        drawing.write(panel.right + 10, y + 4, f"{last.quantile} {label(SHIFT_METRIC, last.change, 1)}",
                      ink=ink_of(last.lower, last.upper), size=12)  # fmt: skip
    drawing.write(panel.right + 10, bottom + 2, f"bars: {bounds_note(last.alpha)}", ink="faint", size=12)


def _shift_words(shift: Shift) -> str:
    ends = span(SHIFT_METRIC, shift.lower, shift.upper)
    return f"{shift.quantile} {label(SHIFT_METRIC, shift.change, 1)} ({ends})"


def _described(dots: Sequence[float], change: Change, shifts: Sequence[Shift]) -> str:
    """The picture's numbers in words, for those who do not see it."""
    parts = [f"{change.metric} in {len(dots)} pairs: mean {told(change)}."]
    if shifts:
        parts.append(f"By quantile: {'; '.join(_shift_words(shift) for shift in shifts)}.")
    return " ".join(parts)
