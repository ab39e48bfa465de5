"""One owner at a time, each with a higher token, and no clock that anybody shares."""

from __future__ import annotations

import asyncio

import pytest
from virtual_time import settle, simulate, turns

from harness.orchestrator.lease import KEY, Lease
from harness.store.fallback import FallbackStore
from harness.store.memory import MemoryStore
from harness.store.store import Expired, StateStore, StoreUnavailable, Versioned, WriteResult

LEASE_S = 1.0


def clock() -> float:
    return asyncio.get_running_loop().time()


class Cuttable(MemoryStore):
    """A store that can be away."""

    away = False

    async def write(self, *args: object, **kwargs: object) -> WriteResult:  # type: ignore[override]
        if self.away:
            raise StoreUnavailable("away")
        return await super().write(*args, **kwargs)  # type: ignore[arg-type]


class Contender:
    """A lease and whether it was lost."""

    def __init__(self, store: StateStore) -> None:
        self.replaced = 0
        self.lease = Lease(store, lease_s=LEASE_S, clock=clock, on_replaced=self.count)

    def count(self) -> None:
        self.replaced += 1

    async def crash(self) -> None:
        """The owner is gone without a word."""
        assert self.lease._beating is not None
        self.lease._beating.cancel()
        await turns()


def test_the_first_owner_need_not_wait() -> None:
    """An empty store is free; its token is 1."""

    async def main() -> None:
        one = Contender(MemoryStore(clock=clock))
        assert await one.lease.acquire() == 1
        assert clock() == 0
        await one.lease.release()

    simulate(main)


def test_a_released_lease_is_free_at_once() -> None:
    """The next owner has a higher token."""

    async def main() -> None:
        store = MemoryStore(clock=clock)
        one, two = Contender(store), Contender(store)
        await one.lease.acquire()
        await one.lease.release()
        assert await two.lease.acquire() == 2
        assert clock() == 0
        await two.lease.release()

    simulate(main)


def test_a_living_owner_is_never_replaced() -> None:
    """However long somebody waits; when it dies, it takes one lease and no longer than that and a look."""

    async def main() -> None:
        store = MemoryStore(clock=clock)
        one, two = Contender(store), Contender(store)
        await one.lease.acquire()
        waiting = asyncio.create_task(two.lease.acquire())
        await asyncio.sleep(60.0)
        assert not waiting.done()
        await one.crash()
        died = clock()
        assert await waiting == 2
        assert LEASE_S * 2 / 3 - 0.1 <= clock() - died <= LEASE_S * 1.1
        await two.lease.release()

    simulate(main)


def test_an_owner_that_was_paused_learns_that_it_was_replaced() -> None:
    """At its next beat; it does not take the lease back."""

    async def main() -> None:
        store = MemoryStore(clock=clock)
        one, two = Contender(store), Contender(store)
        await one.lease.acquire()
        found = await store.read(KEY)
        await one.crash()
        assert await two.lease.acquire() == 2
        one.lease._beating = asyncio.create_task(one.lease._beat())
        await asyncio.sleep(LEASE_S)
        assert (one.replaced, two.replaced) == (1, 0)
        after = await store.read(KEY)
        assert after is not None
        assert found is not None
        assert after.version > found.version
        await two.lease.release()

    simulate(main)


def test_of_many_contenders_one_wins_each_time() -> None:
    """Tokens are never given twice."""

    async def main() -> None:
        store = MemoryStore(clock=clock)
        contenders = [Contender(store) for _ in range(20)]
        waiting = {asyncio.create_task(each.lease.acquire()): each for each in contenders}
        tokens = []
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            assert len(done) == 1
            tokens.append(done.pop().result())
            winner = next(each for task, each in waiting.items() if task.done())
            waiting = {task: each for task, each in waiting.items() if not task.done()}
            await winner.lease.release()
        assert tokens == list(range(1, 21))

    simulate(main)


def test_a_store_that_is_away_for_a_while_costs_nobody_the_lease() -> None:
    """The owner goes on beating when it is back."""

    async def main() -> None:
        store = Cuttable(clock=clock)
        one = Contender(store)
        await one.lease.acquire()
        store.away = True
        await asyncio.sleep(5.0)
        store.away = False
        await asyncio.sleep(LEASE_S)
        assert one.replaced == 0
        store.away = True
        await one.lease.release()  # says so in the log, and does not fail

    simulate(main)


def test_a_slow_answer_is_not_taken_for_a_silent_owner() -> None:
    """Silence is counted from when the answer came: before that, the store had it and not the owner."""

    class SlowAtFirst(MemoryStore):
        """Another's view of the same documents; its first read takes nearly a lease."""

        def __init__(self, store: MemoryStore) -> None:
            super().__init__(clock=clock)
            self._documents = store._documents
            self.delays_s = [LEASE_S * 0.98]

        async def read(self, key: str) -> Versioned | Expired | None:
            await asyncio.sleep(self.delays_s.pop() if self.delays_s else 0.0)
            return await super().read(key)

    async def main() -> None:
        store = MemoryStore(clock=clock)
        one, two = Contender(store), Contender(SlowAtFirst(store))
        await one.lease.acquire()
        await asyncio.sleep(0.7)
        waiting = asyncio.create_task(two.lease.acquire())
        await asyncio.sleep(5.0)
        assert not waiting.done()
        waiting.cancel()
        await settle(waiting)
        await one.lease.release()

    simulate(main)


def test_a_lease_is_released_though_a_beat_was_under_way() -> None:
    """The beat took place and its answer was not waited for: the release is not taken for it."""

    class SlowToAnswer(MemoryStore):
        """A write is done at once and answered later."""

        async def write(self, *args: object, **kwargs: object) -> WriteResult:  # type: ignore[override]
            result = await super().write(*args, **kwargs)  # type: ignore[arg-type]
            await asyncio.sleep(0.1)
            return result

    async def main() -> None:
        store = SlowToAnswer(clock=clock)
        one, two = Contender(store), Contender(store)
        await one.lease.acquire()
        await asyncio.sleep(LEASE_S / 3 + 0.05)
        await one.lease.release()
        released = clock()
        await two.lease.acquire()
        assert clock() - released <= 0.1 + LEASE_S / 10
        await two.lease.release()

    simulate(main)


def test_a_store_that_takes_no_writes_is_said_at_the_start() -> None:
    """That it can be read is not enough: nobody waits for ever for a lease that cannot be taken."""

    async def main() -> None:
        store = Cuttable(clock=clock)
        store.away = True
        with pytest.raises(StoreUnavailable, match="away"):
            await asyncio.wait_for(Contender(store).lease.acquire(), 60.0)

    simulate(main)


def test_a_lease_is_not_taken_in_memory_alone() -> None:
    """While the store is away its copy in memory stands still, which says nothing about the owner."""

    class Away(MemoryStore):
        away = False

        async def read(self, key: str) -> Versioned | Expired | None:
            if self.away:
                raise StoreUnavailable("away")
            return await super().read(key)

        async def write(self, *args: object, **kwargs: object) -> WriteResult:  # type: ignore[override]
            if self.away:
                raise StoreUnavailable("away")
            return await super().write(*args, **kwargs)  # type: ignore[arg-type]

    async def main() -> None:
        primary = Away(clock=clock)
        store = FallbackStore(primary, documents_max=100, clock=clock)
        one, two = Contender(primary), Contender(store)
        await one.lease.acquire()
        waiting = asyncio.create_task(two.lease.acquire())
        await asyncio.sleep(0.5)
        primary.away = True
        await asyncio.sleep(5.0)
        assert not waiting.done()
        primary.away = False
        await asyncio.sleep(5.0)
        assert not waiting.done()  # its owner lives
        assert one.replaced == 0
        await one.lease.release()
        assert await waiting == 2
        await two.lease.release()
        await store.close()

    simulate(main)
