"""Who may act: one orchestrator at a time, each with a higher fencing token than all before it.

The lease is a document in the state store. Its owner counts it up; who wants it watches it, and takes it by compare
and set once it has not moved for the time of the lease. No clock is shared and none need agree: only the watcher's own
seconds count. The lease is for liveness. What keeps a replaced owner from doing harm is the token, which every store
and the witness compare.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from harness.store.store import Expired, StateStore, StoreUnavailable

KEY = "lease"
BEATS_A_LEASE = 3  # an owner that misses one or two is not replaced
LOOKS_A_LEASE = 20
STORE_AWAY_S = 10.0
LOOK_AGAIN_S = 0.2
_T = TypeVar("_T")


async def outlasting(operation: Callable[[], Awaitable[_T]], *, clock: Callable[[], float]) -> _T:
    """The operation's answer, though the store be away for STORE_AWAY_S: an owner may start in the middle of an
    absence. Raises `StoreUnavailable` when it is longer.
    """
    began = clock()
    while True:
        try:
            return await operation()
        except StoreUnavailable:
            if clock() - began > STORE_AWAY_S:
                raise
        await asyncio.sleep(LOOK_AGAIN_S)


class _Held(msgspec.Struct):
    """The value of the document."""

    owner: str
    token: int
    released: bool = False


class Lease:
    """One orchestrator's claim. `on_replaced` is called once, when another owner is found to have taken over."""

    def __init__(
        self, store: StateStore, *, lease_s: float, clock: Callable[[], float], on_replaced: Callable[[], None]
    ) -> None:
        self._store = store
        self._lease_s = lease_s
        self._clock = clock
        self._on_replaced = on_replaced
        self._owner = secrets.token_hex(8)
        self._version = 0
        self._beating: asyncio.Task[None] | None = None
        self.token = 0

    async def acquire(self) -> int:
        """Wait until the lease is free or its owner silent, take it, and keep it; returns the fencing token.

        Raises `StoreUnavailable` when the store does not answer for STORE_AWAY_S.
        """
        seen_version, seen_at = -1, 0.0
        answered_at = self._clock()
        while True:
            asked_at = self._clock()
            try:
                version, held = await self._look()
                if version != seen_version:
                    seen_version, seen_at = version, self._clock()  # not when it was asked for: silence began later
                is_free = held is None or held.released or asked_at - seen_at >= self._lease_s
                if (held is not None and held.owner == self._owner) or (is_free and await self._take(held, version)):
                    self._beating = asyncio.create_task(self._beat())
                    return self.token
                answered_at = self._clock()
            except StoreUnavailable:
                seen_version = -1  # its owner could not be heard either: silence begins anew
                if self._clock() - answered_at > STORE_AWAY_S:
                    raise
            await asyncio.sleep(self._lease_s / LOOKS_A_LEASE)

    async def release(self) -> None:
        """Let the next owner in at once. A store that is away leaves that to the passing of time."""
        if self._beating is None:
            return
        self._beating.cancel()
        await asyncio.gather(self._beating, return_exceptions=True)
        try:
            if not await self._write(_Held(self._owner, self.token, released=True)):
                _, held = await self._look()
                if held is not None and held.owner == self._owner:  # a beat whose answer was not waited for
                    await self._write(_Held(self._owner, self.token, released=True))
        except StoreUnavailable as error:
            print(f"the lease was not released: {error}", file=sys.stderr)  # noqa: T201 - the host's log

    async def _look(self) -> tuple[int, _Held | None]:
        """The document's version and value. One that we took, by a write whose answer was lost, is ours.

        A copy in memory stands still however alive the owner is: it counts as no answer.
        """
        found = await self._store.read(KEY)
        assert not isinstance(found, Expired), "the lease is written without a time to live"
        if found is None:
            return 0, None
        if found.provisional:
            raise StoreUnavailable("the lease is known from memory only, because the store is away")
        held = msgspec.json.decode(found.value, type=_Held)
        if held.owner == self._owner:
            self._version = found.version
        return found.version, held

    async def _take(self, held: _Held | None, version: int) -> bool:
        self._version = version
        self.token = held.token + 1 if held else 1
        return await self._write(_Held(self._owner, self.token), provisionally=False)

    async def _beat(self) -> None:
        """Count the lease up until it is cancelled or taken. A store that is away keeps everybody else away, too."""
        while True:
            await asyncio.sleep(self._lease_s / BEATS_A_LEASE)
            try:
                if not await self._write(_Held(self._owner, self.token)):
                    self._on_replaced()
                    return
            except StoreUnavailable:
                continue

    async def _write(self, held: _Held, *, provisionally: bool = True) -> bool:
        """Compare and set; a write whose answer was lost is sent again with the same operation id.

        `provisionally`: whether one that only memory has counts. An owner stays one so; nobody becomes one.
        """
        op_id = f"{self._owner}/{self._version}{'/released' if held.released else ''}"
        value = msgspec.json.encode(held)
        result = await self._store.write(KEY, value, if_version=self._version, op_id=op_id)
        done = result.ok and (provisionally or not result.provisional)
        if done:
            self._version = result.version
        return done
