"""The report in Markdown: `report.md` of a run, and the step summary of a CI job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TextIO

from harness.observation.manifest import Manifest
from harness.report.gate import (
    CHANGE_HEADINGS,
    PART_HEADINGS,
    change_rows,
    lines_of,
    part_rows,
    picture_name,
    text_picture,
)
from harness.report.llm import llm_remarks, llm_table
from harness.report.rows import (
    BESIDE_COLUMNS,
    LEVEL_COLUMNS,
    ROWS_MAX,
    TOO_FEW_NOTE,
    any_too_few,
    beside_rows,
    bounds,
    cell,
    level_rows,
    markdown_table,
    markdown_text,
    paired_lines,
    used_services,
)
from harness.report.sparkline import SPARKLINE_NOTE, sparkline
from harness.report.tables import (
    BOUNDS,
    conditions,
    event_tables,
    generator_line,
    length_line,
    metrics_table,
    not_measured,
    part_tables,
    services_table,
    worker_table,
)
from harness.scenario.units import render
from harness.statistics.level import LevelSummary
from harness.verdict.judge import JudgedRun
from harness.verdict.verdict import Verdict

BYTES_MAX = 900_000
"""A CI step summary of more than 1 MiB is refused as a whole."""


class MarkdownReporter:
    """Writes everything a person may want to look up, the verdict first."""

    def write(self, judged: JudgedRun, out: TextIO) -> None:
        """Write the report, cut with a remark where it would be too long for a step summary."""
        out.write(_capped("\n".join(_lines(judged)) + "\n"))


def _capped(text: str) -> str:
    encoded = text.encode()
    if len(encoded) <= BYTES_MAX:
        return text
    kept = encoded[:BYTES_MAX].decode(errors="ignore")
    return kept[: kept.rfind("\n") + 1] + "\nThe report was cut here; the rest is in the run's summary.json.\n"


def _lines(judged: JudgedRun) -> Iterator[str]:
    manifest, summary, verdict = judged.manifest, judged.summary, judged.verdict
    yield f"Seed {manifest.seed} · target `{manifest.target}` · run `{manifest.run_id}`"
    yield from ("", f"## {manifest.scenario}: {verdict.word}", "")
    yield from (f"- {markdown_text(sentence)}" for sentence in verdict.sentences[:ROWS_MAX])
    yield ""
    yield from _levels(summary.levels, verdict)
    yield from _models(summary.levels)
    yield from _gate(verdict)
    yield from markdown_table(BESIDE_COLUMNS, beside_rows(verdict))
    yield from (line for text in paired_lines(verdict) for line in (text, ""))
    yield from _checks(verdict)
    for level in summary.levels:
        yield from _level(level)
    yield from _services(manifest)
    yield from ("### Conditions", "", f"- repeat: `{manifest.command}`")
    yield from (f"- {markdown_text(line)}" for line in conditions(manifest))


def _levels(levels: Sequence[LevelSummary], verdict: Verdict) -> Iterator[str]:
    rows = []
    for level in levels:
        for row in level_rows(level, verdict):
            cells = [_emphasised(row.cells.get(metric, ""), strong=metric in row.broken) for metric in LEVEL_COLUMNS]
            rows.append([row.head, row.n, *cells])
    yield from markdown_table(["level", "n", *LEVEL_COLUMNS.values()], rows)
    if any(any_too_few(level) for level in levels):
        yield from ("\\" + TOO_FEW_NOTE, "")


def _emphasised(text: str, *, strong: bool) -> str:
    """The mark for too few samples is an asterisk of its own."""
    escaped = text.replace("*", "\\*")
    return f"**{escaped}**" if strong else escaped


def _models(levels: Sequence[LevelSummary]) -> Iterator[str]:
    """Calls to models, if there were any."""
    headings, rows = llm_table(levels)
    yield from markdown_table(headings, [[text.replace("*", "\\*") for text in row] for row in rows])
    yield from (line for remark in llm_remarks(levels) for line in (markdown_text(remark), ""))


def _gate(verdict: Verdict) -> Iterator[str]:
    """What changed against the baselines, if the run was compared with any."""
    if not verdict.gate:
        return
    yield from ("### Against the baseline", "")
    yield from markdown_table(CHANGE_HEADINGS, change_rows(verdict.gate))
    for gate in verdict.gate:
        yield from (f"- {markdown_text(text)}" for text in lines_of(gate))
        yield ""
        yield from markdown_table(PART_HEADINGS, part_rows(gate))
        if picture := text_picture(gate):
            yield from ("```", *picture, "```", "", f"![each pair, and each quantile]({picture_name(gate)})", "")


def _checks(verdict: Verdict) -> Iterator[str]:
    yield from ("### Limits and invariants", "")
    rows = [
        [
            f"`{check.name}`",
            cell(check.measured, check.metric),
            bounds(check.measured, check.metric),
            check.limit,
            check.result if check.result == "held" else f"**{check.result}**",
        ]
        for check in verdict.checks
    ]
    yield from markdown_table(["name", "measured", BOUNDS, "limit", "result"], rows)


def _level(level: LevelSummary) -> Iterator[str]:
    yield from (f"### Level {level.level}", "")
    yield from (length_line(level), "")
    yield from markdown_table(*metrics_table(level))
    if missing := not_measured(level):
        yield from (f"Not measured: {', '.join(missing)}.", "")
    for table in part_tables(level):
        yield from markdown_table(*table)
    yield from _series(level)
    for table in event_tables(level):
        yield from markdown_table(*table)
    yield from (markdown_text(generator_line(level)), "")
    yield from markdown_table(*worker_table(level))


def _series(level: LevelSummary) -> Iterator[str]:
    """How the services answered as the level went on, a character a stretch."""
    for service, series in level.service_series.items():
        yield f"{service}, worst answer in each {render(series.step_s, 'duration')}: `{sparkline(series.worst_s)}`"
        yield ""
    if level.service_series:
        yield from (SPARKLINE_NOTE, "")


def _services(manifest: Manifest) -> Iterator[str]:
    """Which servers were used, and why not others."""
    if not used_services(manifest):
        return
    yield from ("### Services", "", f"State was kept in: {manifest.state}.", "")
    yield from markdown_table(*services_table(manifest))
