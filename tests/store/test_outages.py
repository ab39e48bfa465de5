"""What the stores on real servers do when the server dies, hangs, forgets, or loses a reply."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from redis.asyncio import Redis

from harness.store.postgres import PostgresStore
from harness.store.redis import RedisStore
from harness.store.store import Expired, StateStore, StoreUnavailable, Versioned, WriteResult

TIMEOUT_S = 0.5
BOUND_S = 5.0  # far above what is promised (twice the timeout), far below what clients do by default (60 s)
Open = Callable[..., Awaitable[Any]]
OPEN: dict[str, Open] = {"redis": RedisStore.connect, "postgres": PostgresStore.connect}


@pytest.fixture(params=list(OPEN))
def kind(request: pytest.FixtureRequest) -> str:
    """Both stores."""
    return str(request.param)


@pytest.fixture
def own(kind: str, request: pytest.FixtureRequest) -> Any:
    """A server that the test may break."""
    return request.getfixturevalue(f"own_{kind}")


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest) -> str:
    """A server that the test leaves well."""
    return str(request.getfixturevalue(f"{kind}_url"))


async def opened(kind: str, url: str, **options: Any) -> Any:
    """A store with a namespace of its own."""
    return await OPEN[kind](url, **{"namespace": f"t-{uuid4().hex}", "timeout_s": TIMEOUT_S, **options})


async def again(store: StateStore, key: str, value: bytes, if_version: int, op_id: str) -> WriteResult:
    """What a caller does: the same operation id, until there is an answer."""
    until = time.monotonic() + 20.0
    while True:
        try:
            return await store.write(key, value, if_version=if_version, op_id=op_id)
        except StoreUnavailable:
            assert time.monotonic() < until, "it never recovered"
            await asyncio.sleep(0.02)


def test_a_killed_server_is_unavailable_and_the_store_recovers_by_itself(kind: str, own: Any) -> None:
    """Fifty writers in the middle of their work end in StoreUnavailable, soon; after a restart the same store works."""

    async def main() -> None:
        store = await opened(kind, own.url)
        busy = asyncio.Event()

        async def write(task: int) -> None:
            for turn in range(1_000_000):
                await store.merge(f"k{task}", {"f": b"%d" % turn}, op_id=str(turn))
                if turn == 5:
                    busy.set()

        tasks = [asyncio.ensure_future(write(task)) for task in range(50)]
        await busy.wait()
        await asyncio.to_thread(own.kill)
        began = time.monotonic()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert time.monotonic() - began < BOUND_S
        assert {type(end) for end in ends} == {StoreUnavailable}
        with pytest.raises(StoreUnavailable, match="not there or went away"):
            await store.read("k0")
        await asyncio.to_thread(own.start)
        result = await again(store, "new", b"v", 0, "a")
        assert (result.ok, result.version) == (True, 1)
        assert await store.read("new") == Versioned(1, b"v", {})
        await store.close()

    asyncio.run(main())


def test_a_server_that_hangs_is_unavailable_within_the_timeout(kind: str, own: Any) -> None:
    """Held still it accepts connections and answers nothing: old connections and new ones give up in time."""

    async def main() -> None:
        store = await opened(kind, own.url)
        await store.write("k", b"v", if_version=0, op_id="a")
        own.hold(signal.SIGSTOP)
        try:
            for _ in range(2):  # on the connection that was there; and on a new one
                began = time.monotonic()
                reads = [store.read("k") for _ in range(50)]
                ends = await asyncio.gather(*reads, return_exceptions=True)
                assert time.monotonic() - began < BOUND_S
                assert {type(end) for end in ends} == {StoreUnavailable}
            assert any("within" in str(end) for end in ends)
        finally:
            own.hold(signal.SIGCONT)
        assert (await again(store, "k", b"w", 1, "b")).version == 2
        await store.close()

    asyncio.run(main())


def test_a_lost_reply_is_unknown_and_the_same_operation_id_tells(kind: str, url: str, relay: Any) -> None:
    """The write took place, its reply was lost; asked again it is answered as the first time, and not done twice."""

    async def main() -> None:
        async with relay(url) as (between, through):
            store = await opened(kind, through)
            await store.write("k", b"1", if_version=0, op_id="a")
            between.lose_next_reply = True
            with pytest.raises(StoreUnavailable):
                await store.write("k", b"2", if_version=1, op_id="b")
            assert between.lost == 1
            assert await store.write("k", b"2", if_version=1, op_id="b") == WriteResult(True, 2, replayed=True)
            between.lose_next_reply = True
            with pytest.raises(StoreUnavailable):
                await store.merge("k", {"f": b"1"}, op_id="c")
            assert await store.merge("k", {"f": b"1"}, op_id="c") == WriteResult(True, 3, replayed=True)
            assert await store.read("k") == Versioned(3, b"2", {"f": b"1"})
            await store.drop()
            await store.close()

    asyncio.run(main())


def test_a_cancelled_caller_harms_nobody_else(kind: str, url: str) -> None:
    """Half of many callers are cancelled at random times; every other one gets its own document."""

    async def main() -> None:
        store = await opened(kind, url, timeout_s=5.0)
        for number in range(40):
            await store.write(f"k{number}", b"%d" % number, if_version=0, op_id="a")
        for turn in range(30):
            tasks = {number: asyncio.ensure_future(store.read(f"k{number}")) for number in range(40)}
            for _ in range(turn % 7):
                await asyncio.sleep(0)
            for number in range(turn % 2, 40, 2):
                tasks[number].cancel()
            await asyncio.wait(tasks.values())
            for number, task in tasks.items():
                if not task.cancelled():
                    assert task.result() == Versioned(1, b"%d" % number, {})
                else:
                    assert number % 2 == turn % 2
        await store.drop()
        await store.close()

    asyncio.run(main())


def test_scripts_that_the_server_forgot_are_loaded_again(own_redis: Any) -> None:
    """After SCRIPT FLUSH nothing is refused, not even once."""

    async def main() -> None:
        store = await opened("redis", own_redis.url)
        client = Redis.from_url(own_redis.url)
        for number in range(3):
            await client.script_flush()
            results = await asyncio.gather(*[store.merge("k", {f"{n}": b""}, op_id=f"{number}/{n}") for n in range(20)])
            assert sorted(result.version for result in results) == list(range(number * 20 + 1, number * 20 + 21))
        await client.aclose()
        await store.close()

    asyncio.run(main())


def test_a_connection_that_redis_closed_while_nobody_used_it_is_not_noticed(own_redis: Any) -> None:
    """As after a restart, or an idle timeout of the server's: the next operation goes over a new one."""

    async def main() -> None:
        store = await opened("redis", own_redis.url)
        client = Redis.from_url(own_redis.url)
        for version in range(3):
            await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await client.ping()  # answered after the server closed the other connection
            await asyncio.sleep(0)
            assert await store.write("k", b"v", if_version=version, op_id=str(version)) == WriteResult(
                True, version + 1
            )
        await client.aclose()
        await store.close()

    asyncio.run(main())


def test_a_full_redis_refuses_loudly(own_redis: Any) -> None:
    """Out of memory: reads go on, writes say why, and it is over when there is room again."""

    async def main() -> None:
        store = await opened("redis", own_redis.url)
        await store.write("k", b"v", if_version=0, op_id="a")
        client = Redis.from_url(own_redis.url)
        await client.config_set("maxmemory", "1")
        with pytest.raises(StoreUnavailable, match="memory"):
            await store.write("k", b"w", if_version=1, op_id="b")
        assert await store.read("k") == Versioned(1, b"v", {})
        await client.config_set("maxmemory", "0")
        assert await store.write("k", b"w", if_version=1, op_id="b") == WriteResult(True, 2)
        await client.aclose()
        await store.close()

    asyncio.run(main())


def test_a_connection_that_the_server_ended_is_replaced(postgres_url: str) -> None:
    """All backends of the store are terminated; the next operation that is repeated is done."""

    async def main() -> None:
        store = await opened("postgres", postgres_url)
        await asyncio.gather(*[store.write(f"k{n}", b"", if_version=0, op_id="a") for n in range(40)])
        other = await asyncpg.connect(postgres_url)
        await other.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'harness' and pid <> pg_backend_pid()"
        )
        await other.close()
        assert (await again(store, "k0", b"v", 1, "b")).version == 2
        await store.drop()
        await store.close()

    asyncio.run(main())


def test_waiting_for_a_connection_has_an_end(postgres_url: str) -> None:
    """While somebody holds every lock, callers beyond the connections fail by the acquire deadline, not never."""

    async def main() -> None:
        store = await opened("postgres", postgres_url, connections=1, timeout_s=4.0, acquire_s=0.2, batched=False)
        await store.write("k", b"v", if_version=0, op_id="a")
        other = await asyncpg.connect(postgres_url)
        async with other.transaction():
            await other.execute(f'lock table "{store.namespace}".document')
            first = asyncio.ensure_future(store.write("k", b"w", if_version=1, op_id="b"))
            await asyncio.sleep(0)
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match=r"no connection was free within 0\.2 s"):
                await store.read("other")
            assert time.monotonic() - began < 1.0
            with pytest.raises(StoreUnavailable, match="a lock was not to be had"):
                await first
        assert await store.write("k", b"w", if_version=1, op_id="b") == WriteResult(True, 2)
        await other.close()
        await store.drop()
        await store.close()

    asyncio.run(main())


def test_expired_in_redis_is_known_as_such_longer_than_the_server_keeps_time(redis_url: str) -> None:
    """By the server's clock: the tombstone outlives the document, and both keys go in the end."""

    async def main() -> None:
        store = await opened("redis", redis_url, tombstone_kept_s=3600.0)
        await store.write("k", b"v", if_version=0, op_id="a", ttl_s=0.05)
        until = time.monotonic() + 5.0
        while isinstance(await store.read("k"), Versioned):
            assert time.monotonic() < until
        assert await store.read("k") == Expired(1)
        client = Redis.from_url(redis_url)
        for part in "do":
            left_ms = await client.pttl(f"{store.namespace}:{part}:{{k}}")
            assert 3_590_000 < left_ms <= 3_600_050
        await client.aclose()
        await store.drop()
        await store.close()

    asyncio.run(main())
