"""The pages to look things up in hold everything that there is, and are up to date."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.fault import FAULTS
from harness.report.reference import reference
from harness.scenario.schema import scenario_schema
from harness.statistics.metrics import AGENT_METRICS, METRICS, SERVICE_METRICS

KEPT = Path(__file__).parents[2] / "docs" / "reference"


@pytest.fixture(scope="module")
def pages() -> Mapping[str, str]:
    return reference()


def test_the_pages_in_the_repository_are_these(pages: Mapping[str, str]) -> None:
    """Whoever changes a type, a fault or a metric writes them anew."""
    kept = {path.name: path.read_text() for path in KEPT.iterdir()}
    assert kept == pages, "run: make reference"


def test_every_key_is_there_and_means_something(pages: Mapping[str, str]) -> None:
    """With what it is, what it is when it is left out, and what it does."""
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \| (.+) \|$", pages["scenario.md"], flags=re.M)
    schema = scenario_schema()
    tables: list[dict[str, Any]] = [schema, *schema["$defs"].values()]
    assert sorted(row[0] for row in rows) == sorted(key for table in tables for key in table["properties"])
    needed = sorted(key for table in tables for key in table.get("required", ()))
    assert sorted(row[0] for row in rows if row[2] == "required") == needed
    assert [row for row in rows if row[1] in ("anything", "-") and row[0] != "json"] == []


def test_tables_have_the_headings_that_a_file_has(pages: Mapping[str, str]) -> None:
    """Lists of tables in double brackets; a name of the user's own where there is one."""
    headings = set(re.findall(r"^## `(.+)`$", pages["scenario.md"], flags=re.M))
    assert {"[load]", "[[workflow]]", "[[workflow.steps]]", "[agent.NAME]", "[agent.NAME.work]", "[[outage]]",
            "[orchestrator.breaker.NAME]", "[[llm.fault]]", "[llm.quota.NAME]", "[http.poll]"} <= headings  # fmt: skip


def test_every_fault_has_its_part(pages: Mapping[str, str]) -> None:
    """And the overview leads to it."""
    for kind in FAULTS:
        assert f"\n## {kind}\n" in pages["faults.md"]
        assert f"[`{kind}`](#{kind.replace('.', '')})" in pages["faults.md"]
        assert f'kind = "{kind}"' in pages["faults.md"]


def test_every_metric_is_there(pages: Mapping[str, str]) -> None:
    """Of a level, of an agent, of a service."""
    names = re.findall(r"^\| `(\w+)` \|", pages["metrics.md"], flags=re.M)
    assert names == [*METRICS, *AGENT_METRICS, *SERVICE_METRICS]
