"""`harness capacity` on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCENARIO = """
name = "quick"
description = "Ten milliseconds each."
target = "python:quick:run"
[load]
{load}
warmup = "50 ms"
measure = "300 ms"
drain = "2 s"
[[workflow]]
kind = "job"
"""
TARGET = "import asyncio\nasync def run(request, watch):\n    await asyncio.sleep(0.01)\n    return {}\n"


def harness(folder: Path, *words: str, load: str = "closed = [1]") -> subprocess.CompletedProcess[str]:
    """The command, in a folder with a scenario."""
    (folder / "quick.toml").write_text(SCENARIO.format(load=load))
    (folder / "quick.py").write_text(TARGET)
    program = [sys.executable, "-m", "harness", "capacity", *words, "--quiet", "--reports", str(folder / "reports")]
    return subprocess.run(program, capture_output=True, text=True, cwd=folder, check=False)


def test_an_answer_on_standard_output(tmp_path: Path) -> None:
    """In words, and as JSON alone; exit 0."""
    done = harness(tmp_path, "quick.toml", "--slo", "p50 < 5 s", "--most", "2", "--sittings", "1", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["capacity"]["load"], found["capacity"]["at_least"]) == (2.0, True)
    [folder] = (tmp_path / "reports").iterdir()
    assert json.loads((folder / "capacity.json").read_bytes()) == found


@pytest.mark.parametrize(
    ("words", "load", "said"),
    [
        (("quick.toml",), "closed = [1]", "--slo"),
        (("quick.toml", "--slo", "p59 < 1 s"), "closed = [1]", "--slo: p59 < 1 s: metric 'p59' is unknown"),
        (("nothing.toml", "--slo", "p50 < 1 s"), "closed = [1]", "no such scenario"),
        ((".", "--slo", "p50 < 1 s"), "closed = [1]", "is a folder; a sweep is of one scenario"),
        (("quick.toml", "--slo", "p50 < 1 s"), "burst = [5]", "arrives in bursts, which have no steady load"),
        (("quick.toml", "--slo", "p50 < 1 s", "--most", "0"), "closed = [1]", "0 is not in the range"),
    ],
)
def test_what_cannot_be_swept_is_said_before_anything_starts(
    words: tuple[str, ...], load: str, said: str, tmp_path: Path
) -> None:
    """Exit 2, with the way out."""
    (tmp_path / "other.toml").write_text(SCENARIO.format(load=load).replace('"quick"', '"other"'))
    done = harness(tmp_path, *words, load=load)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert not (tmp_path / "reports").exists()
