"""The shared state of workflows: `StateStore`, its values, and the store that keeps them in memory.

A document has a version, one whole `value` and any number of `fields`; all are opaque bytes, never decoded here.
Every write carries an operation id. A document keeps its last `OP_IDS_KEPT` operation ids with their results, so a
write that is sent again (because its reply was lost) is recognised and answered as the first time.
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


@dataclass(frozen=True, slots=True)
class Expired:
    """The document was here and its time to live ran out: not the same as never having been."""

    version: int


class WriteResult(msgspec.Struct, frozen=True, gc=False):
    """`ok` is False on a version conflict; `version` is then the one found (0 when there is none)."""

    ok: bool
    version: int
    replayed: bool = False  # this operation id was seen before; nothing was written now


@dataclass(frozen=True, slots=True)
class Write:
    """Set the whole value if the document has this version; `if_version=0` creates. Fields are kept."""

    key: str
    value: bytes
    if_version: int
    op_id: str
    ttl_s: float | None = None


@dataclass(frozen=True, slots=True)
class Merge:
    """Set fields one by one, whatever the version; creates the document when there is none. Renews the TTL if given."""

    key: str
    fields: Mapping[str, bytes]
    op_id: str
    ttl_s: float | None = None


Operation = Write | Merge


class StoreUnavailable(HarnessError):
    """The store did not answer. Whether a write took place is unknown; its operation id makes it safe to repeat."""


class StateStore(Protocol):
    """Versioned documents shared by concurrent workflows. A result, not an exception, tells of a conflict.

    Every operation may raise `StoreUnavailable`. A tombstone refuses every write, also one that gives its version.
    """

    async def read(self, key: str) -> Versioned | Expired | None:
        """The document, its tombstone, or None when it never was."""

    async def write(
        self, key: str, value: bytes, *, if_version: int, op_id: str, ttl_s: float | None = None
    ) -> WriteResult:
        """Compare and set."""

    async def merge(
        self, key: str, fields: Mapping[str, bytes], *, op_id: str, ttl_s: float | None = None
    ) -> WriteResult:
        """Set fields, server-side, without reading first. On an expired document it fails: `ok` is False."""

    async def batch(self, operations: Sequence[Operation]) -> list[WriteResult]:
        """The results of all operations, in order; not a transaction."""
