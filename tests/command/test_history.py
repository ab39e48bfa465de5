"""`harness history`: accepted runs, a table, a picture and change points; never an exit code that blocks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from harness.verdict.baseline_file import append, baseline_path
from tests.verdict.accepted import CLASS, entry

WEEKS = 24


def harness(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command, as a person runs it."""
    command = [sys.executable, "-m", "harness", "history", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `baselines/`: level 10 is 40 % slower from week 12 on, level 6/h has three runs."""
    root = tmp_path_factory.mktemp("accepted")
    for week in range(WEEKS):
        append(baseline_path(root / "baselines", "sample", CLASS, "10"), entry(week, 1.4 if week >= 12 else 1.0))
    for week in range(3):
        append(baseline_path(root / "baselines", "sample", CLASS, "6/h"), entry(week, 1.0))
    return root


def test_table_picture_and_change_points(accepted: Path) -> None:
    """For every level; a change for the worse ends in 0 as well."""
    done = harness("sample", cwd=accepted)
    assert done.returncode == 0, done.stderr
    assert f"sample at 10 on {CLASS}: {WEEKS} sittings" in done.stdout
    assert "between 000000b (2026-03-23) and 000000c (2026-03-30)" in done.stdout
    assert "17 more to go" in done.stdout.split("sample at 6/h")[1]


def test_json_and_drawing(accepted: Path) -> None:
    """The same facts for machines, and a drawing in a file."""
    done = harness("sample", "--level", "10", "--metric", "p95,shape", "--json", "--svg", "out.svg", cwd=accepted)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    [found] = document["histories"]
    assert (document["schema_version"], found["level"], found["scenario"]) == (1, "10", "sample")
    assert [each["metric"] for each in found["metrics"]] == ["p95", "shape"]
    assert [turn["first"] for turn in found["metrics"][0]["turns"]] == [12]
    ElementTree.parse(accepted / "out.svg")


def test_a_scenarios_file_names_it(accepted: Path, tmp_path: Path) -> None:
    """By what is written in it, from wherever it is asked; its baselines lie beside its folder."""
    file = accepted / "scenarios" / "other.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text('name = "sample"\n')
    done = harness(str(file), "--level", "6/h", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sample at 6/h")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["absent"], "baselines/absent: no accepted runs of absent; record some with `harness baseline record absent`"),
        (["sample", "--level", "99"], "--level '99' is unknown (known: 10, 6/h)"),
        (["sample", "--metric", "p50,p96,nope"], "--metric 'p96' is unknown; did you mean 'p95'?"),
        (["absent.toml"], "absent.toml cannot be read"),
        (["sample", "--baselines", "nowhere"], "nowhere"),
        (["sample", "--svg", "nowhere/out.svg"], "there is no folder 'nowhere'"),
    ],
)
def test_mistakes_are_usage_errors(accepted: Path, words: list[str], told: str) -> None:
    """Each says what there is, or the way out."""
    done = harness(*words, cwd=accepted)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stdout == ""


def test_a_damaged_baseline_is_told(accepted: Path, tmp_path: Path) -> None:
    """What was edited is not shown as if it had been measured."""
    source = baseline_path(accepted / "baselines", "sample", CLASS, "6/h")
    target = baseline_path(tmp_path / "baselines", "sample", CLASS, "6/h")
    target.parent.mkdir(parents=True)
    document = msgspec.json.decode(source.read_bytes())
    document["entries"][1]["accepted_by"] = "someone else"
    target.write_bytes(msgspec.json.encode(document))
    done = harness("sample", cwd=tmp_path)
    assert done.returncode == 3
    assert "the entry of run-1 is not as it was written" in done.stderr
