"""The store that keeps documents in this process: for tests, runs without servers, and the floor of what state costs.

It obeys the whole of `StateStore`, including what a single process would not need (operation ids, tombstones), so
that an orchestrator that is right on it has a chance to be right on a real server.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import msgspec

from harness.store.store import OP_IDS_KEPT, Expired, Merge, Operation, Versioned, WriteResult, one_by_one

TOMBSTONES_KEPT = 10_000
"""Expired documents remembered at least; beyond it the oldest are forgotten, and then read as never having been."""

_WRITES_TO_PURGE_MIN = 1_000


class _Document(msgspec.Struct, eq=False):
    """One document. `fields` is replaced, never changed, so a reader may keep what it was given."""

    value: bytes
    version: int = 0
    fields: dict[str, bytes] = {}
    versions: dict[str, int] = {}  # operation id -> the version it made, oldest first
    expires_at: float = math.inf
    fence: int = 0

    def written(self, op_id: str, fence: int) -> WriteResult:
        """Count one more version and remember which operation made it."""
        self.fence = max(self.fence, fence)
        self.version = version = self.version + 1
        self.versions[op_id] = version
        if version > OP_IDS_KEPT:
            del self.versions[next(iter(self.versions))]
        return WriteResult(True, version)


class MemoryStore:
    """A `StateStore` in a dictionary.

    `clock` gives seconds and is what times to live are counted by. An expired document becomes a tombstone when it
    is next touched, or when a write looks through all documents; it does so after as many writes with a time to live
    as there are documents, so looking costs the same a write however many there are, and at most about twice the
    documents that are alive are kept. Only writes that took place are remembered by operation id: one that was
    refused changed nothing, and asking again gives the truth of now.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._documents: dict[str, _Document] = {}
        self._tombstones: dict[str, int] = {}  # key -> last version, oldest first
        self._writes_to_purge = _WRITES_TO_PURGE_MIN

    def __len__(self) -> int:
        """Documents held, expired ones included until they are found, tombstones not."""
        return len(self._documents)

    async def read(self, key: str) -> Versioned | Expired | None:
        """The document, its tombstone, or None when it never was (or its tombstone was forgotten)."""
        document = self._documents.get(key)
        if document is None or document.expires_at <= self._clock():
            self._bury(key)
            return Expired(self._tombstones[key]) if key in self._tombstones else None
        return Versioned(document.version, document.value, document.fields, document.fence)

    async def write(
        self, key: str, value: bytes, *, if_version: int, op_id: str, ttl_s: float | None = None, fence: int = 0
    ) -> WriteResult:
        """Set the whole value if the version is `if_version`; 0 creates. A tombstone refuses every write.

        A write without `ttl_s` leaves the time to live as it was.
        """
        document = self._documents.get(key)
        if document is None or document.expires_at <= self._clock():
            if document is not None:
                self._bury(key)
            if if_version or key in self._tombstones:
                return WriteResult(False, self._tombstones.get(key, 0))
            self._documents[key] = document = _Document(value)
        elif fence < document.fence and fence:
            return WriteResult(False, document.version, fenced=True)
        elif op_id in document.versions:
            return WriteResult(True, document.versions[op_id], True)
        elif document.version != if_version:
            return WriteResult(False, document.version)
        else:
            document.value = value
        if ttl_s is not None:
            self._expire_in(ttl_s, document)
        return document.written(op_id, fence)

    async def merge(
        self, key: str, fields: Mapping[str, bytes], *, op_id: str, ttl_s: float | None = None, fence: int = 0
    ) -> WriteResult:
        """Set `fields`, keep the others; creates the document when there is none. A tombstone refuses it."""
        return self._merged(key, fields, op_id, ttl_s, fence, None)

    async def batch(self, operations: Sequence[Operation]) -> list[WriteResult]:
        """One after the other, in order."""
        results: list[WriteResult] = []
        for each in operations:
            if isinstance(each, Merge) and each.if_version is not None:
                results.append(self._merged(each.key, each.fields, each.op_id, each.ttl_s, each.fence, each.if_version))
            else:
                results += await one_by_one(self, [each])
        return results

    def _merged(
        self, key: str, fields: Mapping[str, bytes], op_id: str, ttl_s: float | None, fence: int, if_version: int | None
    ) -> WriteResult:
        document = self._documents.get(key)
        if document is None or document.expires_at <= self._clock():
            self._bury(key)
            if key in self._tombstones:
                return WriteResult(False, self._tombstones[key])
            if if_version:
                return WriteResult(False, 0)
            self._documents[key] = document = _Document(b"")
        elif fence < document.fence and fence:
            return WriteResult(False, document.version, fenced=True)
        elif op_id in document.versions:
            return WriteResult(True, document.versions[op_id], True)
        elif if_version not in (None, document.version):
            return WriteResult(False, document.version)
        document.fields = {**document.fields, **fields}
        if ttl_s is not None:
            self._expire_in(ttl_s, document)
        return document.written(op_id, fence)

    async def claim(self, key: str, fence: int) -> Versioned | Expired | None:
        """Raise the fencing token and read."""
        found = await self.read(key)
        if not isinstance(found, Versioned) or found.fence >= fence:
            return found
        self._documents[key].fence = fence
        return msgspec.structs.replace(found, fence=fence)

    async def scan(self, prefix: str) -> list[tuple[str, Versioned]]:
        """Every living document below `prefix`, by key."""
        found = [(key, await self.read(key)) for key in sorted(self._documents) if key.startswith(prefix)]
        return [(key, document) for key, document in found if isinstance(document, Versioned)]

    async def close(self) -> None:
        """Nothing to give back."""

    def _expire_in(self, ttl_s: float, document: _Document) -> None:
        now = self._clock()
        document.expires_at = now + ttl_s
        self._writes_to_purge -= 1
        if self._writes_to_purge <= 0:
            self._purge(now)

    def _purge(self, now: float) -> None:
        """Bury what expired, and forget the oldest tombstones beyond TOMBSTONES_KEPT."""
        for key in [key for key, document in self._documents.items() if document.expires_at <= now]:
            self._bury(key)
        for key in list(islice(self._tombstones, max(0, len(self._tombstones) - TOMBSTONES_KEPT))):
            del self._tombstones[key]
        self._writes_to_purge = max(_WRITES_TO_PURGE_MIN, len(self._documents))

    def _bury(self, key: str) -> None:
        """Turn the document, if there is one, into its tombstone."""
        document = self._documents.pop(key, None)
        if document is not None:
            self._tombstones[key] = document.version
