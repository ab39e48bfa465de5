"""The report for a terminal: one table, then the verdict in sentences. Plain text in a pipe; obeys NO_COLOR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.report.gate import CHANGE_HEADINGS, PART_HEADINGS, change_rows, lines_of, part_rows, text_picture
from harness.report.llm import llm_remarks, llm_table
from harness.report.rows import (
    BESIDE_COLUMNS,
    LEVEL_COLUMNS,
    TOO_FEW_NOTE,
    aligned,
    any_too_few,
    beside_rows,
    cell,
    level_rows,
    other_limits,
    paired_lines,
    plain,
    recovered,
    used_services,
)
from harness.scenario.units import render
from harness.statistics.level import LevelSummary
from harness.statistics.resilience import FaultRow
from harness.statistics.summary import Summary
from harness.verdict.judge import JudgedRun
from harness.verdict.verdict import Verdict

PLAIN_WIDTH = 160  # of a pipe, which has none: wide enough that no number is cut
SENTENCES_MAX = 12
WORD_STYLES = {0: "bold green", 1: "bold red", 3: "bold yellow", 4: "bold red"}
RESULT_STYLES = {"held": "", "breached": "bold red", "unsure": "yellow", "cut": "bold red"}


class ConsoleReporter:
    """Prints levels against their limits, the verdict, what broke, and the command to repeat the run."""

    def write(self, judged: JudgedRun, out: TextIO) -> None:
        """Write the report; as wide as the terminal, and never with a number cut off."""
        width = None if out.isatty() else PLAIN_WIDTH
        console = Console(file=out, width=width, highlight=False, markup=False, emoji=False)
        with console.capture() as captured:  # rich would leave by itself when a pipe's reader is gone
            _print(console, judged)
        out.write(captured.get())


def _print(console: Console, judged: JudgedRun) -> None:
    manifest, summary = judged.manifest, judged.summary
    console.print(f"seed {manifest.seed}, scenario {manifest.scenario}, target {manifest.target}")
    if services := used_services(manifest):
        console.print(plain(services), soft_wrap=True)
    console.print(f"run {manifest.run_id}\n", soft_wrap=True)
    console.print(_levels(summary, judged.verdict))
    if any(any_too_few(level) for level in summary.levels):
        console.print(TOO_FEW_NOTE)
    _models(console, summary)
    if other_limits(judged.verdict):
        console.print()
        console.print(_others(judged))
    _gate(console, judged.verdict)
    for text in aligned([[*BESIDE_COLUMNS], *beside_rows(judged.verdict)]) if judged.verdict.beside else ():
        console.print(text, soft_wrap=True)
    for line in (
        *paired_lines(judged.verdict),
        *_errors(summary),
        *_faults(summary),
        *_breakers(summary),
        *_crashes(summary),
    ):
        console.print(line, soft_wrap=True)
    console.print()
    _verdict(console, judged.verdict)
    console.print(f"repeat: {manifest.command}", soft_wrap=True)


def _levels(summary: Summary, verdict: Verdict) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("level", no_wrap=True)
    table.add_column("n", justify="right", overflow="fold")
    for heading in LEVEL_COLUMNS.values():
        table.add_column(heading, justify="right", overflow="fold")
    for level in summary.levels:
        for row in level_rows(level, verdict):
            is_limit = row.head.startswith(" ")
            cells = [
                Text(row.cells.get(metric, ""), style="bold red" if metric in row.broken else "dim" if is_limit else "")
                for metric in LEVEL_COLUMNS
            ]
            table.add_row(Text(row.head, style="dim" if is_limit else "bold"), row.n, *cells)
    return table


def _models(console: Console, summary: Summary) -> None:
    """Calls to models, if there were any."""
    headings, rows = llm_table(summary.levels, narrow=True)
    if not rows:
        return
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(headings[0], no_wrap=True, style="bold")
    for heading in headings[1:]:
        table.add_column(heading, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print()
    console.print(table)
    for remark in llm_remarks(summary.levels):
        console.print(remark, soft_wrap=True)


def _others(judged: JudgedRun) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("other limits", overflow="fold")
    for heading in ("measured", "limit"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for check in other_limits(judged.verdict):
        table.add_row(
            check.name,
            cell(check.measured, check.metric),
            check.limit,
            Text(check.result, style=RESULT_STYLES[check.result]),
        )
    return table


def _errors(summary: Summary) -> list[str]:
    return [
        f"level {level.level} errors: " + ", ".join(f"{plain(name)} {count}" for name, count in level.errors.items())
        for level in summary.levels
        if level.errors
    ]


def _faults(summary: Summary) -> list[str]:
    """What was broken, a line a level."""
    return [
        f"level {level.level} was broken by: " + ", ".join(_broken(fault) for fault in level.faults)
        for level in summary.levels
        if level.faults
    ]


def _broken(fault: FaultRow) -> str:
    if fault.bit is None:
        return f"{fault.kind} (met nothing)"
    if fault.lifted is None:
        return f"{fault.kind} (not known to be lifted)"
    lasted = render(fault.lifted - fault.began, "duration")
    after = recovered(fault)
    back = {"unharmed": "no harm done", "unknown": "recovery not known"}.get(after, f"recovered after {after}")
    return f"{fault.kind} for {lasted} (bites: {fault.bites}; {back})"


def _breakers(summary: Summary) -> list[str]:
    """Breakers that opened; the others are in the run's report.md."""
    return [
        f"level {level.level}: the breaker of {use.of} {use.name} opened {use.opened} times, for "
        f"{render(use.open_s, 'duration')} in all, and refused {use.refused} calls"
        for level in summary.levels
        for use in level.breakers
        if use.opened
    ]


def _crashes(summary: Summary) -> list[str]:
    """How many there were, and the longest recovery; the table is in the run's report.md."""
    return [_recovered(level) for level in summary.levels if level.crashes]


def _recovered(level: LevelSummary) -> str:
    count = len(level.crashes)
    hosts = [crash.host_s for crash in level.crashes if crash.host_s is not None]
    ends = [crash.ended_s for crash in level.crashes if crash.ended_s is not None]
    back = "it did not always come back"
    if len(hosts) == count:
        back = f"the target answered again within {render(max(hosts), 'duration')}"
    ended = "some of what was in flight never ended"
    if len(ends) == count:
        further = " (further crashes included)" if count > 1 else ""
        ended = f"what was in flight ended within {render(max(ends), 'duration')}{further}"
    return f"level {level.level}: {count} crash{'' if count == 1 else 'es'}; {back}; {ended}"


def _gate(console: Console, verdict: Verdict) -> None:
    """What changed against the baselines, if the run was compared with any."""
    if not verdict.gate:
        return
    console.print()
    if rows := change_rows(verdict.gate):
        console.print(_plain_table(CHANGE_HEADINGS, rows))
    for gate in verdict.gate:
        for line in lines_of(gate):
            console.print(plain(line), soft_wrap=True)
        if rows := part_rows(gate):
            console.print()
            console.print(_plain_table(PART_HEADINGS, rows))
        for line in text_picture(gate):
            console.print(line, soft_wrap=True)


def _plain_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(*map(plain, row))
    return table


def _verdict(console: Console, verdict: Verdict) -> None:
    console.print(Text(verdict.word, style=WORD_STYLES[verdict.exit_code]))
    for sentence in verdict.sentences[:SENTENCES_MAX]:
        console.print(f"  {plain(sentence)}", soft_wrap=True)
    more = len(verdict.sentences) - SENTENCES_MAX
    if more > 0:
        console.print(f"  and {more} more; they are in the run's report.md")
    if verdict.failed:
        console.print(f"broken: {', '.join(verdict.failed)}", soft_wrap=True)
