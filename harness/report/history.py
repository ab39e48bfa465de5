"""The history of a level as text: a table, a line of bars a metric, and the change points in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table

from harness.report.rows import plain
from harness.report.sparkline import BARS
from harness.scenario.units import render
from harness.statistics.changepoint import POINTS_MIN
from harness.statistics.metrics import metric_type
from harness.verdict.trend import MetricTrend, Sitting, Trend, Turn

PLAIN_WIDTH = 160
BARS_MAX = 100
"""Sittings that a line of bars shows, the newest."""
COMMIT_DIGITS = 7
HEADINGS = {"cpu_per_workflow": "CPU/workflow", "output_tokens": "tokens/success", "cost_per_success": "cost/success"}
RISE, FALL, EPOCH, GAP = "▲", "▼", "|", " "


def write_history(trends: Sequence[Trend], out: TextIO) -> None:
    """Write all series, one after another."""
    width = None if out.isatty() else PLAIN_WIDTH
    console = Console(file=out, width=width, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:  # rich would leave by itself when a pipe's reader is gone
        for n, trend in enumerate(trends):
            if n:
                console.print()
            console.print(headline(trend), soft_wrap=True)
            console.print()
            console.print(_table(trend))
            for line in (*bars(trend), *sentences(trend)):
                console.print(line, soft_wrap=True)
    out.write(captured.get())


def headline(trend: Trend) -> str:
    """Whose history it is, and how long."""
    sittings = trend.sittings
    span = f", {sittings[0].at[:10]} to {sittings[-1].at[:10]}" if sittings else ""
    epochs = len({sitting.epoch for sitting in sittings})
    parts = f"{_count(len(sittings), 'sitting')}, {_count(epochs, 'epoch')}{span}"
    return plain(f"{trend.scenario} at {trend.level} on {trend.machine_class}: {parts}")


def heading(metric: str) -> str:
    """What a metric is called."""
    return HEADINGS.get(metric, metric)


def value_text(metric: str, value: float) -> str:
    """A metric's value with its unit; a ratio has none."""
    kind = metric_type(metric)
    return f"{value:.3g}" if kind is None or metric == "output_tokens" else render(value, kind.unit)


def bars(trend: Trend) -> Iterator[str]:
    """Two lines a metric: the sittings from its least to its largest value, and marks where something happened."""
    width = max((len(heading(each.metric)) for each in trend.metrics), default=0)
    shown = range(max(0, len(trend.sittings) - BARS_MAX), len(trend.sittings))
    if len(shown) < len(trend.sittings):
        yield f"the newest {len(shown)} of {len(trend.sittings)} sittings:"
    for each in trend.metrics:
        if each.values:
            low, high = min(each.values), max(each.values)
            ends = f"{value_text(each.metric, low)} to {value_text(each.metric, high)}"
            yield f"{heading(each.metric):>{width}} {_line(each, shown)} {ends}"
            if (marks := _marks(trend, each, shown)).strip():
                yield f"{'':>{width}} {marks}".rstrip()


def _line(each: MetricTrend, shown: range) -> str:
    low, high = math.log(min(each.values)), math.log(max(each.values))
    known = dict(zip(each.places, each.values, strict=True))
    return "".join(_bar(known.get(place), low, high) for place in shown)


def _bar(value: float | None, low: float, high: float) -> str:
    if value is None:
        return GAP
    share = (math.log(value) - low) / (high - low) if high > low else 0.0
    return BARS[min(int(share * len(BARS)), len(BARS) - 1)]


def _marks(trend: Trend, each: MetricTrend, shown: range) -> str:
    """At the first sitting of a new epoch, and above all at change points."""
    epochs = [sitting.epoch for sitting in trend.sittings]
    marks = {n: EPOCH for n in shown if n and epochs[n] != epochs[n - 1]}
    marks |= {turn.first: RISE if turn.after > turn.before else FALL for turn in each.turns}
    return "".join(marks.get(place, " ") for place in shown)


def sentences(trend: Trend) -> Iterator[str]:
    """Every change point; and what the series are, and what they lack."""
    for each in trend.metrics:
        for turn in each.turns:
            yield turn_text(trend, each.metric, turn)
    for missing in dict.fromkeys(each.missing for each in trend.metrics if each.missing):
        names = ", ".join(heading(each.metric) for each in trend.metrics if each.missing == missing)
        have = POINTS_MIN - missing
        yield f"{names}: {have} of the {POINTS_MIN} sittings from which change points are sought, {missing} more to go"
    sought = [each for each in trend.metrics if not each.missing]
    if sought and not any(each.turns for each in sought):
        yield f"no change point in {', '.join(heading(each.metric) for each in sought)}"
    if cleared := [heading(each.metric) for each in trend.metrics if each.slope]:
        yield f"the machine's own speed, as the frozen reference tells it, is taken out of {', '.join(cleared)}"
    if raw := [heading(each.metric) for each in trend.metrics if each.values and not each.slope]:
        yield f"as measured, for no reference went along with it: {', '.join(raw)}"
    yield f"{RISE} rises, {FALL} falls, {EPOCH} a new epoch; a history blocks nothing"


def turn_text(trend: Trend, metric: str, turn: Turn) -> str:
    """One change point: what, how much, between which commits, and whether it is still there."""
    last, first = trend.sittings[turn.last], trend.sittings[turn.first]
    how = "rose" if turn.change > 0 else "fell"
    worse = "worse" if turn.is_worse else "better"
    size = f"{abs(turn.change) * 100:.1f} %"
    means = f"{value_text(metric, turn.before)} -> {value_text(metric, turn.after)}"
    gone = "" if turn.gone_after is None else f"; went away after {_count(turn.gone_after, 'sitting')}"
    return plain(f"{heading(metric)} {how} {size} ({worse}) between {_place(last)} and {_place(first)}: {means}{gone}")


def commit_text(sitting: Sitting) -> str:
    """The commit as people write it; a distribution's version as it is."""
    word = sitting.commit
    is_hash = len(word) >= 40 and all(digit in "0123456789abcdef" for digit in word)
    return word[:COMMIT_DIGITS] if is_hash else word or "-"


def _place(sitting: Sitting) -> str:
    return f"{commit_text(sitting)} ({sitting.at[:10]})"


def _table(trend: Trend) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("date", "commit"):
        table.add_column(name, no_wrap=True)
    for each in trend.metrics:
        table.add_column(heading(each.metric), justify="right", overflow="fold")
    for name in ("epoch", "runs"):
        table.add_column(name, justify="right")
    for sitting in trend.sittings:
        cells = [
            "-" if (value := sitting.values.get(each.metric)) is None else value_text(each.metric, value)
            for each in trend.metrics
        ]
        table.add_row(sitting.at[:10], plain(commit_text(sitting)), *cells, str(sitting.epoch), str(sitting.runs))
    return table


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
