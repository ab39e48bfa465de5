"""Mistakes in a file a person wrote: where each lies, and how to name the way out."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the top of a document: `("workflow", 1, "weight")`."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something wrong at `path`. It rests on the values at `reads` (the path itself when empty): where one of those
    is itself mistaken, this mistake may be a mere consequence and is not reported."""

    path: KeyPath
    text: str
    reads: tuple[KeyPath, ...] = ()

    def rests_on(self, broken: Iterable[KeyPath]) -> bool:
        """Whether a value that this mistake was concluded from lies in, at or around one of `broken`."""
        return any(_overlap(read, other) for read in self.reads or (self.path,) for other in broken)


def _overlap(one: KeyPath, other: KeyPath) -> bool:
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]


def dotted(path: KeyPath) -> str:
    """The path as TOML people write it; list positions count from 0."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=not part.isprintable())
            text += f".{key}" if text else key
    return text


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` most likely stands for, if any is near."""
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)), None)


def unknown_key(key: str, known: Collection[str]) -> str:
    """The sentence for a key that its table does not have."""
    near = nearest(key, known)
    hint = f"; did you mean {near!r}?" if near else ""
    return f"unknown key{hint} (known: {', '.join(sorted(known))})"
