"""The queue on a Redis stream, on a real server: order, take-over, loss of the stream, and a server that hangs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from harness.child import Children
from harness.orchestrator.stream_queue import Entry, StreamQueue
from harness.service.service import Pausable, Running, ServiceSettings, provide
from harness.store.redis import RedisStore
from harness.store.store import StoreUnavailable

TIMEOUT_S = 0.5


@asynccontextmanager
async def queues(url: str, *owners: str, block_s: float = 0.05) -> AsyncIterator[list[StreamQueue]]:
    """One queue for each owner, on a stream of the test's own that is removed afterwards."""
    namespace = f"t-{uuid4().hex}"
    opened = [await StreamQueue.connect(url, namespace=namespace, owner=owner, block_s=block_s) for owner in owners]
    try:
        yield opened
    finally:
        for queue in opened:
            await queue.close()
        await lose(url, namespace)


async def lose(url: str, namespace: str) -> None:
    """Remove everything below the namespace, the stream included."""
    store = await RedisStore.connect(url, namespace=namespace)
    await store.drop()
    await store.close()


def names(entries: list[Entry]) -> list[str]:
    """The workflows of the entries."""
    return [entry.workflow for entry in entries]


def test_first_in_first_out(redis_url: str) -> None:
    """Entries come in the order they were added, however they are asked for, and leave when they are done."""

    async def main() -> None:
        async with queues(redis_url, "a") as (queue,):
            added = [f"w{number}" for number in range(10)]
            for workflow in added:
                await queue.add(workflow)
            taken = [*await queue.take(3), *await queue.take(100)]
            assert names(taken) == added
            assert await queue.length() == 10
            for entry in taken:
                await queue.done(entry)
            assert await queue.length() == 0
            assert await queue.take(1) == []

    asyncio.run(main())


def test_two_consumers_never_get_the_same_entry(redis_url: str) -> None:
    """200 entries among two owners that take at the same time: each once, and each owner's in order."""

    async def main() -> None:
        async with queues(redis_url, "a", "b") as both:
            added = [f"w{number:03}" for number in range(200)]
            await both[0].repair(added)

            async def drain(queue: StreamQueue) -> list[str]:
                got: list[str] = []
                while entries := await queue.take(3):
                    got += names(entries)
                return got

            first, second = await asyncio.gather(*map(drain, both))
            assert sorted(first + second) == added
            assert first == sorted(first)
            assert second == sorted(second)

    asyncio.run(main())


def test_entries_of_a_dead_consumer_are_taken_over_in_order(redis_url: str) -> None:
    """What it took and left undone goes to the next owner, oldest first; what it never took comes by itself."""

    async def main() -> None:
        async with queues(redis_url, "dead", "next") as (dead, successor):
            for number in range(6):
                await dead.add(f"w{number}")
            (first, *_) = await dead.take(4)
            await dead.done(first)
            await dead.close()
            assert await successor.take_over(60.0) == []
            assert names(await successor.take_over(0.0)) == ["w1", "w2", "w3"]
            assert await successor.take_over(0.0) == []
            assert names(await successor.take(10)) == ["w4", "w5"]

    asyncio.run(main())


def test_a_successor_of_the_same_name_gets_what_was_left_undone(redis_url: str) -> None:
    """A reply that never arrived is no loss: what Redis holds for given to this owner comes with a take."""

    async def main() -> None:
        async with queues(redis_url, "a", "a") as (before, after):
            await before.repair(["w0", "w1", "w2"])
            await before.take(2)
            await before.close()
            assert names(await after.take(1)) == ["w2"]
            assert names(await after.take(5)) == ["w0", "w1"]
            assert await after.take(5) == []

    asyncio.run(main())


def test_nothing_acknowledged_is_lost_with_the_stream(redis_url: str) -> None:
    """What was accepted and is not in the stream any more is put back in the order given, and only that."""

    async def main() -> None:
        namespace = f"t-{uuid4().hex}"
        queue = await StreamQueue.connect(redis_url, namespace=namespace, owner="a", block_s=0.05)
        accepted = [f"w{number:03}" for number in range(300)]
        for workflow in accepted:
            await queue.add(workflow)
        running = names(await queue.take(5))
        await lose(redis_url, namespace)
        waiting = accepted[5:]
        assert await queue.take(1) == []  # and the group is there again
        await queue.add(waiting[0])
        assert await queue.repair(waiting) == len(waiting) - 1
        assert await queue.repair(waiting) == 0
        got: list[str] = []
        while entries := await queue.take(50):
            got += names(entries)
        assert running + got == accepted
        await queue.close()
        await lose(redis_url, namespace)

    asyncio.run(main())


def test_a_stream_that_is_lost_during_a_take_is_created_again(redis_url: str) -> None:
    """Whoever waits for an entry then gets the first one that is added afterwards."""

    async def main() -> None:
        namespace = f"t-{uuid4().hex}"
        queue = await StreamQueue.connect(redis_url, namespace=namespace, owner="a", block_s=5.0)
        waiting = asyncio.create_task(queue.take(1))
        await until_blocked(redis_url)
        await lose(redis_url, namespace)
        await queue.add("w")
        assert names(await waiting) == ["w"]
        await queue.close()
        await lose(redis_url, namespace)

    asyncio.run(main())


async def until_blocked(url: str) -> None:
    """Wait until a connection of the server waits in a blocking command."""
    async with asyncio.timeout(5.0), Redis.from_url(url) as client:
        while True:
            if (await client.info("clients"))["blocked_clients"]:
                return
            await asyncio.sleep(0.01)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Running]:
    """A Redis of this test alone, which may be stopped."""
    with (
        Children(f"test-{os.getpid()}-{tmp_path.name}", tmp_path / "logs") as children,
        provide("redis", ServiceSettings(order=("embedded", "program", "container")), children) as running,
    ):
        yield running


def test_a_server_that_hangs_is_an_error_within_the_timeout(own: Running) -> None:
    """Every operation says so in time; when it answers again the same queue goes on, and has lost nothing."""
    assert isinstance(own, Pausable)

    async def main() -> None:
        queue = await StreamQueue.connect(own.url, namespace="t", owner="a", timeout_s=TIMEOUT_S, block_s=0.2)
        await queue.repair(["w0", "w1", "w2"])
        (first,) = await queue.take(1)
        own.pause()
        for operation in (queue.add("w3"), queue.take(1), queue.done(first), queue.length(), queue.take_over(0.0)):
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match="gave no answer"):
                await operation
            assert time.monotonic() - began < 2 * (TIMEOUT_S + 0.2) + 1.0
        own.resume()
        await until_it_answers(queue)
        await queue.repair(["w1", "w2", "w3"])
        got: list[str] = []
        while not {"w1", "w2", "w3"} <= set(got):
            for entry in await queue.take(10):
                got.append(entry.workflow)
                await queue.done(entry)
        await until_empty(queue)
        await queue.close()

    asyncio.run(main())


async def until_it_answers(queue: StreamQueue) -> None:
    """Wait for the server to come to itself."""
    async with asyncio.timeout(10.0):
        while True:
            try:
                await queue.length()
                return
            except StoreUnavailable:
                await asyncio.sleep(0.02)


async def until_empty(queue: StreamQueue) -> None:
    """Take and end whatever comes twice, until nothing is left."""
    async with asyncio.timeout(10.0):
        while await queue.length():
            for entry in await queue.take(10):
                await queue.done(entry)
