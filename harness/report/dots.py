"""The picture of a duet as text: for terminals, and for Markdown, where no drawing is shown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from harness.report.axis import Axis, axis_of, bounds_note, label, told
from harness.statistics.change import Change
from harness.statistics.shift import Shift

COLUMNS = 80
NAME, PLOT = 6, 58  # columns for a row's name, and for what is drawn; the rest is for its number
STACK_MAX = 4  # rows of dots; what does not fit is counted in the highest
TICKS_MAX = 5
SHOWN = ("p10", "p30", "p50", "p70", "p90", "p95", "p99")
"""Quantiles that have a row of their own."""
DOT, MEAN, BAR, ZERO, MARGIN = "o", "●", "─", "│", "┊"


def duet_text(
    title: str, dots: Sequence[float], change: Change, shifts: Sequence[Shift], *, margin: float | None = None
) -> list[str]:
    """At most 15 lines of at most 80 columns: a dot a pair, their mean and interval, and a bar a quantile.

    `title` is what the metric is called, the rest as for `duet_svg`. Worse is to the right, on one axis for all; so
    shifts are left out for a metric that is not told as latencies are. A digit counts dots that found no room.
    """
    rows = [shift for shift in shifts if shift.quantile in SHOWN] if change.metric in ("p50", "p95", "shape") else []
    known = [dot for dot in dots if math.isfinite(dot)]
    bars: list[Change | Shift] = [change, *rows]
    ends = [end for each in bars for end in (each.lower, each.upper)]
    axis = axis_of(change.metric, [*known, *ends, margin or 0.0])
    ground = _ground(axis, margin)
    head = f"{title} in {len(dots)} pairs: {told(change)}, {bounds_note(change.alpha)}"
    lines = [head, *(_row("", drawn) for drawn in _stacks(axis, ground, known))]
    lines.append(_row("mean", _bar(axis, ground, change)))
    lines += [_row(shift.quantile, _bar(axis, ground, shift), label(change.metric, shift.change, 1)) for shift in rows]
    lines.append(_row("", _scale(axis)))
    key = f"{DOT} pair   {BAR}{MEAN}{BAR} mean and interval   {ZERO} no change"
    lines.append(f"{key}   {MARGIN} margin   worse →" if margin is not None else f"{key}   worse →")
    return [line[:COLUMNS] for line in lines]


def _ground(axis: Axis, margin: float | None) -> list[str]:
    """What every row is drawn on."""
    ground = [" "] * PLOT
    if margin is not None:
        ground[_column(axis, margin)] = MARGIN
    ground[_column(axis, 0.0)] = ZERO
    return ground


def _column(axis: Axis, change: float) -> int:
    return round(axis.at(change) * (PLOT - 1))


def _stacks(axis: Axis, ground: Sequence[str], dots: Iterable[float]) -> Iterable[list[str]]:
    """Dots of one column lie on one another."""
    counts = Counter(_column(axis, dot) for dot in dots)
    for height in range(min(max(counts.values(), default=0), STACK_MAX), 0, -1):
        row = list(ground)
        for column, count in counts.items():
            if count >= height:
                row[column] = DOT if count == height or height < STACK_MAX else _digit(count - STACK_MAX + 1)
        yield row


def _digit(count: int) -> str:
    return str(count) if count <= 9 else "#"


def _bar(axis: Axis, ground: Sequence[str], each: Change | Shift) -> list[str]:
    row = list(ground)
    first, last = _column(axis, each.lower), _column(axis, each.upper)
    row[first : last + 1] = BAR * (last - first + 1)
    if last > first:
        row[first], row[last] = "├", "┤"
    row[_column(axis, each.change)] = MEAN
    return row


def _scale(axis: Axis) -> list[str]:
    """Labels of the axis, each beneath its place; one that would touch its neighbour is left out, but never zero."""
    row = [" "] * PLOT
    for tick in sorted(axis.ticks(TICKS_MAX), key=abs):
        text = label(axis.metric, tick)
        first = min(max(0, _column(axis, tick) - len(text) // 2), PLOT - len(text))
        if all(character == " " for character in row[max(0, first - 1) : first + len(text) + 1]):
            row[first : first + len(text)] = text
    return row


def _row(name: str, drawn: Sequence[str], number: str = "") -> str:
    return f"{name:>{NAME - 1}} {''.join(drawn)} {number}".rstrip()
