"""The journal: every line once, whatever moment the process or the disk gives up."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.observation.journal import Damage, Journal, read_journal
from harness.observation.observation import JournalLine, LoadCheck, Observation, Opened, Outcome, Phase, PhaseMark

names = st.text(max_size=20)
times = st.floats(0, 1e6)
observations = st.builds(
    Observation,
    id=names,
    kind=names,
    level=names,
    phase=st.sampled_from(Phase),
    seed=st.integers(0, 2**63 - 1),
    intended=times,
    outcome=st.sampled_from(Outcome),
    started=st.none() | times,
    ended=st.none() | times,
    message=names,
)
marks = st.builds(PhaseMark, level=names, phase=st.sampled_from(["warmup", "end"]), at=times)
checks = st.builds(
    LoadCheck, level=names, at=times, users=st.integers(0, 9), in_flight=st.integers(0, 9), hub_lag_max_s=times
)


def opened(name: str, accepted: float | None = None) -> Opened:
    """An open workflow."""
    return Opened(name, "simple", "10", Phase.MEASURE, 1.0, 1.0, accepted)


def ended(name: str) -> Observation:
    """The same, ended."""
    return Observation(name, "simple", "10", Phase.MEASURE, 1, 1.0, Outcome.OK, started=1.0, ended=2.0)


def read(path: Path) -> tuple[list[JournalLine], Damage]:
    """All that can be read."""
    damage = Damage()
    return list(read_journal(path, damage)), damage


@given(st.lists(st.lists(observations | marks | checks, max_size=4), max_size=4), st.data())
def test_a_journal_cut_at_any_byte_loses_only_the_torn_line(
    batches: list[list[Observation | PhaseMark | LoadCheck]], data: st.DataObject
) -> None:
    """As SIGKILL or a full disk cuts it: what is read is a prefix of what was written, no line doubled or changed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        with Journal(path) as journal:
            for batch in batches:
                for line in batch:
                    if isinstance(line, Observation):
                        journal.ended(line)
                    else:
                        journal.note(line)
                journal.flush()
        written = [line for batch in batches for line in batch]
        whole = path.read_bytes()
        assert read(path) == (written, Damage())
        cut = data.draw(st.integers(0, len(whole)))
        os.truncate(path, cut)
        lines, damage = read(path)
        # A line that lacks nothing but its newline is whole.
        complete = sum(len(msgspec.json.encode(line)) <= size for line, size in _sizes(written, cut))
        assert lines == written[:complete]
        assert damage.unreadable == 0
        assert damage.torn == (sum(size > 0 for _, size in _sizes(written, cut)) - complete)


def _sizes(written: list[Observation | PhaseMark | LoadCheck], cut: int) -> list[tuple[object, int]]:
    """How many bytes of each line the first `cut` bytes of the file hold, its newline not counted."""
    sizes, at = [], 0
    for line in written:
        length = len(msgspec.json.encode(line))
        sizes.append((line, max(0, min(length, cut - at))))
        at += length + 1
    return sizes


@given(st.lists(observations, min_size=1, max_size=5), st.data())
def test_a_damaged_line_takes_no_other_with_it(lines: list[Observation], data: st.DataObject) -> None:
    """Any byte of one line may have become any other; broken UTF-8 and broken JSON alike are counted."""
    place = data.draw(st.integers(0, len(lines) - 1))
    encoded = [msgspec.json.encode(line) for line in lines]
    at = data.draw(st.integers(0, len(encoded[place]) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda byte: byte != ord("\n")))
    encoded[place] = encoded[place][:at] + bytes([value]) + encoded[place][at + 1 :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        path.write_bytes(b"".join(line + b"\n" for line in encoded))
        found, damage = read(path)
    assert len(found) + damage.unreadable == len(lines)
    assert damage.unreadable <= 1
    assert damage.torn == 0
    others = lines[:place] + lines[place + 1 :]
    assert [line for index, line in enumerate(found) if damage.unreadable or index != place] == others


def test_only_what_is_still_open_at_a_flush_is_written_as_opened(tmp_path: Path) -> None:
    """One that ended within the batch is told by its observation; the newest word on the others counts."""
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.opened(opened("quick"))
        journal.opened(opened("slow"))
        journal.opened(opened("slow", accepted=1.5))
        journal.ended(ended("quick"))
        journal.flush()
        journal.ended(ended("slow"))
    assert read(path)[0] == [ended("quick"), opened("slow", accepted=1.5), ended("slow")]


def test_nothing_is_on_disk_before_a_flush_and_everything_after_closing(tmp_path: Path) -> None:
    """Batches are whole."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.ended(ended("a"))
    assert path.read_bytes() == b""
    journal.close()
    assert read(path)[0] == [ended("a")]


FILL = """
import resource, sys
from pathlib import Path
from harness.observation.journal import Journal
from harness.observation.observation import Observation, Outcome, Phase
import signal

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # write() then fails with EFBIG, as it does with ENOSPC on a full disk
limit, count = int(sys.argv[2]), int(sys.argv[3])
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited[1]))
journal = Journal(Path(sys.argv[1]))
refused = 0
for number in range(count):
    journal.ended(Observation(f"w{number}", "simple", "10", Phase.MEASURE, 1, 1.0, Outcome.OK, started=1.0, ended=2.0))
    if number % 3 == 0:
        try:
            journal.flush()
        except OSError:
            refused += 1
assert refused, "the disk never was full"
if sys.argv[4] == "freed":
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    journal.close()
else:
    try:
        journal.close()
    except OSError:
        sys.exit(7)
"""


def fill(path: Path, limit: int, after: str) -> int:
    """Write 50 observations in a process whose files may hold `limit` bytes; its exit code."""
    command = [sys.executable, "-c", FILL, str(path), str(limit), "50", after]
    return subprocess.run(command, check=False, timeout=60).returncode


@pytest.mark.parametrize("limit", [0, 100, 333, 1000])
def test_a_disk_that_was_full_for_a_while_costs_no_line(tmp_path: Path, limit: int) -> None:
    """Refused flushes are carried on where the disk stopped, even within a line."""
    path = tmp_path / "journal.jsonl"
    assert fill(path, limit, "freed") == 0
    lines, damage = read(path)
    assert lines == [ended(f"w{number}") for number in range(50)]
    assert damage == Damage()


def test_a_disk_that_stays_full_is_an_error_and_leaves_a_readable_journal(tmp_path: Path) -> None:
    """What was written before stands; the line that did not fit is torn."""
    path = tmp_path / "journal.jsonl"
    assert fill(path, 1000, "full") == 7
    lines, damage = read(path)
    assert path.stat().st_size == 1000
    assert lines == [ended(f"w{number}") for number in range(len(lines))]
    assert (len(lines) > 0, damage.torn, damage.unreadable) == (True, 1, 0)
