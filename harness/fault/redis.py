"""Faults that Redis has by its own means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from harness.fault.beside import Sum, beside
from harness.fault.fault import Bench, FaultFailed
from harness.scenario.units import Seconds, Share

if TYPE_CHECKING:
    from redis.asyncio import Redis

ANSWER_S = 2.0
KEYS_A_SCAN = 1000
NEEDS = ("server:redis",)


@dataclass(frozen=True, slots=True, kw_only=True)
class WritesPaused:
    """Redis holds every write back (`CLIENT PAUSE … WRITE`): reads are answered, writes wait.

    A write has to be given up by a deadline of its own, and its outcome is unknown: it is carried out when the pause
    ends.
    """

    needs = NEEDS

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[_Counted]:
        """Paused for the lease at most; unpaused at the end."""
        async with control(bench.url("redis")) as redis:
            try:
                await said(redis, "CLIENT", "PAUSE", round(bench.lease_s * 1000), "WRITE")
                yield _Counted(redis, "clients", "blocked_clients")
            finally:
                await said(redis, "CLIENT", "UNPAUSE")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFull:
    """Redis has reached its `maxmemory`: writes are refused (`-OOM`), or keys are evicted, as its policy says.

    A refused write has to be told to whoever asked for it. What was evicted must not be taken for something new.
    """

    policy: Literal["noeviction", "allkeys-lru", "allkeys-random", "volatile-ttl"] = "noeviction"
    room: Share = 0.0  # of the memory that is in use when the fault begins

    needs = NEEDS

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[_Counted]:
        """The two settings, as they were before at the end."""
        async with control(bench.url("redis")) as redis:
            before = {
                **await said(redis, "CONFIG", "GET", "maxmemory"),
                **await said(redis, "CONFIG", "GET", "maxmemory-policy"),
            }
            used = int((await section_of(redis, "memory"))["used_memory"])
            evicting = self.policy != "noeviction"
            counted = _Counted(redis, "stats" if evicting else "errorstats", "evicted_keys" if evicting else "OOM")
            await counted.begin()
            try:
                await said(redis, "CONFIG", "SET", "maxmemory-policy", self.policy)
                await said(redis, "CONFIG", "SET", "maxmemory", max(1, int(used * self.room)))
                yield counted
            finally:
                for name, value in before.items():
                    await said(redis, "CONFIG", "SET", name, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientsDropped:
    """Redis closes every connection (`CLIENT KILL`), again and again.

    Commands in flight have an unknown outcome; whoever repeats them has to do so by the operation's id.
    """

    every: Seconds = 0.5

    needs = NEEDS

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[Sum]:
        """Until the end, by a task of its own."""
        async with control(bench.url("redis")) as redis:
            found = Sum()

            async def again_and_again() -> None:
                while True:
                    found.bites += int(await said(redis, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
                    await asyncio.sleep(self.every)

            async with beside(again_and_again()):
                yield found


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysExpired:
    """Keys of the level expire before their time, again and again; some of several that belong together.

    What is gone was there before: it must not be taken for something new, and what is left of it not for the whole. A
    workflow whose state is gone fails and says so, or goes on with what PostgreSQL has of it.
    """

    keys: str = "[do]:{w/*"  # a glob of what follows the namespace; d: documents, o: ids of operations, w/ workflows
    share: Share = 0.2  # of those that there are, drawn each time by their names and the scenario's seed
    every: Seconds = 0.5

    needs = NEEDS

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[Sum]:
        """`PEXPIRE` by a task of its own; nothing brings them back."""
        async with control(bench.url("redis")) as redis:
            found = Sum()

            async def again_and_again() -> None:
                turn = 0
                while True:
                    for key in await _keys(redis, f"{bench.namespace}:{self.keys}"):
                        if Random(f"{bench.seed}/{turn}/{key}").random() < self.share:
                            found.bites += int(await said(redis, "PEXPIRE", key, 1))
                    turn += 1
                    await asyncio.sleep(self.every)

            async with beside(again_and_again()):
                yield found


@dataclass(slots=True)
class _Counted:
    """A number that Redis keeps, since the fault began."""

    redis: Redis
    section: str
    name: str
    before: int = 0
    most: int = 0

    async def begin(self) -> None:
        """What it is without the fault."""
        self.before = await self._now()

    async def count(self) -> int:
        """By how much it grew."""
        self.most = max(self.most, await self._now() - self.before)
        return self.most

    async def _now(self) -> int:
        found = await section_of(self.redis, self.section)
        if self.section == "errorstats":
            entry = found.get(f"errorstat_{self.name}", {})
            return int(entry["count"]) if entry else 0
        return int(found[self.name])


@asynccontextmanager
async def control(url: str) -> AsyncIterator[Redis]:
    """A connection past the proxy, without repetition of any command. Raises FaultFailed."""
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    redis = Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=ANSWER_S,
        socket_connect_timeout=ANSWER_S,
        retry=Retry(NoBackoff(), 0),
        single_connection_client=True,
    )
    try:
        await said(redis, "PING")  # now: redis-py forgets that it was cancelled, when that was while it connected
        yield redis
    finally:
        await redis.aclose()


async def _keys(redis: Redis, pattern: str) -> list[str]:
    """Those that match, each once."""
    found, cursor = set[str](), "0"
    while True:
        cursor, keys = await said(redis, "SCAN", cursor, "MATCH", pattern, "COUNT", KEYS_A_SCAN)
        found.update(keys)
        if str(cursor) == "0":
            return sorted(found)


async def said(redis: Redis, *words: object) -> Any:
    """What it answers to a command. Raises FaultFailed."""
    from redis.exceptions import RedisError

    try:
        return await redis.execute_command(*words)  # type: ignore[no-untyped-call]
    except (RedisError, OSError) as error:
        raise FaultFailed(f"Redis did not take {' '.join(map(str, words[:2]))}: {error}") from None


async def section_of(redis: Redis, section: str) -> dict[str, Any]:
    """A section of what it tells of itself. Raises FaultFailed."""
    found: dict[str, Any] = await said(redis, "INFO", section)
    return found
