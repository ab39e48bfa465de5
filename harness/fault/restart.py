"""Faults of servers that end in the middle of their work, and come back with what they had on disk."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.fault.beside import Sum
from harness.fault.fault import Bench, FaultFailed
from harness.fault.redis import control, said, section_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

REWRITTEN_S = 10.0
LOOK_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisRestarted:
    """Redis is killed (SIGKILL), and started again at the end: empty, or with its append-only file.

    Nothing listens meanwhile. One that was killed has forgotten the scripts it was given, and without an append-only
    file all else: what PostgreSQL has must come back from there, and what nobody has must not be taken for new. With
    the file it has every write that it had answered, as it is synchronised before each answer.
    """

    data: Literal["empty", "aof"] = "empty"

    needs = ("process:redis",)

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[Sum]:
        """Dead while it acts. An append-only file that it did not keep before is kept for as long."""
        server, keeps = bench.server("redis"), self.data == "aof"
        kept_before = await _keep(bench) if keeps else True
        try:
            await asyncio.to_thread(server.kill)
            yield Sum(1)
        finally:
            await asyncio.to_thread(server.start_again, empty=not keeps)
            if not kept_before:
                async with control(bench.url("redis")) as redis:
                    await said(redis, "CONFIG", "SET", "appendonly", "no")


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresRestarted:
    """PostgreSQL is stopped at once, as by `pg_ctl -m immediate`, and started again at the end.

    Every transaction in flight is gone, and recovery begins from the log. What was acknowledged has to be there: run it
    with `[state] fsync = true`, as the servers that we start do not wait for their log otherwise.
    """

    needs = ("process:postgres",)

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[Sum]:
        """Dead while it acts; it answers again when its recovery is over."""
        server = bench.server("postgres")
        try:
            await asyncio.to_thread(server.kill, signal.SIGQUIT)
            yield Sum(1)
        finally:
            await asyncio.to_thread(server.start_again)


async def _keep(bench: Bench) -> bool:
    """From now on Redis has all of its data in an append-only file; whether it had before."""
    async with control(bench.url("redis")) as redis:
        before: dict[str, str] = await said(redis, "CONFIG", "GET", "appendonly")
        if before["appendonly"] == "yes":
            return True
        try:
            await said(redis, "CONFIG", "SET", "appendonly", "yes")
            async with asyncio.timeout(REWRITTEN_S):
                while True:
                    if await _is_whole(redis):
                        return False
                    await asyncio.sleep(LOOK_S)
        except BaseException as error:
            await said(redis, "CONFIG", "SET", "appendonly", "no")
            if isinstance(error, TimeoutError):
                raise FaultFailed(f"Redis has not written its append-only file after {REWRITTEN_S:g} s") from None
            raise


async def _is_whole(redis: Redis) -> bool:
    """Whether everything from before is in the file, too."""
    found = await section_of(redis, "persistence")
    busy = found["aof_rewrite_in_progress"] or found["aof_rewrite_scheduled"]
    if not busy and found["aof_last_bgrewrite_status"] != "ok":
        raise FaultFailed("Redis could not write its append-only file")
    return not busy
