"""What this process knows and does while its store is away, and what the store is to be given afterwards."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

import msgspec

from harness.store.encoding import OPERATIONS_A_BATCH
from harness.store.memory import MemoryStore
from harness.store.shadows import Shadow, Shadows, size_of
from harness.store.store import OP_IDS_KEPT, Expired, Operation, StoreUnavailable, Versioned, Write, WriteResult

_CLAIM_BYTES = 300
_ENDED_S = 0.001  # a time to live that has run out is given as this: there is no less


@dataclass(frozen=True, slots=True)
class Claim:
    """Raise the document's fencing token."""

    key: str
    fence: int


@dataclass(frozen=True, slots=True)
class Held:
    """Something that was answered from memory, to be done to the store when it is back."""

    what: Operation | Claim
    version: int  # the document's, after it
    at: float  # seconds of our clock
    size: int  # bytes, about

    def again(self, now_s: float) -> Operation:
        """The operation, with what is left of the time to live that it gave."""
        assert not isinstance(self.what, Claim), "claims are not operations"
        if self.what.ttl_s is None:
            return self.what
        return replace(self.what, ttl_s=max(_ENDED_S, self.what.ttl_s - (now_s - self.at)))


class _Memory(MemoryStore):
    """A `MemoryStore` that can begin with documents of another store, and give them back."""

    def __contains__(self, key: str) -> bool:
        return key in self._documents or key in self._tombstones

    async def adopt(self, key: str, shadow: Shadow) -> None:
        """Have the document as the other store had it."""
        await self.merge(key, shadow.fields, op_id="", fence=shadow.fence)
        document = self._documents[key]
        document.version = shadow.version
        document.value = shadow.value
        document.expires_at = shadow.expires_at
        # One id leaves for each that comes once the version is beyond OP_IDS_KEPT: as many must be there.
        padding = min(shadow.version, OP_IDS_KEPT) - len(shadow.op_ids)
        document.versions = {f"\0{number}": 0 for number in range(padding)} | shadow.op_ids

    def remove(self, key: str) -> None:
        """As if it had never been here."""
        self._documents.pop(key, None)
        self._tombstones.pop(key, None)

    def living(self) -> Iterator[tuple[str, Shadow]]:
        """Every document that has not been found expired."""
        for key, document in self._documents.items():
            op_ids = {op_id: version for op_id, version in document.versions.items() if version}
            yield (
                key,
                Shadow(document.version, document.value, document.fields, document.fence, document.expires_at, op_ids),
            )


class Absence:
    """Copies of what the store said, the documents written without it, and the order they were written in.

    Bounded by `documents_max` and `bytes_max`, each for the copies and for what is held; nothing that is held is ever
    dropped. No method suspends, so what one does is done at one moment. `why` the store is away begins each refusal.
    """

    def __init__(self, *, documents_max: int, bytes_max: int, clock: Callable[[], float]) -> None:
        self._documents_max = documents_max
        self._bytes_max = bytes_max
        self._clock = clock
        self._shadows = Shadows(documents_max=documents_max, bytes_max=bytes_max)
        self._memory = _Memory(clock=clock)
        self._held: deque[Held] = deque()
        self._bytes = 0
        self._moved: set[str] = set()  # documents that are not in the store as they are in memory
        self.why = ""

    def __len__(self) -> int:
        """Writes and claims that are held."""
        return len(self._held)

    def saw(self, key: str, found: Versioned | Expired | None) -> None:
        """The store answered a read or a claim."""
        if key not in self._memory:
            self._shadows.saw(key, found)

    def wrote(
        self,
        key: str,
        content: bytes | Mapping[str, bytes],
        op_id: str,
        ttl_s: float | None,
        fence: int,
        result: WriteResult,
    ) -> None:
        """The store answered a write of a value, or a merge of fields."""
        if key not in self._memory:
            expires_at = None if ttl_s is None else self._clock() + ttl_s
            self._shadows.wrote(key, content, op_id, fence, expires_at, result)

    async def hold(self, operation: Operation) -> WriteResult:
        """Do it in memory. Raises `StoreUnavailable` when there is no room, or a write rests on what is not known."""
        key = operation.key
        if isinstance(operation, Write) and not self._clear(key) and (operation.if_version or self._unclear(key)):
            raise self._unknown(key)
        size = size_of(operation)
        self._make_room(key, size)
        await self._adopt(key)
        result = (await self._memory.batch((operation,)))[0]
        if result.ok and not result.replayed:
            self._append(Held(operation, result.version, self._clock(), size))
        return msgspec.structs.replace(result, provisional=True)

    async def read(self, key: str) -> Versioned | Expired | None:
        """The document as far as it is known. Raises `StoreUnavailable` when it is not."""
        if not self._clear(key):
            raise self._unknown(key)
        if key in self._memory:
            found = await self._memory.read(key)
            return msgspec.structs.replace(found, provisional=True) if isinstance(found, Versioned) else found
        shadow = self._shadows.get(key)
        assert shadow is not None, "a clear document is held or shadowed"
        return shadow.document() if shadow.expires_at > self._clock() else Expired(shadow.version)

    async def claim(self, key: str, fence: int) -> Versioned | Expired | None:
        """Raise the fencing token in memory, and read."""
        if not self._clear(key):
            raise self._unknown(key)
        self._make_room(key, _CLAIM_BYTES)
        await self._adopt(key)
        before = await self._memory.read(key)
        found = await self._memory.claim(key, fence)
        if not isinstance(found, Versioned):
            return found
        if before != found:
            self._append(Held(Claim(key, fence), found.version, self._clock(), _CLAIM_BYTES))
        return msgspec.structs.replace(found, provisional=True)

    async def scan(self, prefix: str) -> list[tuple[str, Versioned]]:
        """Every document that is known and alive."""
        keys = {key for key, _ in await self._memory.scan(prefix)} | set(self._shadows.below(prefix))
        found = [(key, await self.read(key)) for key in sorted(keys) if self._clear(key)]
        return [(key, document) for key, document in found if isinstance(document, Versioned)]

    def _clear(self, key: str) -> bool:
        """Whether the contents of the document are known."""
        return not self._unclear(key) and (key in self._memory or self._shadows.get(key) is not None)

    def _unclear(self, key: str) -> bool:
        return key in self._moved or self._shadows.unclear(key)

    async def _adopt(self, key: str) -> None:
        shadow = self._shadows.get(key)
        if shadow is not None and key not in self._memory and key not in self._moved:
            await self._memory.adopt(key, shadow)

    def _make_room(self, key: str, size: int) -> None:
        if key not in self._memory and len(self._memory) >= self._documents_max:
            raise StoreUnavailable(f"{self.why}; and {self._documents_max} documents are held in memory already")
        if self._bytes + size > self._bytes_max:
            raise StoreUnavailable(f"{self.why}; and {self._bytes} bytes are held in memory already")

    def _append(self, held: Held) -> None:
        self._held.append(held)
        self._bytes += held.size

    def _unknown(self, key: str) -> StoreUnavailable:
        return StoreUnavailable(f"{self.why}; and {key!r} is not known in memory")

    # When the store is back.

    def newest_first(self) -> list[str]:
        """Every document there is a copy of; first those that are written, then the copy that was made last."""
        written = {held.what.key: None for held in self._held}
        return [*written, *(key for key in self._shadows.newest_first() if key not in written)]

    def lost(self, key: str, found: Versioned | Expired | None) -> Versioned | None:
        """What the store once said of the document, if that is more than what it has `found` now."""
        shadow = self._shadows.get(key)
        if shadow is None or isinstance(found, Expired) or shadow.expires_at <= self._clock():
            return None
        if found is None or (found.version < shadow.version and found.fence <= shadow.fence):
            return shadow.document()
        return None

    def next_part(self, count: int) -> list[Held]:
        """Of the first `count` as many as can travel together: a write waits for all before it on its document.

        A claim travels alone, and so does a write that was decided on what is no longer so, and is not to travel.
        """
        part: list[Held] = []
        keys: set[str] = set()
        for held in islice(self._held, min(count, OPERATIONS_A_BATCH)):
            what = held.what
            alone = isinstance(what, Claim) or self.stale(what)
            if part and (alone or (isinstance(what, Write) and what.key in keys)):
                break
            part.append(held)
            keys.add(what.key)
            if alone:
                break
        return part

    def stale(self, what: Operation | Claim) -> bool:
        """Whether it is a write on a document that the store does not have as memory had it."""
        return isinstance(what, Write) and what.key in self._moved

    def told(self, result: WriteResult) -> Held:
        """The store answered the first that is held: it is held no longer."""
        held = self._held.popleft()
        self._bytes -= held.size
        if not result.ok or result.version != held.version:
            self._moved.add(held.what.key)
        elif not isinstance(held.what, Claim):
            what = held.what
            content = what.value if isinstance(what, Write) else what.fields
            expires_at = None if what.ttl_s is None else held.at + what.ttl_s
            self._shadows.wrote(
                what.key, content, what.op_id, what.fence, expires_at, WriteResult(True, result.version)
            )
        return held

    def settle(self) -> None:
        """Empty memory; the documents that the store has as memory had them are copies from now on."""
        for key, shadow in self._memory.living():
            if key in self._moved:
                self._shadows.doubt(key)
            else:
                self._shadows.put(key, shadow)
        self._memory = _Memory(clock=self._clock)
        self._moved.clear()
