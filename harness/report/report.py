"""The seam to a form of report: one method, everything it may tell in one argument."""

from __future__ import annotations

from typing import Protocol, TextIO

from harness.verdict.judge import JudgedRun


class Reporter(Protocol):
    """Writes a judged run in one form. The seed stands at the top of all of them."""

    def write(self, judged: JudgedRun, out: TextIO) -> None:
        """Write the whole report."""
