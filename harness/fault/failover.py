"""A fault of a Redis that has a replica: the primary dies before it has passed everything on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from harness.fault.beside import Sum, beside
from harness.fault.fault import Bench, FaultFailed
from harness.fault.redis import control, said, section_of
from harness.scenario.units import Seconds

if TYPE_CHECKING:
    from redis.asyncio import Redis

NEAR_S = 10.0
"""For a replica to catch up with so little as a level writes, and for a planned failover."""
LOOK_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedOver:
    """The primary dies with writes that it acknowledged and its replica never saw; the replica takes its place.

    Clients are led to the replica, which refuses writes (READONLY) until it is promoted, and then has less than was
    acknowledged: replication is asynchronous, so that is what a failover is. Nothing may be lost of what PostgreSQL
    has, and Redis must be brought up to it. At the end the old primary comes back by a planned failover, which loses
    nothing. We are the sentinel: one that decides by itself would do the same at moments that nobody could repeat.
    """

    unreplicated: Seconds = 0.3  # so long the primary goes on alone before it dies
    refusing: Seconds = 0.5  # so long the replica refuses writes before it is promoted

    needs = ("process:redis", "proxy:redis")

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[Sum]:
        """The bites are changes that were acknowledged and are gone: of those, what surely is."""
        proxy, server = bench.proxy("redis"), bench.server("redis")
        url, died = bench.url("redis"), False
        async with AsyncExitStack() as stack:
            spare = await _entered(stack, bench)
            replica = await stack.enter_async_context(control(spare))
            try:
                await _follow(replica, url)
                lost = await self._cut_off(url, replica)
                died = True
                await asyncio.to_thread(server.kill)
                await proxy.move(_address(spare))
                async with beside(self._promoted(replica)):
                    yield Sum(lost)
            finally:
                if died:
                    await asyncio.to_thread(server.start_again, empty=True)
                    await _fail_back(replica, url=url, spare=spare)
                    await proxy.move(_address(url))

    async def _promoted(self, replica: Redis) -> None:
        await asyncio.sleep(self.refusing)
        await said(replica, "REPLICAOF", "NO", "ONE")

    async def _cut_off(self, url: str, replica: Redis) -> int:
        """The replica hears no more of the primary, and the primary goes on; how many changes only that one has.

        Not by SIGSTOP: what the primary sent meanwhile would wait in the replica's socket, and be read when it goes on.
        """
        async with control(url) as primary:
            await said(replica, "REPLICAOF", *_nowhere(url))
            before = await _changes(primary)
            await asyncio.sleep(self.unreplicated)
            return await _changes(primary) - before


async def _entered(stack: AsyncExitStack, bench: Bench) -> str:
    """The URL of a spare server, which ends with the stack."""
    spare = bench.spare()
    url: str = await asyncio.to_thread(spare.__enter__)
    stack.push_async_callback(asyncio.to_thread, spare.__exit__, None, None, None)
    return url


async def _fail_back(replica: Redis, *, url: str, spare: str) -> None:
    """The server of before is the primary again, and has everything."""
    await said(replica, "REPLICAOF", "NO", "ONE")
    async with control(url) as primary:
        await _follow(primary, spare)
        # By FAILOVER writes wait until both have the same; nobody is answered what only one of them has.
        await said(replica, "FAILOVER", "TO", *_place(url), "TIMEOUT", round(NEAR_S * 1000))
        await _until("become the primary again", lambda: _has(primary, role="master"))


async def _follow(redis: Redis, url: str) -> None:
    """Be the replica of that one, and have everything that it has."""
    await said(redis, "REPLICAOF", *_place(url))
    await _until("follow", lambda: _has(redis, master_link_status="up", master_sync_in_progress=0))


async def _until(what: str, wanted: Callable[[], Awaitable[bool]]) -> None:
    try:
        async with asyncio.timeout(NEAR_S):
            while True:
                if await wanted():
                    return
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise FaultFailed(f"a Redis did not {what} within {NEAR_S:g} s") from None


async def _has(redis: Redis, **wanted: object) -> bool:
    found = await section_of(redis, "replication")
    return all(found.get(name) == value for name, value in wanted.items())


async def _changes(redis: Redis) -> int:
    """Changes of its data since it began; it saves none in between."""
    found = await section_of(redis, "persistence")
    return int(found["rdb_changes_since_last_save"])


def _place(url: str) -> tuple[Any, Any]:
    """Host and port."""
    parts = urlsplit(url)
    return parts.hostname, parts.port


def _address(url: str) -> str:
    return "{}:{}".format(*_place(url))


def _nowhere(url: str) -> tuple[Any, int]:
    """A place of the same machine where nothing can listen."""
    return _place(url)[0], 1
