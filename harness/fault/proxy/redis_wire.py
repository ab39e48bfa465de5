"""Redis's protocol (RESP2 and RESP3) as far as it takes to tell commands and replies apart, wherever reads cut them."""

from __future__ import annotations

from typing import NamedTuple

from harness.fault.proxy.speech import Strange

HEAD_BYTES_MAX = 64 * 2**10
"""Of a command so much is held back at most, to see its name and key."""
SCRIPTS = frozenset({b"EVAL", b"EVALSHA", b"EVAL_RO", b"EVALSHA_RO", b"FCALL", b"FCALL_RO"})
SECRET = frozenset({b"AUTH", b"HELLO"})
_LINES = frozenset(b"+-:_,#(")
_BULKS = frozenset(b"$!=")
_LISTS = frozenset(b"*~>")


class Command(NamedTuple):
    """What rules go by; `key` is None where it is not known."""

    name: str
    key: str | None


class Commands:
    """Reads the client's stream."""

    def __init__(self) -> None:
        self._skip = 0  # bytes left of the argument that is passing
        self._arguments = 0  # left of the command that is passing

    def read(self, buffer: bytes) -> tuple[list[tuple[int, Command]], int]:
        """Where each command begins, and up to where the bytes are understood; the rest is to come again with more.

        Raises Strange.
        """
        marks: list[tuple[int, Command]] = []
        at, size = 0, len(buffer)
        while at < size:
            if self._skip:
                step = min(self._skip, size - at)
                self._skip -= step
                at += step
            elif self._arguments:
                line = buffer.find(b"\r\n", at)
                if line < 0:
                    break
                self._skip = _length(buffer, at, line) + 2
                self._arguments -= 1
                at = line + 2
            else:
                head = _head(buffer, at)
                if head is None:
                    break
                command, after, self._arguments = head
                if command is not None:
                    marks.append((at, command))
                at = after
        return marks, at


class Replies:
    """Reads the server's stream."""

    def __init__(self) -> None:
        self._skip = 0
        self._values = 0  # left of the reply that is passing
        self.is_push = False  # what is passing is no reply

    def read(self, buffer: bytes) -> tuple[list[tuple[int, bool]], int]:
        """Where each reply ends, and whether it is one (and no push); and up to where the bytes are understood.

        Raises Strange.
        """
        ends: list[tuple[int, bool]] = []
        at, size = 0, len(buffer)
        while at < size:
            if self._skip:
                step = min(self._skip, size - at)
                self._skip -= step
                at += step
            else:
                line = buffer.find(b"\r\n", at)
                if line < 0:
                    if size - at > HEAD_BYTES_MAX:
                        raise Strange
                    break
                self._value(buffer, at, line)
                at = line + 2
            if not self._skip and not self._values:
                ends.append((at, not self.is_push))
        return ends, at

    def _value(self, buffer: bytes, at: int, line: int) -> None:
        """One more is here, or its beginning."""
        kind = buffer[at]
        if not self._values:
            self._values = 1
            self.is_push = kind == 0x3E
        self._values -= 1
        if kind in _LINES:
            return
        count = _number(buffer[at + 1 : line])
        if kind in _BULKS:
            self._skip = count + 2 if count >= 0 else 0
        elif kind in _LISTS:
            self._values += max(0, count)
        elif kind == 0x25:  # a map
            self._values += 2 * count
        elif kind == 0x7C:  # attributes of the value that follows
            self._values += 2 * count + 1
        else:
            raise Strange


def _head(buffer: bytes, begin: int) -> tuple[Command | None, int, int] | None:
    """A command's name and key, where its further arguments begin and how many there are; None: more is needed."""
    if buffer[begin] != 0x2A:
        return _inline(buffer, begin)
    line = buffer.find(b"\r\n", begin)
    if line < 0:
        if len(buffer) - begin > 32:
            raise Strange
        return None
    count, at = _number(buffer[begin + 1 : line]), line + 2
    words: list[bytes] = []
    wanted = min(count, 2)
    while len(words) < wanted:
        line = buffer.find(b"\r\n", at)
        if line < 0:
            return None
        length = _length(buffer, at, line)
        if length > HEAD_BYTES_MAX:
            break
        if len(buffer) < line + length + 4:
            return None
        words.append(buffer[line + 2 : line + 2 + length])
        at = line + length + 4
        if len(words) == 1 and words[0].upper() in SCRIPTS:
            wanted = min(count, 4)
    return (_command(words) if count > 0 else None), at, max(0, count - len(words))


def _inline(buffer: bytes, begin: int) -> tuple[Command | None, int, int] | None:
    line = buffer.find(b"\n", begin)
    if line < 0:
        if len(buffer) - begin > HEAD_BYTES_MAX or not buffer[begin : begin + 1].isalpha():
            raise Strange
        return None
    words = buffer[begin:line].split()
    return (_command(words) if words else None), line + 1, 0


def _command(words: list[bytes]) -> Command:
    name = words[0].upper() if words else b""
    key: bytes | None = None
    if name in SCRIPTS:
        key = words[3] if len(words) > 3 and words[2] != b"0" else None
    elif name not in SECRET and len(words) > 1:
        key = words[1]
    return Command(name.decode(errors="replace"), None if key is None else key.decode(errors="replace"))


def _length(buffer: bytes, at: int, line: int) -> int:
    if buffer[at] != 0x24:
        raise Strange
    return _number(buffer[at + 1 : line])


def _number(digits: bytes) -> int:
    try:
        return int(digits)
    except ValueError:
        raise Strange from None
