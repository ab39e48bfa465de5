"""From a run's folder to its summary: what can be read, what cannot, and what is the same every time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.errors import RunInvalid
from harness.statistics.summary import Summary, summarise

if TYPE_CHECKING:
    from tests.conftest import RunBuilder


def test_a_summary_reads_back_as_it_was(run: RunBuilder) -> None:
    """Through its JSON."""
    run.sound()
    summary = summarise(run.write())
    assert msgspec.json.decode(msgspec.json.encode(summary), type=Summary) == summary


def test_summarising_twice_gives_the_same(run: RunBuilder) -> None:
    """Nothing of it depends on the clock or on hashing."""
    run.sound()
    folder = run.write()
    assert msgspec.json.encode(summarise(folder)) == msgspec.json.encode(summarise(folder))


def test_damage_is_counted_and_the_rest_is_used(run: RunBuilder) -> None:
    """A flipped byte in the middle and a torn end, in both files."""
    run.sound(count=100)
    folder = run.write()
    for name in ("journal.jsonl", "resources.jsonl"):
        lines = (folder / name).read_bytes().split(b"\n")
        lines[1] = lines[1].replace(b'"', b"\xff", 3)
        (folder / name).write_bytes(b"\n".join(lines) + b'{"type":"obs')
    summary = summarise(folder)
    assert (summary.unreadable, summary.torn) == (2, 2)
    assert summary.levels[0].metric("arrivals").value == 99


@pytest.mark.parametrize("missing", ["run.json", "scenario.json", "journal.jsonl"])
def test_a_folder_that_is_no_run_is_refused(run: RunBuilder, missing: str) -> None:
    """By the name of what is missing."""
    folder = run.write()
    (folder / missing).unlink()
    with pytest.raises(RunInvalid, match=missing):
        summarise(folder)
