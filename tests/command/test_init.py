"""`harness init` writes what runs as it stands, and never over anything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.command.commands import commands
from harness.errors import UsageError


def init(*words: str) -> Result:
    """In this process."""
    return CliRunner().invoke(commands, ["init", *words], catch_exceptions=False)


def harness(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """As a person types it, in their folder."""
    command = [sys.executable, "-m", "harness", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_from_an_empty_folder_to_a_verdict(tmp_path: Path) -> None:
    """The way of a new user: init, check, run, pass."""
    made = harness(tmp_path, "init")
    assert made.returncode == 0, made.stderr
    assert made.stdout.splitlines()[-1] == 'next: harness run my_bot --level 10 --measure "5 s"'
    checked = harness(tmp_path, "check", "my_bot")
    assert checked.returncode == 0, checked.stderr
    judged = harness(tmp_path, "run", "my_bot", "--level", "10", "--measure", "2 s")
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert "\npass\n" in judged.stdout
    page = next((tmp_path / "reports").glob("*/report.html")).read_text(encoding="utf-8")
    assert all(agent in page for agent in ("triage", "exact", "broad", "answer"))


def test_an_http_scenario_has_no_mistakes(tmp_path: Path) -> None:
    """There is no service behind it yet, so it is checked only."""
    made = init(str(tmp_path), "--target", "http", "--name", "svc")
    assert made.exit_code == 0
    assert made.output.endswith(f"next: cd {tmp_path} && harness check svc\n")
    checked = harness(tmp_path, "check", "svc")
    assert checked.returncode == 0, checked.stderr


def test_nothing_is_overwritten_and_all_that_is_in_the_way_is_named(tmp_path: Path) -> None:
    """And nothing else is written then."""
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "my_bot.toml").write_text("mine")
    (tmp_path / "baselines").write_text("a file")
    with pytest.raises(UsageError) as found:
        init(str(tmp_path))
    assert "my_bot.toml: is there already; choose another --name, or move it away" in str(found.value)
    assert "baselines: is not a folder, and one is needed there" in str(found.value)
    assert (tmp_path / "scenarios" / "my_bot.toml").read_text() == "mine"
    assert not (tmp_path / "scenarios" / "my_bot.py").exists()


@pytest.mark.parametrize("name", ["", "my-bot", "../up", "1st", "class", "json", "a b", "für"])
def test_a_name_that_cannot_be_one_is_refused(name: str, tmp_path: Path) -> None:
    """With the way out; nothing is written."""
    with pytest.raises(UsageError, match=f"--name {re.escape(name)}: "):
        init(str(tmp_path), "--name", name)
    assert list(tmp_path.iterdir()) == []
