"""The writer of `calls.jsonl`: appended to in batches, so that a call costs no system call of its own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec

from harness.observation.llm import LlmCall

FLUSH_S = 0.2


class CallLog:
    """Appends lines; `failed` is set when the disk refuses one. Without a path nothing is written."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if path is not None else None
        self._encode = msgspec.json.Encoder().encode
        self._lines: list[bytes] = []
        self._due: asyncio.TimerHandle | None = None
        self.failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def add(self, call: LlmCall) -> None:
        """Take it down; it is in the file within FLUSH_S."""
        if self._fd is None:
            return
        self._lines.append(self._encode(call))
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Write what is held."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        lines, self._lines = self._lines, []
        if not lines or self._fd is None or self.failed.done():
            return
        rest = b"\n".join([*lines, b""])
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            self.failed.set_result(f"{self._path} cannot be written: {error.strerror}")

    def close(self) -> None:
        """Write what is held, and let go of the file."""
        self.flush()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
