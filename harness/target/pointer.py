"""JSON pointers (RFC 6901): how a scenario names a place in a reply."""

from __future__ import annotations

import re
from typing import Any, Final

from harness.errors import UsageError

_INDEX = re.compile(r"0|[1-9][0-9]*")
_BAD_ESCAPE = re.compile(r"~(?![01])")


class Missing:
    """The type of `MISSING`: what a pointer finds where there is nothing, which is not the same as null."""

    def __repr__(self) -> str:
        return "nothing"


MISSING: Final = Missing()


class Pointer:
    """A parsed pointer. Raises UsageError for text that is not one."""

    __slots__ = ("_keys", "text")

    def __init__(self, text: str) -> None:
        if (text and not text.startswith("/")) or _BAD_ESCAPE.search(text):
            raise UsageError(
                f"{text!r} is not a JSON pointer: write '/key/0' ('' is the whole; in a key '~0' is '~', '~1' is '/')"
            )
        self.text = text
        # "~1" before "~0", as the RFC demands: "~01" is the key "~1", not "/".
        self._keys = tuple(key.replace("~1", "/").replace("~0", "~") for key in text.split("/")[1:])

    def find(self, document: Any) -> Any:
        """What the pointer points to in a decoded JSON document, or MISSING."""
        found = document
        for key in self._keys:
            if isinstance(found, dict):
                found = found.get(key, MISSING)
            elif isinstance(found, list) and _INDEX.fullmatch(key) and int(key) < len(found):
                found = found[int(key)]
            else:
                return MISSING
        return found
