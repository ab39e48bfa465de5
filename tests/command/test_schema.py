"""`harness schema`: for editors, or as pages for people."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from harness.command.commands import commands
from harness.report.reference import reference


def test_without_words_it_is_for_editors() -> None:
    """One JSON document."""
    result = CliRunner().invoke(commands, ["schema"])
    assert json.loads(result.output)["title"] == "Scenario"


def test_pages_are_written_and_named(tmp_path: Path) -> None:
    """Into a folder that need not be there."""
    folder = tmp_path / "new" / "reference"
    result = CliRunner().invoke(commands, ["schema", "--reference", str(folder)])
    assert result.exit_code == 0
    assert {path.name: path.read_text() for path in folder.iterdir()} == reference()
    assert all(name in result.output for name in reference())


def test_a_folder_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    """Where a file is in the way."""
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(commands, ["schema", "--reference", str(tmp_path / "file" / "reference")])
    assert result.exit_code != 0
    assert str(tmp_path / "file") in str(result.exception)
