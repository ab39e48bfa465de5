"""The conditions of a run: what makes its scenario another one, and what does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.verdict.fingerprint import scenario_digest

SCENARIO: dict[str, Any] = {
    "name": "sample",
    "description": "words",
    "seed": 1,
    "load": {"closed": [5], "open": [], "until_ok": None, "measure": 30.0},
    "agent": {"data": {"pool": 10, "breaker": None, "work": {"cpu": 0.004, "effect": False}}},
    "fault": [],
}


def digest(folder: Path, scenario: dict[str, Any]) -> str:
    """Of a run of that scenario."""
    (folder / "scenario.json").write_text(json.dumps(scenario))
    return scenario_digest(folder)


def test_a_harness_that_knows_more_reads_the_same_of_an_older_run(tmp_path: Path) -> None:
    """A baseline outlives the day on which scenarios may say something new, as long as this one does not say it."""
    newer = SCENARIO | {"control": False, "resilience": {"row": None, "steps": []}, "hypothesis": ""}
    assert digest(tmp_path, newer) == digest(tmp_path, SCENARIO)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"control": True},
        {"load": {"closed": [10], "measure": 30.0}},
        {"agent": {"data": {"pool": 10, "work": {"cpu": 0.005}}}},
        {"agent": {"data": {"pool": 10, "work": {"cpu": 0.004, "effect": True}}}},
        {"fault": [{"kind": "machine.cpu", "for": "1 s"}]},
    ],
)
def test_what_is_said_otherwise_is_another_scenario(tmp_path: Path, change: dict[str, Any]) -> None:
    """However small."""
    assert digest(tmp_path, SCENARIO | change) != digest(tmp_path, SCENARIO)


def test_words_are_no_content(tmp_path: Path) -> None:
    """A better description is no reason to begin a baseline anew."""
    assert digest(tmp_path, SCENARIO | {"description": "better words"}) == digest(tmp_path, SCENARIO)
