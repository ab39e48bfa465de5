"""The JSON report is a document whose schema is checked in."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import pytest

from harness.report.json_report import SCHEMA_FILE, Report, report_schema
from harness.verdict.judge import JudgedRun


@pytest.mark.parametrize("verdict", ["passed", "failed", "recovered"])
def test_the_document_reads_back_as_what_was_judged(
    verdict: str, request: pytest.FixtureRequest, report: Callable[[JudgedRun, str], str]
) -> None:
    """By its own types, with nothing left out."""
    judged = request.getfixturevalue(verdict)
    read = msgspec.json.decode(report(judged, "json"), type=Report)
    assert (read.verdict, read.summary, read.manifest) == (judged.verdict, judged.summary, judged.manifest)


def test_the_schema_that_is_checked_in_is_current(request: pytest.FixtureRequest) -> None:
    """Whoever reads our reports relies on it; `make golden` renews it."""
    current = json.dumps(report_schema(), indent=2) + "\n"
    if request.config.getoption("--update-golden"):
        SCHEMA_FILE.write_text(current, encoding="utf-8")
    assert SCHEMA_FILE.read_text(encoding="utf-8") == current
