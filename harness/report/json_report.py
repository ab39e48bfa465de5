"""The report as one versioned JSON document; its schema is checked in beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TextIO

import msgspec

from harness.observation.manifest import Manifest
from harness.statistics.summary import Summary
from harness.verdict.judge import JudgedRun
from harness.verdict.verdict import Verdict

REPORT_VERSION = 1
SCHEMA_FILE = Path(__file__).with_name("report.schema.json")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A judged run. Fields are added within a version; one that changes its meaning makes a new version."""

    schema_version: int = REPORT_VERSION
    seed: int
    verdict: Verdict
    summary: Summary
    manifest: Manifest


class JsonReporter:
    """Writes the document, indented, and nothing else."""

    def write(self, judged: JudgedRun, out: TextIO) -> None:
        """Write the report."""
        report = Report(
            seed=judged.manifest.seed, verdict=judged.verdict, summary=judged.summary, manifest=judged.manifest
        )
        out.write(msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n")


def report_schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Report)}
