"""Which line of a TOML file says what, so that a mistake can name its place.

tomllib keeps no positions. This reads the same text once more, only for its keys; it trusts that tomllib accepted it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.scenario.mistakes import KeyPath

DEPTH_MAX = 32  # keys nested deeper get the line of their ancestor

_TOKEN = re.compile(
    r"""
    (?P<string> \"{3}(?:[^\\]|\\.)*?\"{3,5} | '{3}.*?'{3,5} | "(?:[^"\\\n]|\\.)*" | '[^'\n]*' )
  | (?P<newline> \n )
  | (?P<skipped> \#[^\n]* | [ \t\r]+ )
  | (?P<mark> [\[\]{},=.] )
  | (?P<bare> [^\s\[\]{},=.\#"']+ )
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind != "skipped":
            yield _Token(kind, match[0], line)
        line += match[0].count("\n")
    yield _Token("end", "", line)


@dataclass(slots=True)
class KeyLines:
    """The line of every key path of one TOML text."""

    text: str
    _lines: dict[KeyPath, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._lines = _Scan(self.text).lines()

    def line(self, path: KeyPath) -> int | None:
        """The line that gives the value at `path`, or that of its nearest table; None when not even that is written."""
        for length in range(len(path), 0, -1):
            if (found := self._lines.get(path[:length])) is not None:
                return found
        return None


class _Scan:
    """One pass over the tokens. Every method leaves `self.at` on the first token it did not use."""

    def __init__(self, text: str) -> None:
        self.tokens = list(_tokens(text))
        self.at = 0
        self.found: dict[KeyPath, int] = {}
        self.last_items: dict[KeyPath, int] = {}  # array of tables -> position of its last item

    def lines(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._here.kind != "end":
            if self._here.kind == "newline":
                self.at += 1
            elif self._here.text == "[":
                table = self._header()
            else:
                self._pair(table)
        return self.found

    @property
    def _here(self) -> _Token:
        return self.tokens[self.at]

    def _record(self, path: KeyPath, line: int) -> None:
        for length in range(1, min(len(path), DEPTH_MAX) + 1):
            self.found.setdefault(path[:length], line)

    def _header(self) -> KeyPath:
        line = self._here.line
        is_array = self.tokens[self.at + 1].text == "["
        self.at += 2 if is_array else 1
        path: KeyPath = ()
        keys = self._key()
        for position, key in enumerate(keys, 1):
            path += (key,)
            if is_array and position == len(keys):
                self.last_items[path] = self.last_items.get(path, -1) + 1
            if path in self.last_items:
                path += (self.last_items[path],)
        self.at += 2 if is_array else 1
        self._record(path, line)
        return path

    def _key(self) -> tuple[str, ...]:
        """A dotted key, up to its `=` or `]`."""
        parts: list[str] = []
        while self._here.text not in ("=", "]"):
            token = self._here
            if token.kind == "string":
                parts.append(tomllib.loads(f"key = {token.text}")["key"])
            elif token.kind == "bare":
                parts.append(token.text)
            self.at += 1
        return tuple(parts)

    def _pair(self, table: KeyPath) -> None:
        line = self._here.line
        path: KeyPath = (*table, *self._key())
        self._record(path, line)
        self.at += 1  # the equals sign
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        if len(path) <= DEPTH_MAX:
            self.found.setdefault(path, self._here.line)
        if self._here.text in ("[", "{"):
            self._container(path, close="]" if self._here.text == "[" else "}")
            return
        while self._here.kind not in ("newline", "end") and self._here.text not in (",", "]", "}"):
            self.at += 1

    def _container(self, path: KeyPath, *, close: str) -> None:
        self.at += 1
        position = 0
        while self._here.text != close:
            if self._here.kind == "newline":
                self.at += 1
            elif self._here.text == ",":
                position += 1
                self.at += 1
            elif close == "]":
                self._value((*path, position))
            else:
                self._pair(path)
        self.at += 1
