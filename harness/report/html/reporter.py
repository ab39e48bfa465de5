"""The report as one HTML file, written from a run's folder alone: the verdict first, then what carries it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from harness.report.gate import CHANGE_HEADINGS, PART_HEADINGS, change_rows, lines_of, part_rows, svg_picture
from harness.report.history_picture import history_svg
from harness.report.html.course import Course, read_courses
from harness.report.html.figures import Figure, figures
from harness.report.html.page import page
from harness.report.html.times import NATURES, Group, groups, telling
from harness.report.html.waterfall import Waterfall, waterfalls
from harness.report.llm import llm_remarks, llm_table
from harness.report.rows import (
    BESIDE_COLUMNS,
    LEVEL_COLUMNS,
    TOO_FEW_NOTE,
    Row,
    any_too_few,
    beside_rows,
    bounds,
    cell,
    level_rows,
    paired_lines,
    plain,
)
from harness.report.scorecard import HEADINGS, scorecard_rows
from harness.report.tables import (
    BOUNDS,
    Table,
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
from harness.statistics.level import LevelSummary
from harness.verdict.baseline_file import read_baseline
from harness.verdict.check import Check
from harness.verdict.gate import LevelGate
from harness.verdict.gated import read_facts
from harness.verdict.judge import JudgedRun
from harness.verdict.trend import trend_of
from harness.verdict.verdict import Verdict

if TYPE_CHECKING:
    from markupsafe import Markup

SENTENCES_MAX = 20


@dataclass(frozen=True, slots=True)
class LevelPage:
    """What the page shows of one level."""

    name: str
    line: str
    figures: Sequence[Figure]
    groups: Sequence[Group]
    parts: Sequence[tuple[str, str]]  # of the groups, those that are worth a row
    waterfalls: Sequence[Waterfall]
    tables: Sequence[Table]  # of parts and events
    metrics: Table
    missing: str
    generator: str
    workers: Table


@dataclass(frozen=True, slots=True)
class GatePage:
    """What the page shows of one level's comparison with its baseline."""

    lines: Sequence[str]
    parts: Table
    picture: Markup | None


class HtmlReporter:
    """Writes one page that needs nothing else: no network, no script, no style but its own."""

    def write(self, judged: JudgedRun, out: TextIO) -> None:
        """Write it."""
        manifest, summary, verdict = judged.manifest, judged.summary, judged.verdict
        courses = read_courses(judged.run_dir, manifest)
        out.write(
            page(
                "report.html.j2",
                manifest=manifest,
                verdict=verdict,
                sentences_max=SENTENCES_MAX,
                mood=_mood(verdict),
                level_columns=list(LEVEL_COLUMNS.values()),
                level_rows=[_cells(row) for level in summary.levels for row in level_rows(level, verdict)],
                too_few=TOO_FEW_NOTE if any(any_too_few(level) for level in summary.levels) else "",
                models=Table(*llm_table(summary.levels)),
                remarks=list(llm_remarks(summary.levels)),
                history=_history(judged),
                changes=Table(CHANGE_HEADINGS, change_rows(verdict.gate)),
                gates=[_gate_page(gate, manifest.scenario) for gate in verdict.gate],
                scorecard=_scorecard(judged),
                beside=Table(BESIDE_COLUMNS, beside_rows(verdict)),
                paired=list(paired_lines(verdict)),
                checks=[_check_cells(check) for check in verdict.checks],
                bounds=BOUNDS,
                levels=[_level_page(level, courses.get(level.level)) for level in summary.levels],
                natures=NATURES,
                services=services_table(manifest),
                conditions=[plain(line) for line in conditions(manifest)],
            )
        )


def _mood(verdict: Verdict) -> str:
    """The ink of the verdict's word."""
    return {0: "better", 1: "bad", 3: "margin"}.get(verdict.exit_code, "worse")


def _cells(row: Row) -> dict[str, object]:
    cells = [(row.cells.get(metric, ""), metric in row.broken) for metric in LEVEL_COLUMNS]
    return {"head": row.head.strip(), "n": row.n, "cells": cells, "of_limits": row.head.startswith(" ")}


def _check_cells(check: Check) -> dict[str, str]:
    return {
        "name": check.name,
        "measured": cell(check.measured, check.metric),
        "bounds": bounds(check.measured, check.metric),
        "limit": check.limit,
        "result": check.result,
    }


def _gate_page(gate: LevelGate, scenario: str) -> GatePage:
    from markupsafe import Markup

    picture = svg_picture(gate, scenario)
    # Our own drawing, whose every text is escaped where it is written.
    return GatePage(
        [plain(line) for line in lines_of(gate)],
        Table(PART_HEADINGS, part_rows(gate)),
        Markup(picture) if picture else None,
    )


def _history(judged: JudgedRun) -> Markup | None:
    """The series of the baselines that a gated run was compared with, and keeps copies of."""
    from markupsafe import Markup

    facts = read_facts(judged.run_dir)
    kept = [read_baseline(judged.run_dir / file) for file in facts.baselines.values()] if facts else []
    return Markup(history_svg([trend_of(baseline) for baseline in kept])) if kept else None


def _scorecard(judged: JudgedRun) -> Table:
    """Where something was broken: what came of it, a row a level."""
    is_broken = any(level.faults or level.crashes for level in judged.summary.levels) or judged.verdict.beside
    return Table(HEADINGS, list(scorecard_rows(judged)) if is_broken else [])


def _level_page(level: LevelSummary, course: Course | None) -> LevelPage:
    found = groups(course.sampled) if course else []
    return LevelPage(
        name=level.level,
        line=length_line(level) + (f" {plain(level.message)}" if level.message else ""),
        figures=figures(course, level) if course else [],
        groups=found,
        parts=telling(found),
        waterfalls=list(waterfalls(course.shown)) if course else [],
        tables=[*part_tables(level), *event_tables(level)],
        metrics=metrics_table(level),
        missing=", ".join(not_measured(level)),
        generator=generator_line(level),
        workers=worker_table(level),
    )
