"""The state store as one orchestrator that owns its workflows sees it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from harness.errors import HarnessError
from harness.orchestrator.breaker import BreakerOpen
from harness.orchestrator.crash import CrashPoints
from harness.orchestrator.guarded import StoreRefused
from harness.store.fallback import FallbackStore
from harness.store.store import Expired, Operation, StateStore, StoreUnavailable, Versioned, WriteResult, one_by_one

_T = TypeVar("_T")

RETRY_FIRST_S = 0.02
RETRY_MAX_S = 0.5
EXIT_REPLACED = 75
END = "@end"
"""The field of a workflow's document that holds its end; the others are named after steps."""


class Replaced(HarnessError):
    """Another orchestrator has taken over: whatever this one still does is not wanted."""


def end_process(why: str) -> None:
    """What a replaced orchestrator does: end at once, cutting its connections, so that clients find the new owner."""
    print(f"replaced: {why}", file=sys.stderr, flush=True)  # noqa: T201 - the host's log
    os._exit(EXIT_REPLACED)


class Owned:
    """A `StateStore` of the documents below `prefix`, every write of which carries the owner's `token`.

    A write whose answer was lost is sent again with the same operation id until it is answered: whoever cannot wait
    cancels, as deadlines do. A breaker that refuses is not waited for: that raises `BreakerOpen`, except for an end, a
    claim and a scan, which must not be given up. A write that is refused for its token raises `Replaced`. Merging a
    step's finding is a checkpoint, and passes its crash points.
    """

    def __init__(self, store: StateStore, *, prefix: str, token: int, points: CrashPoints) -> None:
        self._store = store
        self._prefix = prefix
        self._token = token
        self._points = points
        self.fenced = 0
        self.trouble = ""  # what was last wrong with the store
        self.provisional: set[str] = set()  # keys of which something was served from memory, until forgotten

    async def read(self, key: str) -> Versioned | Expired | None:
        """The document, from the store."""
        return self._seen(key, await self._answered(lambda: self._store.read(self._prefix + key)))

    async def write(
        self, key: str, value: bytes, *, if_version: int, op_id: str, ttl_s: float | None = None, fence: int = 0
    ) -> WriteResult:
        """Compare and set, as owner."""
        where, token = self._prefix + key, fence or self._token
        result = await self._answered(
            lambda: self._store.write(where, value, if_version=if_version, op_id=op_id, ttl_s=ttl_s, fence=token)
        )
        return self._owned(key, result)

    async def merge(
        self, key: str, fields: Mapping[str, bytes], *, op_id: str, ttl_s: float | None = None, fence: int = 0
    ) -> WriteResult:
        """Set fields, as owner."""
        where, token = self._prefix + key, fence or self._token
        step = next(iter(fields), "")
        if step != END:
            self._points.passed("before_checkpoint", key, step)
        result = await self._answered(
            lambda: self._store.merge(where, fields, op_id=op_id, ttl_s=ttl_s, fence=token), patient=step == END
        )
        if step != END:
            self._points.passed("after_checkpoint", key, step)
        return self._owned(key, result)

    async def batch(self, operations: Sequence[Operation]) -> list[WriteResult]:
        """One after the other, each as owner."""
        return await one_by_one(self, operations)

    async def claim(self, key: str, fence: int = 0) -> Versioned | Expired | None:
        """Make the document this owner's own, and read it. Raises `Replaced` when a newer owner has it."""
        token = fence or self._token
        found = await self._answered(lambda: self._store.claim(self._prefix + key, token), patient=True)
        if isinstance(found, Versioned) and found.fence > token:
            self.fenced += 1
            raise Replaced(f"{key} belongs to an orchestrator with token {found.fence}; ours is {token}")
        return self._seen(key, found)

    async def scan(self, prefix: str) -> list[tuple[str, Versioned]]:
        """Every living document, by key without this view's prefix. One that memory answers may lack some, so the
        store itself is waited for."""

        async def whole() -> list[tuple[str, Versioned]]:
            found = await self._store.scan(self._prefix + prefix)
            if isinstance(self._store, FallbackStore) and self._store.provisional:
                raise StoreUnavailable("only some of the documents are known, because the store is away")
            return found

        found = await self._answered(whole, patient=True)
        return [(key.removeprefix(self._prefix), document) for key, document in found]

    async def close(self) -> None:
        """The store is its owner's to close."""

    async def _answered(self, operation: Callable[[], Awaitable[_T]], *, patient: bool = False) -> _T:
        """The operation's answer, however long the store is away. What is wrong is said in the log, once."""
        wait_s, was_sent = RETRY_FIRST_S, False
        while True:
            try:
                return await operation()
            except StoreUnavailable as error:
                if not isinstance(error, StoreRefused):
                    was_sent = True
                elif not patient:
                    raise BreakerOpen("state", error.server, definite=not was_sent) from error
                if str(error) != self.trouble:
                    self.trouble = str(error)
                    print(f"waiting for the store: {error}", file=sys.stderr, flush=True)  # noqa: T201 - the host's log
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, RETRY_MAX_S)

    def forget(self, key: str) -> bool:
        """Whether anything of the document was provisional; asked once, when its workflow has ended."""
        was = key in self.provisional
        self.provisional.discard(key)
        return was

    def _seen(self, key: str, found: Versioned | Expired | None) -> Versioned | Expired | None:
        if isinstance(found, Versioned) and found.provisional:
            self.provisional.add(key)
        return found

    def _owned(self, key: str, result: WriteResult) -> WriteResult:
        if result.fenced:
            self.fenced += 1
            raise Replaced(f"a write to {key} was refused: a newer orchestrator has taken over")
        if result.provisional:
            self.provisional.add(key)
        return result
