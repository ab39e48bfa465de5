"""The runbook: every row of the catalogue says why, how it shows and what to do, and the pages are made of that."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.report.runbook import INDEX, comments, runbook

ROOT = Path(__file__).parents[2]
ROW = """name = "broken"
description = "Redis is slow."
sometimes = ["retries"]

# A comment of another kind.
# Hypothesis: it is slow,
# and no more.
# Shows: llm_failures in the log.
# Do: wait.

# Not part of it.
[load]
closed = [1]

[[fault]]
kind = "redis.slow"
at = "1 s"
for = "2 s"
latency = "50 ms"

[[llm.fault]]
fault = "stall"
share = "10 %"
"""
LIMITS = '[limits."1"]\nsuccess = ">= 90 %"\n[ours."1"]\np95 = "< 1 s"\n'


def test_comments_are_read_to_their_end() -> None:
    """Over several lines, up to the next one or the end of the comment."""
    assert comments(ROW) == {
        "Hypothesis": "it is slow, and no more.",
        "Shows": "llm_failures in the log.",
        "Do": "wait.",
    }


def test_a_page_says_what_is_broken_and_what_it_is_held_to(tmp_path: Path) -> None:
    """In the order in which a person on call reads."""
    rows, baselines = tmp_path / "rows", tmp_path / "baselines"
    rows.mkdir()
    baselines.mkdir()
    (rows / "broken.toml").write_text(ROW)
    (baselines / "broken.toml").write_text(LIMITS)
    pages = runbook(rows, baselines)
    assert list(pages) == ["broken.md", INDEX]
    page = pages["broken.md"]
    order = [
        "**Hypothesis:** it is slow, and no more.",
        "- `redis.slow` at 1 s for 2 s, latency 50 ms: every answer of the service is late",
        "- `models: stall` always, share 10 %",
        "llm_failures in the log.",
        "Wait.",
        "To have happened: `retries`.",
        "| any | success | >= 90 % | 1 |",
        "| embedded | p95 | < 1 s | 1 |",
    ]
    places = [page.index(each) for each in order]
    assert places == sorted(places)
    assert "| [broken](broken.md) | Redis is slow. | `redis.slow`, `models: stall` |" in pages[INDEX]


def test_rows_that_say_too_little_are_named(tmp_path: Path) -> None:
    """All of them, each with what is missing; and a folder without rows."""
    with pytest.raises(UsageError, match="holds no scenario"):
        runbook(tmp_path, tmp_path)
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(ROW.replace("# Do: wait.\n", ""))
    with pytest.raises(UsageError) as told:
        runbook(tmp_path, tmp_path)
    assert [line.rpartition(" has no comment ")[2] for line in str(told.value).splitlines()] == ["`# Do: …`"] * 2


def test_the_runbook_in_the_repository_is_that_of_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """`make runbook` writes it; nothing else is in its folder."""
    monkeypatch.chdir(ROOT)
    kept = {path.name: path.read_text() for path in Path("docs/runbook").iterdir()}
    assert runbook(Path("scenarios/resilience"), Path("baselines")) == kept, "the catalogue has changed: make runbook"
