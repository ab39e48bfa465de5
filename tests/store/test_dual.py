"""PostgreSQL is right and Redis follows it: in order, through crashes between the two, and through absences."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from wire import Wire

from harness.store.audit import differences
from harness.store.dual import DualStore
from harness.store.memory import MemoryStore
from harness.store.postgres import PostgresStore
from harness.store.redis import RedisStore
from harness.store.store import Expired, Merge, Operation, StoreUnavailable, Versioned, Write, WriteResult

REPAIR_S = 0.01


class Hands:
    """A clock set by hand."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Crash(BaseException):
    """The process ends here."""


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it, not for ever."""
    async with asyncio.timeout(20.0):
        while True:
            if condition():
                return
            await asyncio.sleep(0.002)


@asynccontextmanager
async def servers(redis_url: str, postgres_url: str, **options: Any) -> AsyncIterator[tuple[Any, Any, DualStore]]:
    """Both stores, and one over both; closed and removed afterwards."""
    namespace = f"t-{uuid4().hex}"
    authority = await PostgresStore.connect(postgres_url, namespace=namespace)
    mirror = await RedisStore.connect(redis_url, namespace=namespace, timeout_s=0.5)
    dual = DualStore(authority, mirror, repair_s=REPAIR_S, **options)
    try:
        yield authority, mirror, dual
    finally:
        await mirror.drop()
        await authority.drop()
        await dual.close()


def test_concurrent_writers_leave_both_the_same(redis_url: str, postgres_url: str) -> None:
    """Fifty writers at own documents and at a hot one, by merge and by compare and set: nothing has to be repaired."""

    async def main() -> None:
        async with servers(redis_url, postgres_url) as (authority, mirror, dual):

            async def write(task: int) -> None:
                version = 0
                for turn in range(10):
                    result = await dual.write(f"k{task}", b"%d" % turn, if_version=version, op_id=f"{task}/{turn}")
                    version = result.version
                    await dual.merge("hot", {str(task): b"%d" % turn}, op_id=f"{task}/{turn}", ttl_s=60.0)
                    found = await dual.read("contended")
                    before = found.version if isinstance(found, Versioned) else 0
                    await dual.write("contended", b"%d" % task, if_version=before, op_id=f"{task}/{turn}")
                await dual.claim(f"k{task}", 7)

            await asyncio.gather(*map(write, range(50)))
            audit = await differences(authority, mirror)
            assert (audit.compared, audit.different) == (52, ())
            hot = await mirror.read("hot")
            assert isinstance(hot, Versioned)
            assert (hot.version, len(hot.fields)) == (500, 50)
            assert await mirror.read("k3") == Versioned(10, b"9", {}, 7)
            assert (dual.repairs, dual.due, len(dual._turns)) == (0, False, 0)

    asyncio.run(main())


def test_between_is_called_when_only_the_authority_has_it() -> None:
    """Once for each operation that it did, and not for one that it refused."""

    async def main() -> None:
        authority, mirror = Wire(), Wire()
        seen: list[tuple[str, int, int]] = []

        def between(operation: Operation) -> None:
            seen.append((operation.key, len(authority.store), len(mirror.store)))

        dual = DualStore(authority, mirror, between=between)
        await dual.write("a", b"v", if_version=0, op_id="a")
        await dual.write("a", b"v", if_version=5, op_id="b")
        await dual.batch([Write("b", b"v", 0, "a"), Merge("c", {"f": b"1"}, "a")])
        assert seen == [("a", 1, 0), ("b", 3, 1), ("c", 3, 1)]
        await dual.close()

    asyncio.run(main())


def test_a_crash_between_the_two_is_repaired_by_the_next_one(redis_url: str, postgres_url: str) -> None:
    """Each repair is counted, and there is nothing left to repair."""

    async def main() -> None:
        async with servers(redis_url, postgres_url) as (authority, mirror, dual):
            for key in ("new", "old", "same"):
                await dual.merge(key, {"f": b"1"}, op_id="a")
            await authority.merge("old", {"g": b"2"}, op_id="b", fence=3)  # as a process that ended just then
            await authority.write("newest", b"v", if_version=0, op_id="c")
            audit = await differences(authority, mirror, look_again_s=0.0)
            assert [each.key for each in audit.different] == ["newest", "old"]
            successor = DualStore(authority, mirror)
            assert await successor.reconcile() == 2
            assert await successor.reconcile() == 0
            assert (await differences(authority, mirror)).different == ()
            assert await mirror.read("old") == Versioned(2, b"", {"f": b"1", "g": b"2"}, 3)

    asyncio.run(main())


def test_a_writer_that_ends_between_the_two_leaves_a_repair() -> None:
    """Whatever ended it: what it may have missed is compared, and the locks are free."""

    async def main() -> None:
        authority, mirror = Wire(), Wire()
        crashing = True

        def between(operation: Operation) -> None:
            if crashing:
                raise Crash

        dual = DualStore(authority, mirror, between=between, repair_s=REPAIR_S)
        with pytest.raises(Crash):
            await dual.write("k", b"1", if_version=0, op_id="a")
        await until(lambda: not dual.due)
        assert await mirror.store.read("k") == Versioned(1, b"1", {})
        crashing = False
        for turns in range(8):  # cancelled after so many turns of the loop
            writing = asyncio.create_task(dual.merge("k", {str(turns): b""}, op_id=str(turns)))
            for _ in range(turns):
                await asyncio.sleep(0)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        await until(lambda: not dual.due)
        assert await mirror.store.read("k") == await authority.store.read("k")
        assert dual._turns == {}
        await dual.close()

    asyncio.run(main())


def test_a_write_that_the_authority_did_before_is_compared() -> None:
    """Its reply was lost, to this process or to the one before it, and the mirror never heard of it."""

    async def main() -> None:
        authority, mirror = Wire(), Wire()
        dual = DualStore(authority, mirror, repair_s=REPAIR_S)
        authority.replies_lost = 1
        with pytest.raises(StoreUnavailable):
            await dual.merge("ours", {"f": b"1"}, op_id="a")
        await authority.store.merge("theirs", {"f": b"1"}, op_id="a")
        for key in ("ours", "theirs"):
            assert (await dual.merge(key, {"f": b"1"}, op_id="a")).replayed
        await until(lambda: not dual.due)
        for key in ("ours", "theirs"):
            assert await mirror.store.read(key) == Versioned(1, b"", {"f": b"1"})
        assert dual.repairs == 2
        await dual.close()

    asyncio.run(main())


@pytest.mark.parametrize("due_max", [1000, 3])
def test_a_mirror_that_answers_otherwise_is_repaired(due_max: int) -> None:
    """Also when more documents are due than are remembered."""

    async def main() -> None:
        authority, mirror = Wire(), Wire()
        for number in range(10):
            await authority.store.write(f"k{number}", b"1", if_version=0, op_id="before")
        dual = DualStore(authority, mirror, repair_s=REPAIR_S, due_max=due_max)
        keys = [f"k{number}" for number in range(10)]
        await dual.batch([Write(key, b"2", 1, "a") for key in keys])
        await until(lambda: not dual.due)
        assert await mirror.store.scan("") == await authority.store.scan("")
        assert dual.repairs == 10
        await dual.close()

    asyncio.run(main())


def test_a_mirror_that_forgot_one_document_is_compared_as_a_whole(redis_url: str, postgres_url: str) -> None:
    """Nobody writes to the others any more, so nobody would meet what they lack."""

    async def main() -> None:
        async with servers(redis_url, postgres_url) as (authority, mirror, dual):
            for number in range(20):
                await dual.write(f"k{number}", b"v", if_version=0, op_id="create")
            await mirror.drop()
            await dual.merge("k0", {"x": b"1"}, op_id="x")
            await until(lambda: not dual.due)
            assert (await differences(authority, mirror)).different == ()
            assert dual.repairs == 20

    asyncio.run(main())


def test_a_mirror_that_is_newer_is_named() -> None:
    """Somebody else wrote there; it is not overwritten, and not tried for ever."""

    async def main() -> None:
        authority, mirror = Wire(), Wire()
        dual = DualStore(authority, mirror, repair_s=REPAIR_S)
        for op_id in ("other", "another"):
            await mirror.store.merge("k", {"x": b"1"}, op_id=op_id)
        await dual.merge("k", {"f": b"1"}, op_id="a")
        await until(lambda: not dual.due)
        assert (list(dual.ahead), dual.repairs) == (["k"], 0)
        await dual.close()

    asyncio.run(main())


def test_a_late_write_finds_what_a_successor_has_repaired() -> None:
    """An owner was held still between the two stores, and its successor brought the mirror up meanwhile: what the old
    one then does there is done already, and makes no further version."""

    async def main() -> None:
        authority, mirror = Wire(), Wire()
        successor = DualStore(authority, mirror)

        class Late(Wire):
            async def batch(self, operations: Sequence[Operation]) -> list[WriteResult]:
                assert await successor.reconcile() == 1
                return await mirror.batch(operations)

        late = Late()
        late.store = mirror.store
        old = DualStore(authority, late)
        await old.merge("k", {"f": b"1"}, op_id="a")
        await until(lambda: not old.due)
        assert await mirror.read("k") == await authority.read("k")
        assert (list(old.ahead), old.repairs) == ([], 0)
        await old.close()
        await successor.close()

    asyncio.run(main())


def test_what_expired_at_the_authority_is_taken_from_the_mirror() -> None:
    """A document that was restored has no time to live in the mirror: reconciling ends it."""

    async def main() -> None:
        clock = Hands()
        authority, mirror = Wire(MemoryStore(clock=clock)), Wire(MemoryStore(clock=clock))
        dual = DualStore(authority, mirror)
        await authority.store.merge("k", {"f": b"1"}, op_id="a", ttl_s=5.0)
        assert await dual.reconcile() == 1
        clock.now_s += 5.0
        assert isinstance(await mirror.read("k"), Versioned)
        assert await dual.reconcile() == 0
        clock.now_s += 0.01
        assert isinstance(await mirror.read("k"), Expired)
        await dual.close()

    asyncio.run(main())


def test_only_the_first_writer_waits_for_a_mirror_that_is_away() -> None:
    """The others do not ask it; the task that looks for it does."""

    async def main() -> None:
        authority, mirror = Wire(), Wire()
        dual = DualStore(authority, mirror, repair_s=60.0)
        mirror.cut = True
        await dual.merge("k", {}, op_id="first")
        await asyncio.sleep(0.01)
        asked = mirror.asked
        for number in range(100):
            assert (await dual.merge("k", {}, op_id=str(number))).ok
        assert mirror.asked == asked
        mirror.cut = False
        await dual.close()  # repairs what is due
        assert await mirror.store.read("k") == Versioned(101, b"", {})

    asyncio.run(main())


@pytest.mark.parametrize("how", ["hangs", "dies"])
def test_work_goes_on_without_a_real_mirror_that(how: str, own_redis: Any, postgres_url: str) -> None:
    """Nobody feels it, and when it is back it is made the same; also if it came back empty."""

    async def main() -> None:
        async with servers(own_redis.url, postgres_url) as (authority, mirror, dual):
            await dual.write("idle", b"v", if_version=0, op_id="a")
            going = True
            written = 0

            async def work(task: int) -> None:
                nonlocal written
                turn = 0
                while going:
                    assert (await dual.merge(f"k{task % 10}", {str(task): b"%d" % turn}, op_id=f"{task}/{turn}")).ok
                    turn += 1
                    written += 1

            async def more(count: int) -> None:
                goal = written + count
                await until(lambda: written >= goal)

            workers = [asyncio.create_task(work(task)) for task in range(20)]
            await more(100)
            if how == "hangs":
                own_redis.hold(signal.SIGSTOP)
            else:
                await asyncio.to_thread(own_redis.kill)
            await until(lambda: dual.due)
            await more(300)
            if how == "hangs":
                own_redis.hold(signal.SIGCONT)
            else:
                await asyncio.to_thread(own_redis.start)
            await more(100)
            await until(lambda: dual.repairs > 0)
            going = False
            await asyncio.gather(*workers)
            await until(lambda: not dual.due)
            audit = await differences(authority, mirror)
            assert (audit.compared, audit.different) == (11, ())
            assert not dual.ahead

    asyncio.run(main())
