"""The Markdown report stays a table whatever words a target uses, and fits a step summary."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import msgspec

from harness.report import markdown
from harness.verdict.judge import JudgedRun


def test_words_of_the_target_break_no_table(failed: JudgedRun, report: Callable[[JudgedRun, str], str]) -> None:
    """Every row of a table has as many cells as its heading."""
    cells: int | None = None
    rows = 0
    for line in report(failed, "markdown").splitlines():
        if not line.startswith("|"):
            cells = None
            continue
        count = len(re.findall(r"(?<!\\)\|", line))
        assert cells in (None, count), line
        cells, rows = count, rows + 1
    assert rows > 50


def test_a_report_too_long_for_a_step_summary_is_cut_and_says_so(
    failed: JudgedRun, report: Callable[[JudgedRun, str], str]
) -> None:
    """A CI server would refuse the whole of it."""
    kinds = {f"kind-{number}": failed.summary.levels[0].metrics for number in range(1000)}
    levels = [
        msgspec.structs.replace(failed.summary.levels[0], level=f"{number}" * 50, kinds=kinds) for number in range(300)
    ]
    summary = msgspec.structs.replace(failed.summary, levels=tuple(levels))
    text = report(replace(failed, summary=summary), "markdown")
    assert markdown.BYTES_MAX - 10_000 < len(text.encode()) < 2**20
    assert text.splitlines()[-1].startswith("The report was cut here")
