"""What travels together, what waits, and what is never sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from harness.store.batcher import Batcher
from harness.store.store import StoreUnavailable


class Slow:
    """A lane that answers each word with itself, in capitals, when it is let."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.let = asyncio.Semaphore(0)
        self.error: Exception | None = None
        self.closed = False

    async def perform(self, entries: Sequence[str]) -> list[str | StoreUnavailable]:
        self.batches.append(list(entries))
        await self.let.acquire()
        if self.error is not None:
            raise self.error
        return [StoreUnavailable("no such word") if entry == "?" else entry.upper() for entry in entries]

    async def close(self) -> None:
        self.closed = True


def check(
    main: Callable[[Slow, Batcher[str, str]], Awaitable[None]], *, batch_max: int = 10, wait_s: float = 30.0
) -> None:
    """On one lane."""

    async def run() -> None:
        lane = Slow()
        await main(lane, Batcher([lane], batch_max=batch_max, wait_s=wait_s, name="here"))

    asyncio.run(run())


async def busy(lane: Slow, batches: int = 1) -> None:
    """Until the lane has been given so many."""
    async with asyncio.timeout(5.0):
        while len(lane.batches) < batches:  # noqa: ASYNC110 - the lane runs on this loop; nothing else tells
            await asyncio.sleep(0)


def test_a_lone_entry_waits_for_nobody_and_what_comes_meanwhile_goes_next() -> None:
    """All of it together, in order."""

    async def main(lane: Slow, batcher: Batcher[str, str]) -> None:
        first = batcher.submit("a")
        await busy(lane)
        others = [batcher.submit(word) for word in "bcd"]
        assert lane.batches == [["a"]]
        lane.let.release()
        assert await first == "A"
        await busy(lane, 2)
        assert lane.batches == [["a"], ["b", "c", "d"]]
        lane.let.release()
        assert [await each for each in others] == ["B", "C", "D"]

    check(main)


def test_a_batch_is_no_longer_than_it_may_be() -> None:
    """Counted by the operations of its entries; one long entry travels alone."""

    async def main(lane: Slow, batcher: Batcher[str, str]) -> None:
        words = [batcher.submit(word) for word in ("ab", "c", "def", "ghijk", "l")]
        lane.let._value = 100
        assert [await each for each in words] == ["AB", "C", "DEF", "GHIJK", "L"]
        assert lane.batches == [["ab", "c"], ["def"], ["ghijk"], ["l"]]

    check(main, batch_max=3)


def test_lanes_that_are_woken_together_share_what_waits() -> None:
    """None of them takes it all."""

    async def run() -> None:
        lanes = [Slow(), Slow()]
        batcher: Batcher[str, str] = Batcher(lanes, batch_max=100, wait_s=30.0, name="here")
        words = [batcher.submit(letter) for letter in "abcdefgh"]
        for lane in lanes:
            await busy(lane)
            lane.let.release()
        assert [await each for each in words] == list("ABCDEFGH")
        assert sorted(len(lane.batches[0]) for lane in lanes) == [4, 4]

    asyncio.run(run())


def test_an_entry_whose_caller_has_gone_is_not_sent() -> None:
    """One that was sent already is done, and its neighbours get their own results."""

    async def main(lane: Slow, batcher: Batcher[str, str]) -> None:
        sent = [batcher.submit(word) for word in "ab"]
        await busy(lane)
        waiting = [batcher.submit(word) for word in "cde"]
        sent[0].cancel()
        waiting[1].cancel()
        lane.let.release()
        lane.let.release()
        assert [await each for each in (sent[1], waiting[0], waiting[2])] == ["B", "C", "E"]
        assert lane.batches == [["a", "b"], ["c", "e"]]

    check(main)


def test_a_failure_is_of_its_batch_and_the_next_goes_on() -> None:
    """Each caller has an exception of its own; one refused entry fails alone."""

    async def main(lane: Slow, batcher: Batcher[str, str]) -> None:
        lane.error = StoreUnavailable("cut")
        failed = [batcher.submit(word) for word in "ab"]
        await busy(lane)
        after = [batcher.submit(word) for word in "c?d"]
        lane.let.release()
        errors = await asyncio.gather(*failed, return_exceptions=True)
        assert [str(error) for error in errors] == ["cut", "cut"]
        assert errors[0] is not errors[1]
        lane.error = None
        lane.let.release()
        ends = await asyncio.gather(*after, return_exceptions=True)
        assert [ends[0], str(ends[1]), ends[2]] == ["C", "no such word", "D"]

    check(main)


def test_waiting_has_an_end() -> None:
    """An entry that no lane takes fails by itself, the oldest first, and is not sent later."""

    async def main(lane: Slow, batcher: Batcher[str, str]) -> None:
        first = batcher.submit("a")
        await busy(lane)
        second = batcher.submit("b")
        with pytest.raises(StoreUnavailable, match=r"here: no connection was free within 0\.05 s"):
            await second
        third = batcher.submit("c")
        lane.let.release()
        assert await first == "A"
        lane.let.release()
        assert await third == "C"
        assert lane.batches == [["a"], ["c"]]

    check(main, wait_s=0.05)


def test_closing_ends_what_was_sent_and_fails_the_rest() -> None:
    """And whatever is asked afterwards."""

    async def main(lane: Slow, batcher: Batcher[str, str]) -> None:
        first = batcher.submit("a")
        await busy(lane)
        second = batcher.submit("b")
        closing = asyncio.ensure_future(batcher.close())
        with pytest.raises(StoreUnavailable, match="was closed"):
            await second
        lane.let.release()
        assert await first == "A"
        await closing
        assert lane.closed
        with pytest.raises(StoreUnavailable, match="was closed"):
            await batcher.submit("c")
        assert lane.batches == [["a"]]

    check(main)
