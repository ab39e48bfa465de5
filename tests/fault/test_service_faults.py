"""Faults by a server's own means, on real servers: each bites what it should, is told of, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import psutil
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError

from harness.fault.fault import Bite, FaultFailed
from harness.fault.held import Frozen
from harness.fault.machine import CpuContended, MemoryHeld
from harness.fault.postgres import BackendsTerminated, ConnectionsUsedUp, ReadOnly, TablesLocked
from harness.fault.redis import ClientsDropped, MemoryFull, WritesPaused
from harness.run.faulting import LevelBench

WAIT_S = 10.0


@asynccontextmanager
async def redis_of(bench: LevelBench) -> AsyncIterator[Redis]:
    """A client that repeats nothing."""
    async with Redis.from_url(bench.url("redis"), retry=Retry(NoBackoff(), 0), socket_timeout=WAIT_S) as redis:
        yield redis


@asynccontextmanager
async def postgres_of(bench: LevelBench) -> AsyncIterator[Any]:
    """A connection as an orchestrator has it."""
    postgres = await asyncpg.connect(bench.url("postgres"), timeout=WAIT_S)
    try:
        yield postgres
    finally:
        postgres.terminate()


async def until(wanted: Callable[[], Awaitable[Any]]) -> Any:
    """What it answers, once that is anything."""
    async with asyncio.timeout(WAIT_S):
        while True:
            if found := await wanted():
                return found
            await asyncio.sleep(0.02)


async def bites(bite: Bite) -> int:
    """How often it acted, once it has."""
    found: int = await until(bite.count)
    return found


def run(test: Callable[[], Awaitable[None]]) -> None:
    """In a loop of its own."""

    async def bounded() -> None:
        async with asyncio.timeout(3 * WAIT_S):
            await test()

    asyncio.run(bounded())


def test_paused_writes_wait_and_reads_do_not(bench: LevelBench) -> None:
    """The write is carried out when the pause ends, and the bite counts who waits."""

    async def test() -> None:
        async with redis_of(bench) as redis, redis_of(bench) as other:
            await redis.set("kept", "1")
            async with WritesPaused().inject(bench) as bite:
                assert await bite.count() == 0
                writing = asyncio.ensure_future(redis.set("kept", "2"))
                assert await bites(bite) == 1
                assert await other.get("kept") == b"1"
                assert not writing.done()
            await writing
            assert await other.get("kept") == b"2"
            await other.delete("kept")

    run(test)


def test_a_full_redis_refuses_writes_and_is_as_before_afterwards(bench: LevelBench) -> None:
    """Every refusal is a bite."""

    async def test() -> None:
        async with redis_of(bench) as redis:
            before = await redis.config_get("maxmemory*")
            async with MemoryFull().inject(bench) as bite:
                for _ in range(3):
                    with pytest.raises(OutOfMemoryError):
                        await redis.set("more", "1")
                assert await bite.count() == 3
            assert await redis.config_get("maxmemory*") == before
            await redis.set("more", "1")
            await redis.delete("more")

    run(test)


def test_a_full_redis_may_evict_instead(bench: LevelBench) -> None:
    """By a policy; what went is counted."""

    async def test() -> None:
        async with redis_of(bench) as redis:
            for number in range(200):
                await redis.set(f"key{number}", "x" * 1000)
            async with MemoryFull(policy="allkeys-random", room=0.95).inject(bench) as bite:
                await redis.set("one", "more")
                gone = await bites(bite)
            assert await redis.dbsize() <= 201 - gone
            await redis.flushall()

    run(test)


def test_dropped_clients_find_their_connections_closed(bench: LevelBench) -> None:
    """And the fault's own is none of them."""

    async def test() -> None:
        async with redis_of(bench) as redis, redis.client() as one:
            await one.ping()
            async with ClientsDropped(every=60.0).inject(bench) as bite:
                assert await bites(bite) >= 1
                with pytest.raises(RedisConnectionError):
                    await one.ping()

    run(test)


def test_terminated_backends_end_their_clients(bench: LevelBench) -> None:
    """Who connects again is served."""

    async def test() -> None:
        async with postgres_of(bench) as postgres:
            async with BackendsTerminated(every=60.0).inject(bench) as bite:
                assert await bites(bite) == 1
                with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
                    await postgres.fetchval("SELECT 1")
            async with postgres_of(bench) as again:
                assert await again.fetchval("SELECT 1") == 1

    run(test)


def test_locked_tables_let_statements_wait(bench: LevelBench) -> None:
    """Those of the level, until the fault is lifted."""

    async def test() -> None:
        async with postgres_of(bench) as postgres:
            await postgres.execute("CREATE SCHEMA harness_fault_1; CREATE TABLE harness_fault_1.kept (n int)")
            async with TablesLocked().inject(bench) as bite:
                reading = asyncio.create_task(postgres.fetch("SELECT * FROM harness_fault_1.kept"))
                assert await bites(bite) == 1
                assert not reading.done()
            assert await reading == []
            await postgres.execute("DROP SCHEMA harness_fault_1 CASCADE")

    run(test)


def test_there_has_to_be_a_table_to_lock(bench: LevelBench) -> None:
    """A fault that cannot act says so."""

    async def test() -> None:
        with pytest.raises(FaultFailed, match="no table of this level"):
            async with TablesLocked().inject(bench):
                pass

    run(test)


def test_a_read_only_server_takes_no_write(bench: LevelBench) -> None:
    """Of connections that there were before, too; afterwards it does again."""

    async def test() -> None:
        async with postgres_of(bench) as postgres:
            write = "CREATE TEMPORARY TABLE kept (n int); DROP TABLE kept; CREATE SCHEMA tried; DROP SCHEMA tried"
            async with ReadOnly().inject(bench) as bite:
                assert await bites(bite) == 1
                await until(lambda: postgres.fetchval("SELECT current_setting('transaction_read_only') = 'on'"))
                with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                    await postgres.execute(write)
            await until(lambda: postgres.fetchval("SELECT current_setting('transaction_read_only') = 'off'"))
            await postgres.execute(write)

    run(test)


def test_used_up_connections_refuse_the_next(bench: LevelBench) -> None:
    """Who has one keeps it; and all are given back."""

    async def test() -> None:
        async with postgres_of(bench) as postgres:
            async with ConnectionsUsedUp().inject(bench) as bite:
                assert await bite.count() > 10
                with pytest.raises(asyncpg.TooManyConnectionsError):
                    await asyncpg.connect(bench.url("postgres"), timeout=WAIT_S)
                assert await postgres.fetchval("SELECT 1") == 1
            alone = "SELECT count(*) = 1 FROM pg_stat_activity WHERE state IS NOT NULL"
            await until(lambda: postgres.fetchval(alone))

    run(test)


@pytest.mark.parametrize("what", ["redis", "postgres", "target"])
def test_frozen_processes_go_on_afterwards(what: str, bench: LevelBench) -> None:
    """All of the tree's."""

    async def test() -> None:
        async with Frozen(service=what).inject(bench) as bite:
            assert await bites(bite)

            async def all_are_still() -> bool:
                return {psutil.Process(pid).status() for pid in bench.pids(what)} == {psutil.STATUS_STOPPED}

            await until(all_are_still)
        states = {psutil.Process(pid).status() for pid in bench.pids(what)}
        assert psutil.STATUS_STOPPED not in states

    run(test)


def test_neighbours_burn_and_hold_and_are_gone(bench: LevelBench) -> None:
    """Processors and memory; what the machine does not have is refused."""

    async def test() -> None:
        async with CpuContended(cores=1).inject(bench) as burnt, MemoryHeld(size=50 * 2**20).inject(bench) as held:
            assert await bites(held) >= 50
            assert await bites(burnt) >= 1
        with pytest.raises(FaultFailed, match=r"MiB are more than 80% of the \d+ MiB that are available"):
            async with MemoryHeld(size=2**50).inject(bench):
                pass

    run(test)


def test_a_redis_that_takes_nobody_any_more_fails_the_fault_by_name(bench: LevelBench) -> None:
    """Whoever cannot reach it says so; no client's error comes through."""

    async def test() -> None:
        async with Redis.from_url(bench.url("redis")) as redis:
            await redis.config_set("maxclients", 1)
            try:
                with pytest.raises(FaultFailed, match="Redis did not take PING"):
                    async with WritesPaused().inject(bench):
                        pass
            finally:
                await redis.config_set("maxclients", 10_000)

    asyncio.run(test())
