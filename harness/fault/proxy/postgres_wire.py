"""PostgreSQL's protocol 3 as far as it takes to find a COMMIT and the ReadyForQuery that answers it.

From its documentation, "Message Formats". A *cycle* is what one ReadyForQuery ends: a simple query, a function call,
or all up to a Sync; the startup is the first.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from harness.fault.proxy.speech import Strange

READ_BYTES_MAX = 64 * 2**10
"""A message that is longer is not looked into."""
MESSAGE_BYTES_MAX = 2**30
SSL_REQUEST, GSS_REQUEST = 80877103, 80877104
COMMITS = re.compile(rb"(?:^|;)\s*(?:COMMIT|END)\b(?!\s+PREPARED)[^;]*;?\s*$", re.IGNORECASE)
BEGINS = re.compile(rb"\s*(?:BEGIN|START)\b", re.IGNORECASE)
LOOKED_INTO = frozenset(b"QPBEC")
ENDS_CYCLE = frozenset(b"QSF")
CARRIES_OUT = frozenset(b"QE")
IDLE = ord("I")


class Met(NamedTuple):
    """A message of the client's."""

    offset: int
    ends_cycle: bool
    commits: bool
    is_alone: bool = False  # carries something out, outside of a transaction, so that it commits by itself


class Questions:
    """Reads the client's stream."""

    def __init__(self) -> None:
        self._skip = 0
        self._is_started = False
        self._statements: dict[bytes, bool] = {}  # name -> it is a COMMIT
        self._portals: dict[bytes, bool] = {}
        self.in_transaction = False  # as the server said last
        self._begins = False  # the message is one that begins a transaction
        self.single_bytes = 0  # answers that come that are one byte long, to a wish for encryption

    def read(self, buffer: bytes) -> tuple[list[Met], int]:
        """The messages that begin in it, and up to where the bytes are understood. Raises Strange."""
        met: list[Met] = []
        at, size = 0, len(buffer)
        while at < size:
            if self._skip:
                step = min(self._skip, size - at)
                self._skip -= step
                at += step
                continue
            message = self._message(buffer, at) if self._is_started else self._startup(buffer, at)
            if message is None:
                break
            met.append(message[0])
            at = message[1]
        return met, at

    def _startup(self, buffer: bytes, at: int) -> tuple[Met, int] | None:
        if buffer[at] != 0:  # its length comes first; TLS begins with 0x16
            raise Strange
        if len(buffer) < at + 8:
            return None
        length, code = (int.from_bytes(buffer[at + begin : at + begin + 4]) for begin in (0, 4))
        if code in (SSL_REQUEST, GSS_REQUEST) and length == 8:
            self.single_bytes += 1
            return Met(at, False, False), at + 8
        if code >> 16 != 3 or not 8 <= length <= READ_BYTES_MAX:
            raise Strange  # a cancellation is all that its connection says
        self._is_started = True
        self._skip = length - 8
        return Met(at, True, False), at + 8

    def _message(self, buffer: bytes, at: int) -> tuple[Met, int] | None:
        if len(buffer) < at + 5:
            return None
        kind, length = buffer[at], int.from_bytes(buffer[at + 1 : at + 5])
        if not 4 <= length <= MESSAGE_BYTES_MAX:
            raise Strange
        commits = self._begins = False
        if kind in LOOKED_INTO and length <= READ_BYTES_MAX:
            if len(buffer) < at + 1 + length:
                return None
            commits = self._look(kind, buffer[at + 5 : at + 1 + length])
        self._skip = length + 1 - 5
        is_alone = kind in CARRIES_OUT and not (self.in_transaction or commits or self._begins)
        return Met(at, kind in ENDS_CYCLE, commits, is_alone), at + 5

    def _look(self, kind: int, body: bytes) -> bool:
        """Remember what statements and portals are; whether this message carries out a COMMIT."""
        first, _, rest = body.partition(b"\0")
        if kind == 0x51:  # Query
            self._begins = BEGINS.match(first) is not None
            return COMMITS.search(first) is not None
        if kind == 0x50:  # Parse: name, query
            self._statements[first] = COMMITS.search(rest.partition(b"\0")[0]) is not None
        elif kind == 0x42:  # Bind: portal, statement
            self._portals[first] = self._statements.get(rest.partition(b"\0")[0], False)
        elif kind == 0x45:  # Execute: portal
            return self._portals.get(first, False)
        elif kind == 0x43:  # Close: S or P, then the name
            (self._statements if first[:1] == b"S" else self._portals).pop(first[1:], None)
        return False


class Answers:
    """Reads the server's stream."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._skip = 0
        self._is_ready = False  # the message that is passing is ReadyForQuery

    def read(self, buffer: bytes) -> tuple[list[int], int]:
        """Where each cycle ends, and up to where the bytes are understood. Raises Strange."""
        ends: list[int] = []
        at, size = 0, len(buffer)
        while at < size:
            if self._skip:
                step = min(self._skip, size - at)
                self._skip -= step
                at += step
                if self._is_ready and not self._skip:
                    self._is_ready = False
                    self._questions.in_transaction = buffer[at - 1] != IDLE
                    ends.append(at)
            elif self._questions.single_bytes and buffer[at] in b"SNG":
                if buffer[at] != 0x4E:  # "N": not encrypted
                    raise Strange
                self._questions.single_bytes -= 1
                at += 1
            else:
                if size < at + 5:
                    break
                length = int.from_bytes(buffer[at + 1 : at + 5])
                if not 4 <= length <= MESSAGE_BYTES_MAX:
                    raise Strange
                self._is_ready = buffer[at] == 0x5A
                self._skip = length + 1 - 5
                at += 5
        return ends, at
