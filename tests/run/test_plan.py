"""What is to be run: which levels, by label or amount."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.run.plan import Options, prepare

FILE = """name = "rates"
description = "Arrivals at two rates."
[load]
open = ["10/s", "25/s"]
[[workflow]]
kind = "simple"
steps = [{ name = "one", agent = "data" }]
[agent.data]
"""


def labels(folder: Path, *levels: str) -> list[str]:
    """Of the levels that are run when these are asked for."""
    path = folder / "rates.toml"
    path.write_text(FILE)
    return [level.label for level in prepare(path, Options(levels=levels), "").levels]


def test_a_level_is_named_by_its_label_or_its_amount(tmp_path: Path) -> None:
    """Once, however often; all of them when none is named."""
    assert labels(tmp_path) == ["10/s", "25/s"]
    assert labels(tmp_path, "25/s") == ["25/s"]
    assert labels(tmp_path, "25", "25/s") == ["25/s"]


def test_an_unknown_level_is_said_with_those_that_there_are(tmp_path: Path) -> None:
    """All of them at once."""
    with pytest.raises(UsageError) as told:
        labels(tmp_path, "50", "2")
    assert [line.split(": ", 1)[0] for line in str(told.value).splitlines()] == ["--level 50", "--level 2"]
    assert "(levels: 10/s, 25/s)" in str(told.value)
