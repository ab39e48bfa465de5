"""The shared state of workflows: `StateStore`, its values, and the store that keeps them in memory.

A document has a version, one whole `value` and any number of `fields`; all are opaque bytes, never decoded here.
Every write carries an operation id. A document keeps its last `OP_IDS_KEPT` operation ids with their results, so a
write that is sent again (because its reply was lost) is recognised and answered as the first time.

A document also keeps the highest fencing token it was written or claimed with: a write with a lower one comes from
an owner that was replaced (it was paused, say, and never knew) and is refused. Token 0 is no token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from harness.errors import HarnessError

OP_IDS_KEPT = 256


class Versioned(msgspec.Struct, frozen=True, gc=False):
    """A document as read. Version 1 is the first write."""

    version: int
    value: bytes
    fields: Mapping[str, bytes]
    fence: int = 0  # the highest fencing token it was written or claimed with
    provisional: bool = False  # from memory, because the store is away: not authoritative


@dataclass(frozen=True, slots=True)
class Expired:
    """The document was here and its time to live ran out: not the same as never having been."""

    version: int


class WriteResult(msgspec.Struct, frozen=True, gc=False):
    """`ok` is False on a version conflict; `version` is then the one found (0 when there is none)."""

    ok: bool
    version: int
    replayed: bool = False  # this operation id was seen before; nothing was written now
    fenced: bool = False  # refused because a newer owner claimed the document
    provisional: bool = False  # kept in memory only, because the store is away: not authoritative


@dataclass(frozen=True, slots=True)
class Write:
    """Set the whole value if the document has this version; `if_version=0` creates. Fields are kept."""

    key: str
    value: bytes
    if_version: int
    op_id: str
    ttl_s: float | None = None
    fence: int = 0


@dataclass(frozen=True, slots=True)
class Merge:
    """Set fields one by one; creates the document when there is none. Renews the TTL if given.

    `if_version` is for whoever follows another store: only if the document has this version, and whatever it has when
    left out.
    """

    key: str
    fields: Mapping[str, bytes]
    op_id: str
    ttl_s: float | None = None
    fence: int = 0
    if_version: int | None = None


Operation = Write | Merge


class StoreUnavailable(HarnessError):
    """The store did not answer. Whether a write took place is unknown; its operation id makes it safe to repeat."""


class StateStore(Protocol):
    """Versioned documents shared by concurrent workflows. A result, not an exception, tells of a conflict.

    Every operation may raise `StoreUnavailable`. A write is looked at in this order: a tombstone refuses it, also one
    that gives its version; a `fence` lower than the document's refuses it, also one that was done before; an
    operation id that was seen before answers as then; and last the version decides.
    """

    async def read(self, key: str) -> Versioned | Expired | None:
        """The document, its tombstone, or None when it never was."""

    async def write(
        self, key: str, value: bytes, *, if_version: int, op_id: str, ttl_s: float | None = None, fence: int = 0
    ) -> WriteResult:
        """Compare and set."""

    async def merge(
        self, key: str, fields: Mapping[str, bytes], *, op_id: str, ttl_s: float | None = None, fence: int = 0
    ) -> WriteResult:
        """Set fields, server-side, without reading first. On an expired document it fails: `ok` is False."""

    async def batch(self, operations: Sequence[Operation]) -> list[WriteResult]:
        """The results of all operations, in order; not a transaction."""

    async def claim(self, key: str, fence: int) -> Versioned | Expired | None:
        """Raise the document's fencing token to `fence`, and read it, in one step; its version stays.

        One that has a higher token already is returned as it is: whoever asked is the one that was replaced.
        """

    async def scan(self, prefix: str) -> list[tuple[str, Versioned]]:
        """Every document that is alive and whose key begins with `prefix`, by key."""

    async def close(self) -> None:
        """Give back connections. The documents stay."""


async def one_by_one(store: StateStore, operations: Sequence[Operation]) -> list[WriteResult]:
    """A `batch` of a store that has nothing better: each operation by itself, in order. None may be a mirror's."""
    assert not any(isinstance(each, Merge) and each.if_version is not None for each in operations)
    return [
        await store.write(
            each.key, each.value, if_version=each.if_version, op_id=each.op_id, ttl_s=each.ttl_s, fence=each.fence
        )
        if isinstance(each, Write)
        else await store.merge(each.key, each.fields, op_id=each.op_id, ttl_s=each.ttl_s, fence=each.fence)
        for each in operations
    ]
