"""What the tables of all reports hold: the metrics of a level in a row, its limits in rows below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from harness.observation.manifest import Manifest
from harness.scenario.units import render
from harness.statistics.breakers import BreakerUse
from harness.statistics.crashes import Recovery
from harness.statistics.level import LevelSummary
from harness.statistics.metrics import TOO_FEW_BELOW, Metric, metric_type, render_metric
from harness.statistics.resilience import FaultRow
from harness.verdict.check import Check
from harness.verdict.verdict import Verdict

LEVEL_COLUMNS: Mapping[str, str] = {
    "success": "success",
    "error": "error",
    "p50": "p50",
    "p95": "p95",
    "p99": "p99",
    "throughput": "ok rate",
    "cpu": "CPU",
    "rss_peak": "RSS peak",
}
"""Metric -> its heading in the table of levels."""

ROWS_MAX = 100
"""Of a table in Markdown; a CI step summary has a limit."""

BREAKER_COLUMNS = ("breaker of", "opened", "open for", "refused", "probes", "too many")
FAULT_COLUMNS = (
    "fault",
    "began",
    "bit",
    "lifted",
    "bites",
    "noticed after",
    "recovered after",
    "backlog",
    "drained after",
)
BESIDE_COLUMNS = ("level", "metric", "with its faults", "control arm")
RECOVERY_COLUMNS = ("crash", "at", "host answered after", "in flight", "all of those ended after")

TOO_FEW_NOTE = "* of too few workflows for a 95 % interval: " + ", ".join(
    f"{name} needs {n}" for name, n in TOO_FEW_BELOW.items()
)


class Row(NamedTuple):
    """One row of the table of levels; `broken` are the metrics whose cells broke a limit."""

    head: str
    n: str
    cells: Mapping[str, str]
    broken: frozenset[str] = frozenset()


def level_rows(level: LevelSummary, verdict: Verdict) -> Iterator[Row]:
    """The level's numbers, then a row for each section of limits that concerns them."""
    checks = [check for check in verdict.checks if check.level == level.level and check.kind == "limit"]
    broken = frozenset(check.metric for check in checks if check.result == "breached")
    cells = {metric: cell(level.metric(metric), metric) for metric in LEVEL_COLUMNS}
    yield Row(level.level, counted(level), cells, broken)
    for section in dict.fromkeys(check.section for check in checks):
        shown = {check.metric: check.limit for check in checks if check.section == section}
        shown = {metric: text for metric, text in shown.items() if metric in LEVEL_COLUMNS}
        if shown:
            yield Row(f" {section}", "", shown)


def counted(level: LevelSummary) -> str:
    """How many workflows the percentiles are over, of how many arrivals."""
    ended, arrivals = level.metric("p50").n, int(level.metric("arrivals").value or 0)
    return f"{ended}" if ended == arrivals else f"{ended}/{arrivals}"


def cell(metric: Metric | None, name: str) -> str:
    """A metric as a table shows it."""
    kind = metric_type(name)
    return render_metric(metric, kind.unit) if kind else "-"


def used_services(manifest: Manifest) -> str:
    """Where state was kept and which servers served the run, in a line; empty when all was in memory."""
    servers = [f"{used.service} {used.version} ({used.provider}, {used.address})" for used in manifest.services]
    if manifest.state == "memory" and not servers:
        return ""
    return f"state {manifest.state}" + (f", {', '.join(servers)}" if servers else "")


def recovery_cells(recovery: Recovery) -> list[str]:
    """A crash and what came after it, as RECOVERY_COLUMNS."""
    times = [
        "never" if time_s is None else render(time_s, "duration") for time_s in (recovery.host_s, recovery.ended_s)
    ]
    return [f"{recovery.how} at {recovery.point}", f"{recovery.at:.3f} s", times[0], str(recovery.in_flight), times[1]]


def fault_cells(fault: FaultRow) -> list[str]:
    """A fault, when it acted, and what came of it, as FAULT_COLUMNS."""
    times = ["never" if at is None else f"{at:.3f} s" for at in (fault.began, fault.bit, fault.lifted)]
    noticed = "-" if fault.detect is None else render_metric(fault.detect.metric, "duration")
    drained = render_metric(fault.drain.drained.metric, "duration")
    return [fault.kind, *times, str(fault.bites), noticed, recovered(fault), str(fault.drain.backlog), drained]


def recovered(fault: FaultRow) -> str:
    """How long it was felt after it had gone."""
    if fault.recover.ending in ("unharmed", "unknown"):
        return fault.recover.ending
    return render_metric(fault.recover.metric, "duration")


def beside_rows(verdict: Verdict) -> list[list[str]]:
    """Each metric of each level with its faults and without, as BESIDE_COLUMNS."""
    return [
        [each.level, each.metric, *(cell(Metric(value=value), each.metric) for value in (each.broken, each.control))]
        for each in verdict.beside
    ]


def paired_lines(verdict: Verdict) -> Iterator[str]:
    """What became of the workflows that both arms have, a line a level."""
    for level, found in verdict.against.items():
        yield (
            f"level {level}, of {found.paired} workflows that both arms have: {found.broken} succeeded only in the "
            f"control arm, {found.mended} only with the faults"
        )


def breaker_cells(use: BreakerUse) -> list[str]:
    """A breaker and what it went through, as BREAKER_COLUMNS."""
    counts = (str(count) for count in (use.refused, use.probes, use.over))
    return [f"{use.of} {use.name}", str(use.opened), render(use.open_s, "duration"), *counts]


def bounds(metric: Metric | None, name: str) -> str:
    """The exact 95 % bounds of a metric, each one-sided; empty where it has none."""
    kind = metric_type(name)
    if metric is None or kind is None or (metric.lower is None and metric.upper is None):
        return ""
    lower, upper = (
        "?" if bound is None else render_metric(Metric(value=bound), kind.unit)
        for bound in (metric.lower, metric.upper)
    )
    return f"{lower} to {upper}"


def plain(text: str) -> str:
    """On one line and without control characters: what a target says must not steer a terminal or break a table."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())


def other_limits(verdict: Verdict) -> list[Check]:
    """Limits whose metrics have no column in the table of levels."""
    return [check for check in verdict.checks if check.kind == "limit" and check.metric not in LEVEL_COLUMNS]


def any_too_few(level: LevelSummary) -> bool:
    """Whether the level's row needs the note on too few workflows."""
    return any(level.metric(metric).too_few for metric in LEVEL_COLUMNS)


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table in lines of plain text; the first row holds the headings."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table in Markdown, with at most ROWS_MAX rows; nothing when there are none."""
    if not rows:
        return
    yield f"| {' | '.join(headings)} |"
    yield f"|{'---|' * len(headings)}"
    for row in rows[:ROWS_MAX]:
        yield f"| {' | '.join(markdown_text(text) for text in row)} |"
    if len(rows) > ROWS_MAX:
        yield from ("", f"and {len(rows) - ROWS_MAX} more")
    yield ""


def markdown_text(text: str) -> str:
    """As the text of a cell or a list item of Markdown."""
    return plain(text).replace("|", "\\|").replace("<", "&lt;")
