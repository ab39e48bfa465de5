"""The store that keeps documents in this process: for tests, runs without servers, and the floor of what state costs.

It obeys the whole of `StateStore`, including what a single process would not need (operation ids, tombstones), so
that an orchestrator that is right on it has a chance to be right on a real server.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from harness.store.store import OP_IDS_KEPT, Expired, Operation, Versioned, Write, WriteResult

TOMBSTONES_KEPT = 10_000
"""Expired documents remembered; the oldest is forgotten first, and then reads as never having been."""

# Results are immutable and most documents have few versions, so those share one object each.
_WRITTEN = tuple(WriteResult(ok=True, version=version) for version in range(64))


class _Document:
    """One document. `fields` is replaced, never changed, so a reader may keep what it was given."""

    __slots__ = ("expires_at", "fields", "results", "value", "version")

    def __init__(self, value: bytes) -> None:
        self.version = 0
        self.value = value
        self.fields: dict[str, bytes] = {}
        self.results: dict[str, WriteResult] = {}  # operation id -> what it was answered, oldest first
        self.expires_at = math.inf

    def written(self, op_id: str) -> WriteResult:
        """Count one more version and remember what its operation was answered."""
        self.version = version = self.version + 1
        result = _WRITTEN[version] if version < len(_WRITTEN) else WriteResult(ok=True, version=version)
        results = self.results
        results[op_id] = result
        if len(results) > OP_IDS_KEPT:
            del results[next(iter(results))]
        return result


class MemoryStore:
    """A `StateStore` in a dictionary.

    `clock` gives seconds and is what times to live are counted by. An expired document becomes a tombstone when it
    is next touched, or within about a second of any write, so finished workflows do not pile up.
    Only writes that took place are remembered by operation id: one that was refused changed nothing, and asking
    again gives the truth of now.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._documents: dict[str, _Document] = {}
        self._tombstones: OrderedDict[str, Expired] = OrderedDict()
        self._due: dict[int, list[str]] = {}  # whole second -> keys that may expire in it
        self._next_purge = -math.inf

    def __len__(self) -> int:
        """Documents held, tombstones not counted."""
        return len(self._documents)

    async def read(self, key: str) -> Versioned | Expired | None:
        """The document, its tombstone, or None when it never was (or its tombstone was forgotten)."""
        document = self._documents.get(key)
        if document is None or document.expires_at <= self._clock():
            self._expire(key)
            return self._tombstones.get(key)
        return Versioned(document.version, document.value, document.fields)

    async def write(
        self, key: str, value: bytes, *, if_version: int, op_id: str, ttl_s: float | None = None
    ) -> WriteResult:
        """Set the whole value if the version is `if_version`; 0 creates. A tombstone refuses every write.

        A write without `ttl_s` leaves the time to live as it was.
        """
        document = self._documents.get(key)
        if document is None or document.expires_at <= self._clock():
            self._expire(key)
            if if_version or key in self._tombstones:
                return self._refused(key)
            document = self._documents[key] = _Document(value)
        elif (seen := document.results.get(op_id)) is not None:
            return WriteResult(ok=seen.ok, version=seen.version, replayed=True)
        elif document.version != if_version:
            return WriteResult(ok=False, version=document.version)
        else:
            document.value = value
        if ttl_s is not None:
            self._expire_in(ttl_s, key, document)
        return document.written(op_id)

    async def merge(
        self, key: str, fields: Mapping[str, bytes], *, op_id: str, ttl_s: float | None = None
    ) -> WriteResult:
        """Set `fields`, keep the others; creates the document when there is none. A tombstone refuses it."""
        document = self._documents.get(key)
        if document is None or document.expires_at <= self._clock():
            self._expire(key)
            if key in self._tombstones:
                return self._refused(key)
            document = self._documents[key] = _Document(b"")
        elif (seen := document.results.get(op_id)) is not None:
            return WriteResult(ok=seen.ok, version=seen.version, replayed=True)
        document.fields = {**document.fields, **fields}
        if ttl_s is not None:
            self._expire_in(ttl_s, key, document)
        return document.written(op_id)

    async def batch(self, operations: Sequence[Operation]) -> list[WriteResult]:
        """One after the other, in order."""
        return [
            await self.write(each.key, each.value, if_version=each.if_version, op_id=each.op_id, ttl_s=each.ttl_s)
            if isinstance(each, Write)
            else await self.merge(each.key, each.fields, op_id=each.op_id, ttl_s=each.ttl_s)
            for each in operations
        ]

    def _refused(self, key: str) -> WriteResult:
        tombstone = self._tombstones.get(key)
        return WriteResult(ok=False, version=tombstone.version if tombstone else 0)

    def _expire_in(self, ttl_s: float, key: str, document: _Document) -> None:
        now = self._clock()
        document.expires_at = expires_at = now + ttl_s
        # Keys are noted by the second they expire in, so that purging looks only at those that may be due.
        second = int(expires_at)
        if second in self._due:
            self._due[second].append(key)
        else:
            self._due[second] = [key]
        if now >= self._next_purge:
            self._next_purge = now + 1.0
            self._purge(now)

    def _purge(self, now: float) -> None:
        for second in [second for second in self._due if second + 1 <= now]:
            for key in self._due.pop(second):
                document = self._documents.get(key)
                if document is not None and document.expires_at <= now:  # else its time to live was renewed
                    self._expire(key)

    def _expire(self, key: str) -> None:
        """Turn the document, if there is one, into its tombstone."""
        document = self._documents.pop(key, None)
        if document is not None:
            self._tombstones[key] = Expired(document.version)
            if len(self._tombstones) > TOMBSTONES_KEPT:
                self._tombstones.popitem(last=False)
