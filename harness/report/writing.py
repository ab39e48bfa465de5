"""The files that a judged run leaves beside its data, and what GitHub's runner shows of it."""

from __future__ import annotations

import os

from harness.report import reporter
from harness.verdict.judge import JudgedRun

HTML_FILE = "report.html"
FILES = (("markdown", "report.md"), ("junit", "junit.xml"), ("json", "report.json"), ("html", HTML_FILE))
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
"""Names the file that a step of GitHub's may add Markdown to."""


def write_reports(judged: JudgedRun) -> None:
    """Write all of them into the run's folder."""
    from harness.report.gate import write_pictures

    write_pictures(judged)
    for name, file in FILES:
        with (judged.run_dir / file).open("w", encoding="utf-8") as out:
            reporter(name).write(judged, out)
    summary = os.environ.get(STEP_SUMMARY)
    if summary:
        with open(summary, "a", encoding="utf-8") as out:
            reporter("markdown").write(judged, out)
