"""Turns come in the stream's order, to as many as there are slots, whatever the stream loses. On a real server."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import pytest
import redis

from harness.orchestrator.stream_queue import StreamQueue
from harness.orchestrator.turns import Turns

Open = Callable[..., Awaitable[Turns]]
GRANTED_S = 20.0


def run(url: str, main: Callable[[Open, str], Awaitable[None]]) -> None:
    """`main` with a maker of turns over one stream of its own, each by the next owner."""

    async def whole() -> None:
        namespace = f"turns_{secrets.token_hex(4)}"
        opened: list[Turns] = []

        async def open_turns(slots: int, unfinished: tuple[str, ...] = ()) -> Turns:
            owner = str(len(opened) + 1)
            queue = await StreamQueue.connect(url, namespace=namespace, owner=owner, block_s=0.05)
            turns = Turns(queue, slots)
            opened.append(turns)
            await turns.open(unfinished)
            return turns

        try:
            async with asyncio.timeout(GRANTED_S):
                await main(open_turns, f"{namespace}:queue")
        finally:
            for turns in opened:
                await turns.close()

    asyncio.run(whole())


def test_turns_come_in_order_and_no_more_than_there_are_slots(redis_url: str) -> None:
    """A turn that is done makes room for the next."""

    async def main(open_turns: Open, stream: str) -> None:
        turns = await open_turns(2)
        begun: list[str] = []
        running = most = 0

        async def work(workflow: str) -> None:
            nonlocal running, most
            await turns.granted(workflow)
            begun.append(workflow)
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            await turns.done(workflow)

        names = [f"w-{number}" for number in range(20)]
        for name in names:
            await turns.add(name)
        await asyncio.gather(*[work(name) for name in names])
        assert begun == names
        assert most <= 2
        assert turns.waiting == 0

    run(redis_url, main)


def test_a_successor_goes_on_with_what_was_taken_and_what_was_not(redis_url: str) -> None:
    """In order of acceptance; what ended meanwhile leaves the stream without a turn."""

    async def main(open_turns: Open, stream: str) -> None:
        first = await open_turns(2)
        for name in ("w-0", "w-1", "w-2", "w-3"):
            await first.add(name)
        await first.granted("w-0")
        await first.granted("w-1")
        await first.close()  # dies holding both; w-0 had ended, and that was stored
        second = await open_turns(1, ("w-1", "w-2", "w-3"))
        for name in ("w-1", "w-2", "w-3"):
            await second.granted(name)
            await second.done(name)
        with redis.Redis.from_url(redis_url) as client:
            assert client.xlen(stream) == 0
        assert second.requeued == 0

    run(redis_url, main)


def test_what_the_stream_lost_is_put_back(redis_url: str) -> None:
    """All of it, in order, and counted."""

    async def main(open_turns: Open, stream: str) -> None:
        turns = await open_turns(1)
        for name in ("w-0", "w-1", "w-2"):
            await turns.add(name)
        await turns.granted("w-0")
        with redis.Redis.from_url(redis_url) as client:
            client.delete(stream)
        await turns.done("w-0")
        for name in ("w-1", "w-2"):
            await turns.granted(name)
            await turns.done(name)
        assert turns.requeued == 2

    run(redis_url, main)


def test_one_that_gave_up_waiting_holds_up_nobody(redis_url: str) -> None:
    """Its entry is taken out when it comes."""

    async def main(open_turns: Open, stream: str) -> None:
        turns = await open_turns(1)
        for name in ("w-0", "w-1", "w-2"):
            await turns.add(name)
        await turns.granted("w-0")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(turns.granted("w-1"), 0.01)
        await turns.done("w-1")
        await turns.done("w-0")
        await turns.granted("w-2")

    run(redis_url, main)
