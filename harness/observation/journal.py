"""`journal.jsonl`: every arrival exactly once, appended in batches, readable after any crash.

A batch is one `write` to a file opened for appending, so lines of several processes never interleave and a process
that dies leaves at most one torn line, at the end of what it wrote.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeVar

import msgspec

from harness.observation.observation import JournalLine, LoadCheck, LoadWorker, Observation, Opened, PhaseMark

T = TypeVar("T")


class Sink(Protocol):
    """Where a journal's lines go."""

    def write(self, lines: bytes) -> int:
        """Take them, or the first so many bytes; how many. Raises OSError when it takes none."""

    def close(self) -> None:
        """There will be no more."""


class Appended:
    """A file that several processes may append to."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, lines: bytes) -> int:
        return os.write(self._fd, lines)

    def close(self) -> None:
        try:
            os.fsync(self._fd)
        finally:
            os.close(self._fd)


class Journal:
    """The writing end. Nothing is in its sink (for a path: on disk) before `flush`, which the owner calls several times
    a second.

    `opened` and `accepted` lines are written only for workflows that are still open at a flush: one that ended
    within the same batch is wholly told by its observation.
    """

    def __init__(self, sink: Path | Sink) -> None:
        self._sink = Appended(sink) if isinstance(sink, Path) else sink
        self._encoder = msgspec.json.Encoder()
        self._ready: list[bytes] = []
        self._open: dict[str, Opened] = {}
        self._unwritten = b""

    def opened(self, line: Opened) -> None:
        """This workflow was submitted, or accepted: the newest line for an id replaces the one not yet written."""
        self._open[line.id] = line

    def ended(self, observation: Observation) -> None:
        """This arrival is over."""
        self._open.pop(observation.id, None)
        self._ready.append(self._encoder.encode(observation))

    def note(self, line: PhaseMark | LoadCheck | LoadWorker) -> None:
        """A line about the level rather than about one workflow."""
        self._ready.append(self._encoder.encode(line))

    def told(self, lines: bytes) -> None:
        """Whole lines of another process's journal."""
        if lines:
            self._ready.append(lines.removesuffix(b"\n"))

    def flush(self) -> None:
        """Write everything noted since the last flush.

        Raises OSError when the disk refuses; what was not written stays, and the next flush goes on where the
        disk stopped, so no line is lost or doubled.
        """
        lines = self._ready + [self._encoder.encode(line) for line in self._open.values()]
        self._ready.clear()
        self._open.clear()
        if lines:
            lines.append(b"")
            self._unwritten += b"\n".join(lines)
        while self._unwritten:
            self._unwritten = self._unwritten[self._sink.write(self._unwritten) :]

    def close(self) -> None:
        """Write what is left and release the sink."""
        try:
            self.flush()
        finally:
            self._sink.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(slots=True)
class Damage:
    """What a reader could not use. A torn last line is what a killed process leaves; any other is damage."""

    torn: int = 0
    unreadable: int = 0


def read_journal(path: Path, damage: Damage) -> Iterator[JournalLine]:
    """The journal's lines in file order. Unreadable ones are counted in `damage`, not raised."""
    return read_lines(path, msgspec.json.Decoder(JournalLine), damage)


def read_lines(path: Path, decoder: msgspec.json.Decoder[T], damage: Damage) -> Iterator[T]:
    """The lines of a file of JSON lines, in file order, as `decoder` reads them; others are counted in `damage`."""
    decode = decoder.decode
    with path.open("rb") as file:
        for line in file:
            try:
                yield decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):  # msgspec raises the latter for a string of broken bytes
                if line.endswith(b"\n"):
                    damage.unreadable += 1
                else:
                    damage.torn += 1
