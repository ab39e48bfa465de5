"""What several broken runs came to, a row a level: the resilience scorecard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from harness.report.rows import aligned, cell
from harness.statistics.level import LevelSummary
from harness.statistics.metrics import Metric
from harness.verdict.judge import JudgedRun
from harness.verdict.verdict import Verdict

HEADINGS = (
    *("scenario", "level", "", "bites", "success", "control", "p95", "control", "asked"),
    *("noticed after", "recovered after", "blast", "burn", "lost", "twice"),
)
ASKED = ("amplification", "service.redis.commands", "service.postgres.commands")
"""What models and stores were asked for each workflow, as seen from their side."""


def print_scorecard(runs: Sequence[JudgedRun], out: TextIO) -> None:
    """Print it, when there is more than one run and any of them has a control arm."""
    if len(runs) < 2 or not any(run.verdict.beside for run in runs):
        return
    rows = [row for run in runs for row in scorecard_rows(run)]
    out.write("\nresilience\n")
    for line in aligned([HEADINGS, *rows]):
        out.write(line + "\n")
    words = [run.verdict.word for run in runs]
    counted = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
    out.write(f"{len(runs)} runs: {counted}\n")


def scorecard_rows(run: JudgedRun) -> Iterator[list[str]]:
    """A row a level, as HEADINGS."""
    for level in run.summary.levels:
        yield [run.summary.scenario, level.level, _word(run.verdict, level), str(_bites(level)), *_cells(run, level)]


def _word(verdict: Verdict, level: LevelSummary) -> str:
    """Of this level alone, by the worst of its checks."""
    results = {check.result for check in verdict.checks if check.level == level.level}
    return next((word for word in ("cut", "breached", "unsure") if word in results), "held")


def _bites(level: LevelSummary) -> int:
    models = int(level.metric("faulted_calls").value or 0)
    return sum(fault.bites for fault in level.faults) + len(level.crashes) + models


def _cells(run: JudgedRun, level: LevelSummary) -> Iterator[str]:
    control = {each.metric: each.control for each in run.verdict.beside if each.level == level.level}
    for metric in ("success", "p95"):
        yield cell(level.metric(metric), metric)
        yield cell(Metric(value=control[metric]), metric) if metric in control else "-"
    yield _asked(level, control)
    for metric in ("ttd", "ttr", "blast_radius", "burn", "lost", "dup_effects"):
        yield cell(level.metric(metric), metric)


def _asked(level: LevelSummary, control: Mapping[str, float | None]) -> str:
    """The dependency that was asked most beyond what it is without faults: so many times as often."""
    pairs = [(level.metric(metric).value, control.get(metric)) for metric in ASKED]
    times = [broken / whole for broken, whole in pairs if broken is not None and whole]
    return f"{max(times):.2f}x" if times else "-"
