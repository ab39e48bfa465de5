"""Making a document in Redis what it is in the authority."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

from redis.asyncio import Redis

from harness.store.redis import RedisStore
from harness.store.store import Expired, Versioned, WriteResult


class Hands:
    """A clock set by hand."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def on_redis(url: str, main: Callable[[RedisStore, Hands], Awaitable[None]]) -> None:
    """A store with a namespace of its own."""

    async def run() -> None:
        clock = Hands()
        store = await RedisStore.connect(url, namespace=f"t-{uuid4().hex}", clock=clock)
        try:
            await main(store, clock)
        finally:
            await store.drop()
            assert await store.scan("") == []
            await store.close()

    asyncio.run(run())


def test_what_is_older_or_absent_becomes_exactly_what_is_given(redis_url: str) -> None:
    """Version, value, fields and fencing token; fields that are not in it go."""

    async def main(store: RedisStore, clock: Hands) -> None:
        truth = Versioned(7, b"true", {"v": b"1", "": b"\xff"}, fence=3)
        assert await store.restore("absent", truth)
        assert await store.read("absent") == truth
        await store.merge("old", {"gone": b"1"}, op_id="a", fence=9)
        assert await store.restore("old", truth)
        assert await store.read("old") == truth
        assert await store.restore("old", truth)
        assert await store.write("old", b"next", if_version=7, op_id="b", fence=3) == WriteResult(True, 8)

    on_redis(redis_url, main)


def test_what_is_newer_stays(redis_url: str) -> None:
    """A repair that comes late does no harm."""

    async def main(store: RedisStore, clock: Hands) -> None:
        for number in range(3):
            await store.merge("k", {"f": b"%d" % number}, op_id=str(number))
        assert not await store.restore("k", Versioned(2, b"late", {}))
        assert await store.read("k") == Versioned(3, b"", {"f": b"2"})

    on_redis(redis_url, main)


def test_operations_from_before_are_still_known(redis_url: str) -> None:
    """A write sent again after the repair is not done a second time."""

    async def main(store: RedisStore, clock: Hands) -> None:
        await store.merge("k", {"f": b"1"}, op_id="a")
        assert await store.restore("k", Versioned(4, b"", {"f": b"4"}))
        assert await store.merge("k", {"f": b"1"}, op_id="a") == WriteResult(True, 1, replayed=True)

    on_redis(redis_url, main)


def test_a_life_that_runs_goes_on_and_a_tombstone_comes_alive_for_good(redis_url: str) -> None:
    """The time to live is Redis's own, and not part of what is restored."""

    async def main(store: RedisStore, clock: Hands) -> None:
        await store.write("runs", b"", if_version=0, op_id="a", ttl_s=10.0)
        await store.write("ended", b"", if_version=0, op_id="a", ttl_s=1.0)
        clock.now_s += 2.0
        for key in ("runs", "ended"):
            assert await store.restore(key, Versioned(2, b"w", {}))
            assert await store.read(key) == Versioned(2, b"w", {})
        clock.now_s += 100.0
        assert await store.read("runs") == Expired(2)
        assert await store.read("ended") == Versioned(2, b"w", {})
        client = Redis.from_url(redis_url)
        assert await client.pttl(f"{store.namespace}:d:{{runs}}") > 0
        for part in "do":
            assert await client.pttl(f"{store.namespace}:{part}:{{ended}}") == -1
        await client.aclose()

    on_redis(redis_url, main)


def test_drop_leaves_other_namespaces_alone(redis_url: str) -> None:
    """Also one whose name begins the same."""

    async def main(store: RedisStore, clock: Hands) -> None:
        other = await RedisStore.connect(redis_url, namespace=f"{store.namespace}-other")
        await other.merge("k", {}, op_id="a")
        for number in range(2500):
            store_key = f"k{number}"
            await store.restore(store_key, Versioned(1, b"", {}))
        assert len(await store.scan("")) == 2500
        await store.drop()
        assert await store.scan("") == []
        assert await other.read("k") == Versioned(1, b"", {})
        await other.drop()
        await other.close()

    on_redis(redis_url, main)
