"""What the stores on real servers share: names that fit both, and numbers as their servers take them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from harness.errors import UsageError
from harness.store.store import Expired, Versioned, WriteResult

OPERATIONS_A_BATCH = 128
"""How many operations travel to a server together at most, so that none of them waits long for the others."""

_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{1,63}")
_RESULTS = {
    0: lambda version: WriteResult(True, version),
    1: lambda version: WriteResult(False, version),
    2: lambda version: WriteResult(True, version, replayed=True),
    3: lambda version: WriteResult(False, version, fenced=True),
}
Item = TypeVar("Item")


def check_namespace(namespace: str) -> str:
    """One that is a prefix of Redis keys and a PostgreSQL schema alike. Raises UsageError."""
    if not _NAMESPACE.fullmatch(namespace) or namespace.startswith("pg_"):
        raise UsageError(
            f"namespace {namespace!r}: 1 to 63 letters, digits, '_', '.' and '-', and not beginning with pg_"
        )
    return namespace


def result_of(code: int) -> WriteResult:
    """What our server-side code answers: the version times 4, plus 0 done, 1 refused, 2 done before, 3 fenced."""
    return _RESULTS[code & 3](code >> 2)


def found_document(row: Mapping[str, Any]) -> Versioned | Expired:
    """Of a row of PostgreSQL's."""
    if row["ended"]:
        return Expired(row["version"])
    fields = zip(row["names"] or (), row["contents"] or (), strict=True)
    return Versioned(row["version"], row["value"], {name.decode(): value for name, value in fields}, row["fence"])


def microseconds(seconds: float) -> int:
    """As whole microseconds: exact in a double on every side for any date."""
    return round(seconds * 1e6)


def now_us(clock: Callable[[], float] | None) -> int | None:
    """The clock that was given; None is the server's own."""
    return None if clock is None else microseconds(clock())


def chunks(items: Sequence[Item], size: int = OPERATIONS_A_BATCH) -> Iterator[Sequence[Item]]:
    """Of `size`, the last one shorter."""
    for at in range(0, len(items), size):
        yield items[at : at + size]
