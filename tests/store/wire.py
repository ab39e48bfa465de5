"""A network between a test and a store in memory, which can be cut, hang, or lose the reply."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from harness.store.memory import MemoryStore
from harness.store.store import Expired, Operation, StoreUnavailable, Versioned, WriteResult

T = TypeVar("T")


class Wire:
    """A real store at the end of a line. `asked` counts what was sent; `slow` makes every reply take a turn more."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = MemoryStore() if store is None else store
        self.cut = False
        self.cut_after: int | None = None  # so many more requests arrive
        self.replies_lost = 0  # so many requests take place, and are not answered
        self.hang_s = 0.0  # a cut line says so after this long
        self.slow = True
        self.asked = 0

    async def _send(self, request: Coroutine[Any, Any, T]) -> T:
        self.asked += 1
        try:
            if self.cut_after is not None:
                self.cut_after -= 1
                if self.cut_after < 0:
                    self.cut, self.cut_after = True, None
            if self.cut:
                await asyncio.sleep(self.hang_s)
                raise StoreUnavailable("the line is cut")
            if self.slow:
                await asyncio.sleep(0)
            result = await request
        finally:
            request.close()
        if self.replies_lost:
            self.replies_lost -= 1
            raise StoreUnavailable("no answer")
        return result

    async def read(self, key: str) -> Versioned | Expired | None:
        """As the store."""
        return await self._send(self.store.read(key))

    async def write(self, key: str, value: bytes, **options: Any) -> WriteResult:
        """As the store."""
        return await self._send(self.store.write(key, value, **options))

    async def merge(self, key: str, fields: Mapping[str, bytes], **options: Any) -> WriteResult:
        """As the store."""
        return await self._send(self.store.merge(key, fields, **options))

    async def batch(self, operations: Sequence[Operation]) -> list[WriteResult]:
        """As the store."""
        return await self._send(self.store.batch(operations))

    async def claim(self, key: str, fence: int) -> Versioned | Expired | None:
        """As the store."""
        return await self._send(self.store.claim(key, fence))

    async def scan(self, prefix: str) -> list[tuple[str, Versioned]]:
        """As the store."""
        return await self._send(self.store.scan(prefix))

    async def restore(self, key: str, document: Versioned) -> bool:
        """Unless it is newer here."""

        async def restored() -> bool:
            found = self.store._documents.get(key)
            if found is not None and found.version > document.version:
                return False
            await self.store.merge(key, {}, op_id="restored", fence=0)
            found = self.store._documents[key]
            found.version, found.value = document.version, document.value
            found.fields, found.fence = dict(document.fields), document.fence
            return True

        return await self._send(restored())

    async def close(self) -> None:
        """As the store."""
        await self.store.close()
