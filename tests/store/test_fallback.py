"""Going on in memory while Redis is away: never for ever, never without a bound, never without saying so."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from wire import Wire

from harness.store.fallback import FallbackStore
from harness.store.memory import MemoryStore
from harness.store.redis import RedisStore
from harness.store.store import Expired, StateStore, StoreUnavailable, Versioned, Write

PROBE_S = 0.005


class Hands:
    """A clock set by hand."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def over(wire: StateStore, **options: Any) -> FallbackStore:
    """A store with a quick prober."""
    return FallbackStore(wire, **{"documents_max": 1000, "clock": time.monotonic, "probe_s": PROBE_S, **options})


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it, not for ever."""
    async with asyncio.timeout(20.0):
        while True:
            if condition():
                return
            await asyncio.sleep(0.001)


async def back(store: FallbackStore) -> None:
    """Wait until it is authoritative again."""
    await until(lambda: not store.provisional)


def test_latched_for_ever_it_is_not() -> None:
    """Through thirty absences, some of which begin in the middle of a promotion, it always comes back, with all."""

    async def main() -> None:
        wire = Wire()
        store = over(wire)
        version = 0
        for absence in range(30):
            wire.cut = True
            for _ in range(5):
                result = await store.write("k", b"%d" % version, if_version=version, op_id=str(version))
                assert (result.ok, result.provisional) == (True, True)
                version = result.version
            wire.cut_after = absence % 7  # the probe or the replay fails again
            wire.cut = False
            await until(lambda: wire.cut_after is None or not store.provisional)
            wire.cut, wire.cut_after = False, None
            await back(store)
            assert store.held == 0
        assert await wire.store.read("k") == Versioned(150, b"149", {})
        assert not (await store.write("k", b"", if_version=150, op_id="last")).provisional
        assert (store.provisional_writes, store.promotions, store.diverged) == (150, 30, 0)
        await store.close()

    asyncio.run(main())


def test_unbounded_it_is_not() -> None:
    """Documents, bytes and copies have a bound; beyond it a write is refused with the reason, and nothing is lost."""

    async def main() -> None:
        wire = Wire()
        store = over(wire, documents_max=10, bytes_max=20_000)
        for number in range(100):
            await store.write(f"before{number}", b"x" * 100, if_version=0, op_id="a")
        wire.cut = True
        with pytest.raises(StoreUnavailable, match="'before0' is not known in memory"):
            await store.read("before0")
        assert len(await store.scan("before")) == 10
        for number in range(10):
            assert (await store.write(f"new{number}", b"v", if_version=0, op_id="a")).ok
        with pytest.raises(StoreUnavailable, match="the line is cut; and 10 documents are held in memory already"):
            await store.write("new10", b"v", if_version=0, op_id="a")

        async def fill() -> None:
            for turn in range(1, 1000):
                await store.write("new0", b"y" * 1000, if_version=turn, op_id=str(turn))

        with pytest.raises(StoreUnavailable, match="bytes are held in memory already"):
            await fill()
        wire.cut = False
        await back(store)
        assert (await store.write("new10", b"v", if_version=0, op_id="a")).provisional is False
        kept = dict(await wire.store.scan("new"))
        assert sorted(kept) == sorted(f"new{number}" for number in range(11))
        assert kept["new0"].version == store.provisional_writes - 9
        await store.close()

    asyncio.run(main())


def test_silently_authoritative_it_is_not() -> None:
    """While the primary is away every result says that it is provisional, and afterwards none does."""

    async def main() -> None:
        changes: list[bool] = []
        wire = Wire()
        store = over(wire, on_change=changes.append)

        async def marks() -> set[bool]:
            written = await store.write("w", b"v", if_version=(await known("w")), op_id=uuid4().hex)
            merged = await store.merge("m", {"f": b"1"}, op_id=uuid4().hex)
            refused = await store.write("w", b"v", if_version=999, op_id="never")
            batched = await store.batch([Write("b", b"v", await known("b"), uuid4().hex)])
            claimed = await store.claim("w", written.version)
            scanned = await store.scan("")
            assert [key for key, _ in scanned] == ["b", "m", "w"]
            read = await store.read("m")
            assert isinstance(claimed, Versioned)
            assert isinstance(read, Versioned)
            assert not refused.ok
            results = [written, merged, refused, *batched, claimed, read, *(each for _, each in scanned)]
            return {each.provisional for each in results}

        async def known(key: str) -> int:
            found = await wire.store.read(key) if not store.provisional else await store.read(key)
            return found.version if isinstance(found, Versioned) else 0

        assert await marks() == {False}
        wire.cut = True
        assert (await store.merge("m", {"g": b"2"}, op_id="first")).provisional
        assert store.provisional
        assert await marks() == {True}
        wire.cut = False
        await back(store)
        assert await marks() == {False}
        assert changes == [True, False]
        await store.close()

    asyncio.run(main())


def test_what_is_not_known_is_refused_and_not_guessed() -> None:
    """No read of a document this process never saw, no write that rests on one; a merge needs neither."""

    async def main() -> None:
        wire = Wire()
        await wire.store.write("other", b"v", if_version=0, op_id="a")
        store = over(wire)
        wire.cut = True
        for ask in (
            store.read("other"),
            store.claim("other", 3),
            store.write("other", b"w", if_version=1, op_id="b"),
        ):
            with pytest.raises(StoreUnavailable, match="'other' is not known in memory"):
                await ask
        assert (await store.merge("other", {"f": b"1"}, op_id="c")).provisional
        wire.cut = False
        await back(store)
        assert await store.read("other") == Versioned(2, b"v", {"f": b"1"})
        assert store.diverged == 0
        await store.close()

    asyncio.run(main())


def test_what_is_written_over_and_over_stays_known() -> None:
    """Copies go by when they were last written: a lease or a hot document outlives any number of others."""

    async def main() -> None:
        wire = Wire()
        store = over(wire, documents_max=10)
        for number in range(100):
            await store.merge("hot", {str(number % 5): b"v"}, op_id=str(number))
            await store.write(f"k{number}", b"v", if_version=0, op_id="a")
        wire.cut = True
        await store.merge("hot", {"f": b"v"}, op_id="away")
        found = await store.read("hot")
        assert found == Versioned(101, b"", dict.fromkeys("01234f", b"v"), provisional=True)
        await store.close()

    asyncio.run(main())


def test_a_write_whose_reply_was_lost_is_done_once() -> None:
    """It took place, was done again in memory, and is recognised when it is replayed."""

    async def main() -> None:
        wire = Wire()
        store = over(wire)
        await store.write("k", b"1", if_version=0, op_id="a")
        wire.replies_lost = 1
        result = await store.write("k", b"2", if_version=1, op_id="b")
        assert (result.ok, result.version, result.provisional) == (True, 2, True)
        assert (await store.write("k", b"2", if_version=1, op_id="b")).replayed
        assert (await store.write("k", b"1", if_version=0, op_id="a")).replayed
        await back(store)
        assert await wire.store.read("k") == Versioned(2, b"2", {})
        assert (store.diverged, store.provisional_writes) == (0, 1)
        await store.close()

    asyncio.run(main())


def test_where_the_primary_has_moved_on_it_wins() -> None:
    """The document is counted and named; what was decided on its provisional state is not written, by no accident."""

    async def main() -> None:
        wire = Wire()
        store = over(wire)
        for key in ("moved", "mine"):
            await store.write(key, b"1", if_version=0, op_id="a")
        wire.cut = True
        for key in ("moved", "mine"):
            await store.write(key, b"2", if_version=1, op_id="b")
            await store.write(key, b"3", if_version=2, op_id="c")  # version 2 is what the other one makes
        await wire.store.write("moved", b"other", if_version=1, op_id="other")
        wire.cut = False
        await back(store)
        assert await store.read("moved") == Versioned(2, b"other", {})
        assert await store.read("mine") == Versioned(3, b"3", {})
        assert (store.diverged, list(store.diverged_keys)) == (1, ["moved"])
        await store.close()

    asyncio.run(main())


def test_merges_of_both_sides_stand() -> None:
    """A document that others merged into meanwhile has diverged from nobody."""

    async def main() -> None:
        wire = Wire()
        store = over(wire)
        await store.merge("hot", {"a": b"1"}, op_id="a")
        wire.cut = True
        await store.merge("hot", {"b": b"1"}, op_id="b")
        await wire.store.merge("hot", {"c": b"1"}, op_id="c")
        wire.cut = False
        await back(store)
        assert await store.read("hot") == Versioned(3, b"", {"a": b"1", "b": b"1", "c": b"1"})
        assert store.diverged == 0
        await store.close()

    asyncio.run(main())


def test_a_claim_made_meanwhile_is_replayed_and_one_of_a_newer_owner_diverges() -> None:
    """Fencing tokens survive an absence, in the order of the writes around them."""

    async def main() -> None:
        wire = Wire()
        store = over(wire)
        for key in ("ours", "theirs"):
            await store.write(key, b"1", if_version=0, op_id="a", fence=1)
        wire.cut = True
        for key in ("ours", "theirs"):
            await store.write(key, b"2", if_version=1, op_id="b", fence=1)
            await store.claim(key, 5)
            assert (await store.write(key, b"x", if_version=2, op_id="c", fence=1)).fenced
        await wire.store.claim("theirs", 9)
        wire.cut = False
        await back(store)
        assert await store.read("ours") == Versioned(2, b"2", {}, 5)
        assert await store.read("theirs") == Versioned(1, b"1", {}, 9)
        assert list(store.diverged_keys) == ["theirs"]
        await store.close()

    asyncio.run(main())


def test_the_time_to_live_that_is_left_is_what_is_replayed() -> None:
    """A document does not live longer for having been written in an absence, and one that expired stays expired."""

    async def main() -> None:
        clock = Hands()
        wire = Wire(MemoryStore(clock=clock))
        store = over(wire, clock=clock)
        wire.cut = True
        await store.write("long", b"v", if_version=0, op_id="a", ttl_s=10.0)
        await store.write("short", b"v", if_version=0, op_id="a", ttl_s=1.0)
        clock.now_s += 6.0
        assert await store.read("short") == Expired(1)
        wire.cut = False
        await back(store)
        assert isinstance(await store.read("long"), Versioned)
        clock.now_s += 4.0
        assert await store.read("long") == Expired(1)
        assert await store.read("short") == Expired(1)
        await store.close()

    asyncio.run(main())


def test_while_the_primary_is_away_only_the_prober_waits_for_it() -> None:
    """A thousand operations meanwhile ask the primary nothing."""

    async def main() -> None:
        wire = Wire()
        store = over(wire, probe_s=60.0)
        await store.write("k", b"0", if_version=0, op_id="0")
        wire.cut, wire.hang_s = True, 0.2
        await asyncio.gather(*(store.merge(f"k{number}", {}, op_id="a") for number in range(50)))
        asked = wire.asked
        for number in range(1000):
            await store.merge("k", {"f": b"%d" % number}, op_id=str(number + 1))
        assert wire.asked == asked
        await store.close()

    asyncio.run(main())


def test_nothing_acknowledged_is_lost_or_reordered_in_a_promotion() -> None:
    """Writers that never stop, through five absences: each one's chain of versions is whole in the end."""

    async def main() -> None:
        wire = Wire()
        store = over(wire)
        stop = asyncio.Event()

        async def write(task: int) -> tuple[int, int]:
            version = 0
            while not stop.is_set():
                result = await store.write(f"k{task}", b"%d" % version, if_version=version, op_id=f"{task}/{version}")
                assert (result.ok, result.version) == (True, version + 1)
                await store.merge("hot", {str(task): b"%d" % version}, op_id=f"{task}/{version}")
                version += 1
                await asyncio.sleep(0)
            return task, version

        writers = [asyncio.create_task(write(task)) for task in range(20)]
        for _ in range(5):
            wire.cut = True
            await until(lambda: store.provisional and store.held >= 500)
            wire.cut = False
            await back(store)
        stop.set()
        ends = await asyncio.gather(*writers)
        await back(store)
        hot = await wire.store.read("hot")
        assert isinstance(hot, Versioned)
        for task, version in ends:
            assert await wire.store.read(f"k{task}") == Versioned(version, b"%d" % (version - 1), {})
            assert hot.fields[str(task)] == b"%d" % (version - 1)
        assert hot.version == sum(version for _, version in ends)
        assert (store.promotions, store.diverged) == (5, 0)
        await store.close()

    asyncio.run(main())


def test_closing_hands_back_what_is_held_if_it_can() -> None:
    """And tells what it could not."""

    async def main() -> None:
        for away in (False, True):
            wire = Wire()
            store = over(wire, probe_s=60.0)
            wire.cut = True
            await store.write("k", b"v", if_version=0, op_id="a")
            wire.cut = away
            await store.close()
            assert store.held == int(away)
            assert isinstance(await wire.store.read("k"), Versioned) is not away

    asyncio.run(main())


@pytest.mark.parametrize("how", ["hangs", "dies"])
def test_work_goes_on_over_a_real_redis_that(how: str, own_redis: Any) -> None:
    """Fifty workers feel no error; a Redis that died comes back empty and is given back what it had acknowledged."""

    async def main() -> None:
        redis = await RedisStore.connect(own_redis.url, namespace=f"t-{uuid4().hex}", timeout_s=0.5)
        store = over(redis, probe_s=0.05)
        await store.write("idle", b"v", if_version=0, op_id="a", fence=2)
        provisional = 0

        async def work(task: int) -> int:
            nonlocal provisional
            for version in range(60):
                result = await store.write(
                    f"k{task}", b"%d" % version, if_version=version, op_id=f"{task}/{version}", ttl_s=60.0
                )
                assert (result.ok, result.version) == (True, version + 1), (task, version, result)
                provisional += result.provisional
                await asyncio.sleep(0.02)
            return task

        workers = [asyncio.create_task(work(task)) for task in range(50)]
        await asyncio.sleep(0.2)
        if how == "hangs":
            own_redis.hold(signal.SIGSTOP)
        else:
            await asyncio.to_thread(own_redis.kill)
        await until(lambda: store.held >= 100)
        if how == "hangs":
            own_redis.hold(signal.SIGCONT)
        else:
            await asyncio.to_thread(own_redis.start)
        await asyncio.gather(*workers)
        await back(store)
        assert provisional >= 100
        assert (store.promotions >= 1, store.diverged, store.held) == (True, 0, 0)
        assert (store.restored > 0) == (how == "dies")
        for task in range(50):
            assert await redis.read(f"k{task}") == Versioned(60, b"59", {})
        assert await redis.read("idle") == Versioned(1, b"v", {}, 2)
        await redis.drop()
        await store.close()

    asyncio.run(main())
