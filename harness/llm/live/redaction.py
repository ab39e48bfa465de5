"""Taking secrets out of what is to be kept: keys by their very values, and whatever has the form of one."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

REMOVED = "[removed]"

# A key begins a word; in JSON's bytes an escaped line break may stand before it.
_BEGINS = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
_FORMS = (
    _BEGINS + r"sk-[A-Za-z0-9_*-]{8,}",  # OpenAI, Anthropic; with stars as their own error messages show them
    r"(?i:bearer)\s+[A-Za-z0-9._~+/=-]{8,}",
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?",  # JSON Web Token
    _BEGINS + r"(?:AKIA|ASIA)[A-Z0-9]{16}\b",  # AWS access key
    _BEGINS
    + r"(?:gh[pousr]_[A-Za-z0-9]{20,}|xox[abeprs]-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{30,})",  # GitHub, Slack, Google
)
_NAMES = r"(?:x-)?api[_-]?key|secret(?:[_-]?(?:access)?[_-]?key)?|password|passwd|(?:access|auth|refresh)[_-]?token"
# The name stays, so that what is kept still says what it was. Quotes may be escaped: JSON within JSON.
_NAMED = rf"(?i:{_NAMES})(?:\\*[\"'])?\s*[:=]\s*(?:\\*[\"'])?(?P<value>[^\s\"'\\,;}}&]{{6,}})"
_NAME_ALONE = re.compile(rf"(?i)(?:.*[_-])?(?:{_NAMES}|authorization)")


class Redaction:
    """What is secret here: `known` values and the usual forms."""

    def __init__(self, known: Collection[str]) -> None:
        # The longest first: one key may begin as another does.
        values = [re.escape(value) for value in sorted(known, key=len, reverse=True) if value]
        self._whole = re.compile("|".join([*values, *_FORMS]))
        self._named = re.compile(_NAMED)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where the secrets lie, in order and apart."""
        found = [match.span() for match in self._whole.finditer(text)]
        found += [match.span("value") for match in self._named.finditer(text) if match["value"] != REMOVED]
        merged: list[tuple[int, int]] = []
        for start, end in sorted(found):
            if merged and start < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def text(self, text: str) -> str:
        """Without its secrets."""
        return self.pieces([text])[0]

    def pieces(self, pieces: Sequence[str]) -> list[str]:
        """The same for a text in pieces: a secret that lies across several goes out of all, its mark into the first."""
        spans = self.spans("".join(pieces))
        kept, begin = [], 0
        for piece in pieces:
            end, at, parts = begin + len(piece), begin, []
            for start, stop in spans:
                if stop <= begin or start >= end:
                    continue
                parts.append(piece[at - begin : max(start, begin) - begin])
                if start >= begin:
                    parts.append(REMOVED)
                at = min(stop, end)
            parts.append(piece[at - begin :])
            kept.append("".join(parts))
            begin = end
        return kept

    def json(self, value: Any) -> Any:
        """A JSON value without secrets in its strings, its names, and behind names that say so."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.json(each) for each in value]
        if isinstance(value, dict):
            return {
                self.text(name): REMOVED if isinstance(each, str) and _NAME_ALONE.fullmatch(name) else self.json(each)
                for name, each in value.items()
            }
        return value
