"""A store behind the circuit breaker of its server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from harness.orchestrator.breaker import Breaker
from harness.orchestrator.lease import KEY as LEASE
from harness.store.restoring import Restoring
from harness.store.store import Expired, Operation, StateStore, StoreUnavailable, Versioned, WriteResult

_T = TypeVar("_T")


class StoreRefused(StoreUnavailable):
    """The server was not asked, because its breaker is open: nothing of the operation took place."""

    def __init__(self, server: str) -> None:
        super().__init__(f"{server} is not asked: its breaker is open")
        self.server = server


class GuardedStore:
    """A `StateStore`: every operation of `store` goes through `breaker`.

    `StoreUnavailable` is a failure, and how long an answer took decides what is slow; a version conflict is an answer
    like any other. A refused operation raises `StoreRefused`, so that a fallback behind this serves at once.
    The lease goes past the breaker: an owner that its own breaker keeps silent would be replaced for nothing.
    """

    def __init__(self, store: StateStore, breaker: Breaker, *, server: str) -> None:
        self._store = store
        self._breaker = breaker
        self._server = server

    async def read(self, key: str) -> Versioned | Expired | None:
        """The document."""
        if key == LEASE:
            return await self._store.read(key)
        return await self._through(lambda: self._store.read(key))

    async def write(
        self, key: str, value: bytes, *, if_version: int, op_id: str, ttl_s: float | None = None, fence: int = 0
    ) -> WriteResult:
        """Compare and set."""
        if key == LEASE:
            return await self._store.write(key, value, if_version=if_version, op_id=op_id, ttl_s=ttl_s, fence=fence)
        return await self._through(
            lambda: self._store.write(key, value, if_version=if_version, op_id=op_id, ttl_s=ttl_s, fence=fence)
        )

    async def merge(
        self, key: str, fields: Mapping[str, bytes], *, op_id: str, ttl_s: float | None = None, fence: int = 0
    ) -> WriteResult:
        """Set fields."""
        return await self._through(lambda: self._store.merge(key, fields, op_id=op_id, ttl_s=ttl_s, fence=fence))

    async def batch(self, operations: Sequence[Operation]) -> list[WriteResult]:
        """All of them: one call."""
        return await self._through(lambda: self._store.batch(operations))

    async def claim(self, key: str, fence: int) -> Versioned | Expired | None:
        """Raise the fencing token, and read."""
        return await self._through(lambda: self._store.claim(key, fence))

    async def scan(self, prefix: str) -> list[tuple[str, Versioned]]:
        """Every living document: past the breaker, because it is asked once, and takes as long as there are many."""
        return await self._store.scan(prefix)

    async def close(self) -> None:
        """Give back the store's connections."""
        await self._store.close()

    async def _through(self, operation: Callable[[], Awaitable[_T]]) -> _T:
        breaker = self._breaker
        permit = breaker.admit()
        if permit is None:
            raise StoreRefused(self._server)
        try:
            answer = await operation()
        except StoreUnavailable:
            breaker.record(permit, failed=True)
            raise
        except BaseException:
            breaker.give_back(permit)
            raise
        breaker.record(permit, failed=False)
        return answer


class GuardedRestoring(GuardedStore):
    """The same, of a store that can be brought up to another one."""

    def __init__(self, store: Restoring, breaker: Breaker, *, server: str) -> None:
        super().__init__(store, breaker, server=server)
        self._restoring = store

    async def restore(self, key: str, document: Versioned) -> bool:
        """Make the document exactly this."""
        return await self._through(lambda: self._restoring.restore(key, document))


def guarding(breakers: Mapping[str, Breaker]) -> Callable[[str, StateStore], StateStore]:
    """What stands in front of each server's store, given the server's name: its breaker, if it has one."""

    def guard(server: str, store: StateStore) -> StateStore:
        if server not in breakers:
            return store
        if isinstance(store, Restoring):
            return GuardedRestoring(store, breakers[server], server=server)
        return GuardedStore(store, breakers[server], server=server)

    return guard
