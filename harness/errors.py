"""The errors of the harness, in one tree, and the words for mistakes in what a person wrote.

An error says what the CLI may conclude from it: `UsageError` is exit code 2, `TargetUnavailable` 3, anything else
of the tree 4. A `TargetError` never reaches the CLI: it is the outcome of one workflow.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class HarnessError(Exception):
    """Anything the harness itself reports; the message is written for the person at the terminal."""


class UsageError(HarnessError):
    """What was asked for cannot be done as written. Holds every mistake found, not only the first."""

    def __init__(self, mistakes: str | Sequence[str]) -> None:
        self.mistakes: tuple[str, ...] = (mistakes,) if isinstance(mistakes, str) else tuple(mistakes)
        super().__init__("\n".join(self.mistakes))


class TargetUnavailable(HarnessError):
    """The system under test could not be reached or started: nothing was measured."""


class ServiceUnavailable(TargetUnavailable):
    """A real server that the run needs could not be found, started or used: nothing was measured."""


class RunInvalid(HarnessError):
    """A run's files cannot be judged: missing, damaged beyond a torn tail, or of another schema version."""


class TargetError(HarnessError):
    """One workflow did not succeed.

    `definite` tells whether it certainly did not take effect: True becomes outcome `failed`, False `unknown`
    (a timeout or a cut connection may have happened on the other side). `error_class` is a short stable word
    that reports count by.
    """

    def __init__(self, message: str, *, definite: bool, error_class: str) -> None:
        super().__init__(message)
        self.definite = definite
        self.error_class = error_class


class Rejected(TargetError):
    """The target's admission queue was full, or it sheds load: definitely not started, safe to submit again after
    `retry_after_s`. `reason` says which; left out, the queue was full."""

    def __init__(self, *, retry_after_s: float, queue_depth: int, reason: str = "") -> None:
        self.reason = reason or f"admission queue full at depth {queue_depth}"
        super().__init__(f"{self.reason}; retry after {retry_after_s:g} s", definite=True, error_class="rejected")
        self.retry_after_s = retry_after_s
        self.queue_depth = queue_depth


class VersionConflict(HarnessError):
    """A compare-and-set found another version than the one it was given."""

    def __init__(self, key: str, *, expected: int, actual: int) -> None:
        super().__init__(f"{key}: version {actual}, not {expected}")
        self.key = key
        self.expected = expected
        self.actual = actual


NAMES_MAX = 30
"""A longer list hides what it says."""
NAMES_NEAR = 8


def unknown_name(what: str, name: str, known: Iterable[str]) -> str:
    """One sentence for a name nobody knows: the nearest known one first, then all of them, or the nearest of many."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    if len(names) > NAMES_MAX:
        some = difflib.get_close_matches(name, names, n=NAMES_NEAR, cutoff=0.0)
        return f"{what} {name!r} is unknown{hint} (the nearest of {len(names)}: {', '.join(some)})"
    return f"{what} {name!r} is unknown{hint} (known: {', '.join(names) or 'none'})"
