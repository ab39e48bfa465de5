"""A pool hands out its places in order, waits only when it must, and loses none."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from virtual_time import settle, simulate, turns

from harness.orchestrator.pool import Pool


def clock() -> float:
    return asyncio.get_running_loop().time()


async def use(pool: Pool, seconds: float) -> None:
    """Hold a place for some time, as a step does."""
    place = pool.take(clock())
    if place is not None:
        await pool.granted(place)
    try:
        await asyncio.sleep(seconds)
    finally:
        pool.release(clock())


def test_a_free_place_is_taken_without_waiting() -> None:
    """`take` gives None, not a future, while there are free places."""

    async def main() -> None:
        pool = Pool(2, clock=clock)
        assert pool.take(clock()) is None
        assert pool.take(clock()) is None
        place = pool.take(clock())
        assert place is not None
        assert (pool.busy, pool.waiting) == (2, 1)
        place.cancel()

    simulate(main)


def test_places_go_to_those_who_wait_in_the_order_of_asking() -> None:
    """First come, first served; a newcomer does not overtake when a place is released."""

    async def main() -> None:
        pool = Pool(1, clock=clock)
        served: list[int] = []

        async def user(number: int) -> None:
            place = pool.take(clock())
            if place is not None:
                await pool.granted(place)
            served.append(number)
            await asyncio.sleep(0.1)
            pool.release(clock())

        first = [asyncio.create_task(user(number)) for number in range(3)]
        await asyncio.sleep(0.1)  # the first ends in this very moment
        await asyncio.gather(*first, user(3))
        assert served == [0, 1, 2, 3]

    simulate(main)


def test_a_cancelled_waiter_leaves_the_queue() -> None:
    """Its turn goes to the next, and nothing stays counted as waiting."""

    async def main() -> None:
        pool = Pool(1, clock=clock)
        tasks = [asyncio.create_task(use(pool, 1.0)) for _ in range(3)]
        await turns()
        tasks[1].cancel()
        await turns()
        assert pool.waiting == 1
        await settle(*tasks)
        assert clock() == 2.0
        assert (pool.busy, pool.waiting) == (0, 0)

    simulate(main)


def test_a_place_granted_to_a_waiter_that_is_cancelled_at_once_goes_on() -> None:
    """Granted and cancelled in the same turn of the loop: the place is passed on, not leaked."""

    async def main() -> None:
        pool = Pool(1, clock=clock)
        assert pool.take(clock()) is None
        waiters = [asyncio.create_task(use(pool, 1.0)) for _ in range(2)]
        await turns()
        pool.release(clock())
        waiters[0].cancel()
        results = await settle(*waiters)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1] is None
        assert (pool.busy, pool.waiting) == (0, 0)

    simulate(main)


def test_a_waiter_cancelled_before_it_noticed_is_passed_over() -> None:
    """Cancelled first, then a place is released in the same turn: the next waiter gets it."""

    async def main() -> None:
        pool = Pool(1, clock=clock)
        assert pool.take(clock()) is None
        waiters = [asyncio.create_task(use(pool, 1.0)) for _ in range(2)]
        await turns()
        waiters[0].cancel()
        pool.release(clock())
        results = await settle(*waiters)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1] is None
        assert (pool.busy, pool.waiting) == (0, 0)

    simulate(main)


def test_busy_and_waiting_time_are_integrals_over_everything_under_way_too() -> None:
    """Two steps of 1 s on one place: 2 place seconds busy, 1 waited; half-way the halves are there already."""

    async def main() -> None:
        pool = Pool(1, clock=clock)
        tasks = [asyncio.create_task(use(pool, 1.0)) for _ in range(2)]
        await asyncio.sleep(0.5)
        assert pool.busy_s(clock()) == pytest.approx(0.5)
        assert pool.wait_s(clock()) == pytest.approx(0.5)
        await asyncio.gather(*tasks)
        assert pool.busy_s(clock()) == pytest.approx(2.0)
        assert pool.wait_s(clock()) == pytest.approx(1.0)
        await asyncio.sleep(5.0)
        assert pool.busy_s(clock()) == pytest.approx(2.0)

    simulate(main)


@pytest.mark.parametrize("seed", range(20))
def test_no_place_is_lost_or_doubled_under_random_cancellation(seed: int) -> None:
    """Whatever is cancelled whenever, at most `size` are busy, and in the end none."""

    async def main() -> None:
        rng = Random(seed)
        pool = Pool(3, clock=clock)
        busy = 0

        async def user() -> None:
            nonlocal busy
            place = pool.take(clock())
            if place is not None:
                await pool.granted(place)
            busy += 1
            assert busy <= pool.size
            try:
                await asyncio.sleep(rng.choice((0.0, 0.1, 0.2)))
            finally:
                busy -= 1
                pool.release(clock())

        tasks = []
        for _ in range(60):
            tasks.append(asyncio.create_task(user()))
            if rng.random() < 0.5:
                rng.choice(tasks).cancel()
            await asyncio.sleep(rng.choice((0.0, 0.05, 0.1)))
        results = await settle(*tasks)
        assert {type(result) for result in results} <= {type(None), asyncio.CancelledError}
        assert (busy, pool.busy, pool.waiting) == (0, 0, 0)

    simulate(main)
