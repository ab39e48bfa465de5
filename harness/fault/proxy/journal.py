"""The proxy's journal: what fired, in the file before it has an effect."""

from __future__ import annotations

import asyncio
import os
import time

import msgspec

from harness.fault.proxy.config import Firing


class Journal:
    """Appends a line a firing. `failed` is done, with why, when the disk refuses."""

    def __init__(self, path: str, t0: float) -> None:
        """Raises OSError."""
        self.failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if path else None
        self._t0 = t0
        self._encode = msgspec.json.Encoder().encode

    def write(self, proxy: str, toxic: str, type_: str, connection: int, request: int, what: str) -> None:
        """One line, in one write of the system's: it is there also if we are killed in the next moment."""
        if self._fd is None:
            return
        line = Firing(
            at=time.monotonic() - self._t0,
            proxy=proxy,
            toxic=toxic,
            type=type_,
            connection=connection,
            request=request,
            what=what,
        )
        try:
            os.write(self._fd, self._encode(line) + b"\n")
        except OSError as error:
            if not self.failed.done():
                self.failed.set_result(f"the journal of the proxy cannot be written: {error.strerror}")

    def close(self) -> None:
        """Nothing more is written."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
