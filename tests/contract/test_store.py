"""What every StateStore promises. Each implementation runs the same tests.

A new implementation adds a line to MAKERS: a function that is given pytest's request (for the URL of a server) and
returns a function that opens an empty store, by a clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.store.dual import DualStore
from harness.store.fallback import FallbackStore
from harness.store.memory import MemoryStore
from harness.store.postgres import PostgresStore
from harness.store.redis import RedisStore
from harness.store.store import OP_IDS_KEPT, Expired, Merge, StateStore, Versioned, Write, WriteResult


@dataclass
class Hands:
    """A clock set by hand."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


Maker = Callable[[Hands], AbstractAsyncContextManager[StateStore]]
"""Opens a store that counts times to live by the clock, empty and with a namespace of its own; closing removes it."""


def memory(request: pytest.FixtureRequest) -> Maker:
    """In this process."""

    @asynccontextmanager
    async def opened(clock: Hands) -> AsyncIterator[StateStore]:
        yield MemoryStore(clock=clock)

    return opened


def redis(request: pytest.FixtureRequest) -> Maker:
    """On a real Redis."""
    url = request.getfixturevalue("redis_url")

    @asynccontextmanager
    async def opened(clock: Hands) -> AsyncIterator[StateStore]:
        store = await RedisStore.connect(url, namespace=f"t-{uuid4().hex}", clock=clock, timeout_s=10.0)
        try:
            yield store
        finally:
            await store.drop()
            await store.close()

    return opened


def postgres(request: pytest.FixtureRequest) -> Maker:
    """On a real PostgreSQL."""
    url = request.getfixturevalue("postgres_url")

    @asynccontextmanager
    async def opened(clock: Hands) -> AsyncIterator[StateStore]:
        store = await PostgresStore.connect(url, namespace=f"t-{uuid4().hex}", clock=clock, timeout_s=10.0)
        try:
            yield store
        finally:
            await store.drop()
            await store.close()

    return opened


def fallback(request: pytest.FixtureRequest) -> Maker:
    """On a real Redis that never goes away, with memory to fall back on."""
    primary = redis(request)

    @asynccontextmanager
    async def opened(clock: Hands) -> AsyncIterator[StateStore]:
        async with primary(clock) as store:
            yield FallbackStore(store, documents_max=10_000, clock=clock)

    return opened


def both(request: pytest.FixtureRequest) -> Maker:
    """On a real PostgreSQL, mirrored by a real Redis."""
    redis_url, postgres_url = request.getfixturevalue("redis_url"), request.getfixturevalue("postgres_url")

    @asynccontextmanager
    async def opened(clock: Hands) -> AsyncIterator[StateStore]:
        namespace = f"t-{uuid4().hex}"
        authority = await PostgresStore.connect(postgres_url, namespace=namespace, clock=clock, timeout_s=10.0)
        mirror = await RedisStore.connect(redis_url, namespace=namespace, clock=clock, timeout_s=10.0)
        dual = DualStore(authority, mirror)
        await dual.start()
        try:
            yield dual
        finally:
            await mirror.drop()
            await authority.drop()
            await dual.close()

    return opened


MAKERS: dict[str, Callable[[pytest.FixtureRequest], Maker]] = {
    "memory": memory,
    "redis": redis,
    "postgres": postgres,
    "fallback": fallback,
    "both": both,
}


@pytest.fixture(scope="session", params=list(MAKERS))
def maker(request: pytest.FixtureRequest) -> Maker:
    """Every test runs on each of these."""
    return MAKERS[request.param](request)


def check(maker: Maker, main: Callable[[StateStore, Hands], Awaitable[None]]) -> None:
    """Run a test on a new store."""

    async def run() -> None:
        clock = Hands()
        async with maker(clock) as store:
            await main(store, clock)

    asyncio.run(run())


async def exists(store: StateStore, key: str = "k") -> Versioned:
    """The document, which must be there."""
    found = await store.read(key)
    assert isinstance(found, Versioned)
    return found


def test_what_never_was_reads_as_none(maker: Maker) -> None:
    """And refuses every version but 0."""

    async def main(store: StateStore, clock: Hands) -> None:
        assert await store.read("k") is None
        assert await store.write("k", b"x", if_version=1, op_id="a") == WriteResult(False, 0)
        assert await store.read("k") is None

    check(maker, main)


def test_compare_and_set(maker: Maker) -> None:
    """Versions count from 1; a write of another version changes nothing and tells the one it found."""

    async def main(store: StateStore, clock: Hands) -> None:
        assert await store.write("k", b"one", if_version=0, op_id="a") == WriteResult(True, 1)
        assert await store.write("k", b"two", if_version=0, op_id="b") == WriteResult(False, 1)
        assert await store.write("k", b"two", if_version=2, op_id="c") == WriteResult(False, 1)
        assert await exists(store) == Versioned(1, b"one", {})
        assert await store.write("k", b"two", if_version=1, op_id="d") == WriteResult(True, 2)
        assert await exists(store) == Versioned(2, b"two", {})

    check(maker, main)


def test_merge_sets_fields_one_by_one(maker: Maker) -> None:
    """It keeps the others and the value, counts a version, and creates what is not there."""

    async def main(store: StateStore, clock: Hands) -> None:
        assert await store.merge("k", {"a": b"1", "b": b"1"}, op_id="a") == WriteResult(True, 1)
        assert await store.write("k", b"v", if_version=1, op_id="b") == WriteResult(True, 2)
        assert await store.merge("k", {"b": b"2", "c": b""}, op_id="c") == WriteResult(True, 3)
        assert await exists(store) == Versioned(3, b"v", {"a": b"1", "b": b"2", "c": b""})

    check(maker, main)


def test_a_merge_may_need_a_version(maker: Maker) -> None:
    """As whoever follows another store asks: with another version it is refused, and says which there is."""

    async def main(store: StateStore, clock: Hands) -> None:
        for op_id, needed, result in (
            ("a", 1, WriteResult(False, 0)),
            ("b", 0, WriteResult(True, 1)),
            ("c", 0, WriteResult(False, 1)),
            ("d", 1, WriteResult(True, 2)),
            ("d", 1, WriteResult(True, 2, True)),
        ):
            assert await store.batch([Merge("k", {op_id: b"1"}, op_id, if_version=needed)]) == [result]
        assert await exists(store) == Versioned(2, b"", {"b": b"1", "d": b"1"})

    check(maker, main)


def test_bytes_are_opaque(maker: Maker) -> None:
    """Nothing is decoded: empty lists, long numbers and broken text come back as they went."""
    values = [b"", b"[]", b"{}", b"12345678901234567", b"\x00\xff\n\r", bytes(range(256)) * 8]

    async def main(store: StateStore, clock: Hands) -> None:
        for number, value in enumerate(values):
            key = f"k{number}"
            await store.write(key, value, if_version=0, op_id="a")
            await store.merge(key, {"f": value}, op_id="b")
            assert await exists(store, key) == Versioned(2, value, {"f": value})

    check(maker, main)


def test_a_write_sent_again_is_answered_as_the_first_time(maker: Maker) -> None:
    """Also after others, for the last OP_IDS_KEPT of them; nothing is written twice."""

    async def main(store: StateStore, clock: Hands) -> None:
        await store.write("k", b"v", if_version=0, op_id="create")
        for number in range(OP_IDS_KEPT - 1):
            await store.merge("k", {"f": b"%d" % number}, op_id=f"merge {number}")
        before = await exists(store)
        assert await store.write("k", b"v", if_version=0, op_id="create") == WriteResult(True, 1, replayed=True)
        assert await store.merge("k", {"f": b"7"}, op_id="merge 7") == WriteResult(True, 9, replayed=True)
        assert await exists(store) == before

    check(maker, main)


def test_the_oldest_operation_id_is_forgotten(maker: Maker) -> None:
    """A document keeps OP_IDS_KEPT of them, not one more, so that it stays bounded."""

    async def main(store: StateStore, clock: Hands) -> None:
        await store.batch([Merge("k", {"f": b""}, str(number)) for number in range(OP_IDS_KEPT + 1)])
        assert await store.merge("k", {"f": b""}, op_id="1") == WriteResult(True, 2, replayed=True)
        assert await store.merge("k", {"f": b""}, op_id="0") == WriteResult(True, OP_IDS_KEPT + 2)

    check(maker, main)


def test_operation_ids_are_a_documents_own(maker: Maker) -> None:
    """The same id on another document is another operation."""

    async def main(store: StateStore, clock: Hands) -> None:
        assert await store.merge("k", {"f": b"1"}, op_id="a") == WriteResult(True, 1)
        assert await store.merge("other", {"f": b"1"}, op_id="a") == WriteResult(True, 1)

    check(maker, main)


def test_a_refused_write_may_be_asked_again(maker: Maker) -> None:
    """It is not remembered as done: with the same id and the right version it takes place."""

    async def main(store: StateStore, clock: Hands) -> None:
        await store.write("k", b"1", if_version=0, op_id="a")
        assert not (await store.write("k", b"2", if_version=5, op_id="b")).ok
        assert await store.write("k", b"2", if_version=1, op_id="b") == WriteResult(True, 2)

    check(maker, main)


def test_expired_is_not_new(maker: Maker) -> None:
    """After its time to live a document reads as Expired with its last version, and refuses every write."""

    async def main(store: StateStore, clock: Hands) -> None:
        await store.write("k", b"v", if_version=0, op_id="a", ttl_s=10.0)
        await store.merge("k", {"f": b"1"}, op_id="b")
        clock.now_s += 9.9
        assert (await exists(store)).version == 2
        clock.now_s += 0.2
        assert await store.read("k") == Expired(2)
        assert await store.merge("k", {"f": b"2"}, op_id="c") == WriteResult(False, 2)
        for version in (0, 2):
            assert await store.write("k", b"w", if_version=version, op_id="d") == WriteResult(False, 2)
        assert await store.read("k") == Expired(2)

    check(maker, main)


def test_expiry_is_found_by_a_write_too(maker: Maker) -> None:
    """Nobody has to read first."""

    async def main(store: StateStore, clock: Hands) -> None:
        await store.merge("merged", {"f": b"1"}, op_id="a", ttl_s=1.0)
        await store.merge("written", {"f": b"1"}, op_id="a", ttl_s=1.0)
        clock.now_s += 1.1
        assert await store.merge("merged", {"f": b"2"}, op_id="b") == WriteResult(False, 1)
        assert await store.write("written", b"x", if_version=1, op_id="b") == WriteResult(False, 1)

    check(maker, main)


def test_a_time_to_live_is_renewed_only_when_given(maker: Maker) -> None:
    """By a write as by a merge."""

    async def main(store: StateStore, clock: Hands) -> None:
        await store.write("k", b"v", if_version=0, op_id="a", ttl_s=10.0)
        clock.now_s += 8.0
        await store.merge("k", {"f": b"1"}, op_id="b", ttl_s=10.0)
        clock.now_s += 8.0
        await store.write("k", b"w", if_version=2, op_id="c")
        clock.now_s += 1.0
        assert (await exists(store)).version == 3
        clock.now_s += 2.0
        assert await store.read("k") == Expired(3)

    check(maker, main)


def test_what_was_read_does_not_change(maker: Maker) -> None:
    """A later write is seen by the next read only."""

    async def main(store: StateStore, clock: Hands) -> None:
        await store.merge("k", {"f": b"1"}, op_id="a")
        before = await exists(store)
        given_fields = {"g": b"1"}
        await store.merge("k", given_fields, op_id="b")
        given_fields["g"] = b"2"
        assert before == Versioned(1, b"", {"f": b"1"})
        assert (await exists(store)).fields == {"f": b"1", "g": b"1"}

    check(maker, main)


def test_a_batch_answers_in_order(maker: Maker) -> None:
    """Several operations, also on one document; a refused one does not stop the others."""

    async def main(store: StateStore, clock: Hands) -> None:
        results = await store.batch(
            [
                Write("k", b"1", 0, "a"),
                Merge("k", {"f": b"1"}, "b"),
                Write("k", b"2", 1, "c"),
                Write("other", b"1", 0, "a", ttl_s=1.0),
                Merge("k", {"f": b"1"}, "b"),
            ]
        )
        assert results == [
            WriteResult(True, 1),
            WriteResult(True, 2),
            WriteResult(False, 2),
            WriteResult(True, 1),
            WriteResult(True, 2, replayed=True),
        ]
        assert await store.batch([]) == []
        clock.now_s += 1.1
        assert await store.read("other") == Expired(1)

    check(maker, main)


def test_no_update_is_lost_between_concurrent_writers(maker: Maker) -> None:
    """Fifty tasks that each count up a document ten times by compare and set leave it at five hundred."""

    async def main(store: StateStore, clock: Hands) -> None:
        await store.write("k", b"0", if_version=0, op_id="create")

        async def count(task: int) -> None:
            for turn in range(10):
                attempt = 0
                while True:
                    found = await exists(store)
                    await asyncio.sleep(0)
                    attempt += 1
                    value = b"%d" % (int(found.value) + 1)
                    op_id = f"{task}/{turn}/{attempt}"
                    if (await store.write("k", value, if_version=found.version, op_id=op_id)).ok:
                        break

        await asyncio.gather(*[count(task) for task in range(50)])
        assert await exists(store) == Versioned(501, b"500", {})

    check(maker, main)


@dataclass
class Model:
    """One document as a person would keep it on paper."""

    version: int = 0
    value: bytes = b""
    fields: dict[str, bytes] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)
    expires_at: float = float("inf")
    fence: int = 0

    def put(self, op_id: str, now: float, ttl_s: float | None, fence: int) -> WriteResult:
        self.version += 1
        self.fence = max(self.fence, fence)
        self.done[op_id] = self.version
        if ttl_s is not None:
            self.expires_at = now + ttl_s
        return WriteResult(True, self.version)

    def write(
        self, now: float, value: bytes, if_version: int, op_id: str, ttl_s: float | None, fence: int
    ) -> WriteResult:
        if now >= self.expires_at:
            return WriteResult(False, self.version)
        if 0 < fence < self.fence:
            return WriteResult(False, self.version, fenced=True)
        if op_id in self.done:
            return WriteResult(True, self.done[op_id], True)
        if if_version != self.version:
            return WriteResult(False, self.version)
        self.value = value
        return self.put(op_id, now, ttl_s, fence)

    def merge(self, now: float, fields: dict[str, bytes], op_id: str, ttl_s: float | None, fence: int) -> WriteResult:
        if now >= self.expires_at:
            return WriteResult(False, self.version)
        if 0 < fence < self.fence:
            return WriteResult(False, self.version, fenced=True)
        if op_id in self.done:
            return WriteResult(True, self.done[op_id], True)
        self.fields = {**self.fields, **fields}
        return self.put(op_id, now, ttl_s, fence)

    def read(self, now: float) -> Versioned | Expired | None:
        if self.version == 0:
            return None
        if now >= self.expires_at:
            return Expired(self.version)
        return Versioned(self.version, self.value, self.fields, self.fence)

    def claim(self, now: float, fence: int) -> Versioned | Expired | None:
        if self.version and now < self.expires_at:
            self.fence = max(self.fence, fence)
        return self.read(now)


KEYS = st.sampled_from("ab")
OP_IDS = st.integers(0, 5).map(str)
TTLS = st.none() | st.sampled_from([1.0, 3.0])
FENCES = st.integers(0, 2)
FIELDS = st.dictionaries(st.sampled_from("xy"), st.binary(max_size=2))
STEPS = st.one_of(
    st.tuples(st.just("write"), KEYS, st.binary(max_size=3), st.integers(0, 4), OP_IDS, TTLS, FENCES),
    st.tuples(st.just("merge"), KEYS, FIELDS, OP_IDS, TTLS, FENCES),
    st.tuples(st.just("claim"), KEYS, FENCES),
    st.tuples(st.just("pass"), st.sampled_from([0.5, 1.0, 2.0])),
)


async def step(store: StateStore, clock: Hands, models: dict[str, Model], what: str, rest: list[Any]) -> None:
    """One step, on the store and on paper."""
    if what == "pass":
        clock.now_s += rest[0]
        return
    key, *rest = rest
    model = models[key]
    if what == "claim":
        assert await store.claim(key, rest[0]) == model.claim(clock.now_s, rest[0])
    elif what == "write":
        value, if_version, op_id, ttl_s, fence = rest
        expected = model.write(clock.now_s, value, if_version, op_id, ttl_s, fence)
        done = await store.write(key, value, if_version=if_version, op_id=op_id, ttl_s=ttl_s, fence=fence)
        assert done == expected
    else:
        fields, op_id, ttl_s, fence = rest
        expected = model.merge(clock.now_s, fields, op_id, ttl_s, fence)
        assert await store.merge(key, fields, op_id=op_id, ttl_s=ttl_s, fence=fence) == expected


def test_any_history_agrees_with_a_model(maker: Maker, request: pytest.FixtureRequest) -> None:
    """Every answer, and what is read after every step, is what the paper says."""
    in_memory = request.node.callspec.params["maker"] == "memory"

    @settings(max_examples=200 if in_memory else 25, deadline=None, database=None)
    @given(steps=st.lists(STEPS, max_size=30))
    def agrees(steps: list[tuple]) -> None:  # type: ignore[type-arg]
        async def main(store: StateStore, clock: Hands) -> None:
            models = {key: Model() for key in "ab"}
            for what, *rest in steps:
                await step(store, clock, models, what, rest)
                for key, model in models.items():
                    assert await store.read(key) == model.read(clock.now_s)

        check(maker, main)

    agrees()


def test_a_lower_fencing_token_is_refused(maker: Maker) -> None:
    """Also for an operation that was done before; an equal or a higher one passes, and 0 is never refused."""

    async def main(store: StateStore, clock: Hands) -> None:
        assert await store.write("k", b"1", if_version=0, op_id="a", fence=5) == WriteResult(True, 1)
        assert await store.write("k", b"2", if_version=1, op_id="b", fence=4) == WriteResult(False, 1, fenced=True)
        assert await store.merge("k", {"f": b"2"}, op_id="c", fence=4) == WriteResult(False, 1, fenced=True)
        assert await store.write("k", b"1", if_version=0, op_id="a", fence=4) == WriteResult(False, 1, fenced=True)
        assert await store.write("k", b"1", if_version=0, op_id="a", fence=5) == WriteResult(True, 1, replayed=True)
        assert await store.merge("k", {"f": b"2"}, op_id="d", fence=5) == WriteResult(True, 2)
        assert await store.write("k", b"3", if_version=2, op_id="e", fence=7) == WriteResult(True, 3)
        assert await store.merge("k", {"f": b"4"}, op_id="f", fence=6) == WriteResult(False, 3, fenced=True)
        assert await store.merge("k", {"f": b"4"}, op_id="g") == WriteResult(True, 4)
        assert await exists(store) == Versioned(4, b"3", {"f": b"4"}, fence=7)

    check(maker, main)


def test_a_claim_raises_the_token_and_nothing_else(maker: Maker) -> None:
    """A higher token stays, and tells who asked that it was replaced; what is not alive cannot be claimed."""

    async def main(store: StateStore, clock: Hands) -> None:
        assert await store.claim("k", 3) is None
        assert await store.read("k") is None
        await store.write("k", b"v", if_version=0, op_id="a", ttl_s=10.0)
        await store.merge("k", {"f": b"1"}, op_id="b")
        assert await store.claim("k", 3) == Versioned(2, b"v", {"f": b"1"}, fence=3)
        assert await store.claim("k", 2) == Versioned(2, b"v", {"f": b"1"}, fence=3)
        assert await exists(store) == Versioned(2, b"v", {"f": b"1"}, fence=3)
        assert (await store.write("k", b"late", if_version=2, op_id="c", fence=2)).fenced
        assert await store.write("k", b"w", if_version=2, op_id="d", fence=3) == WriteResult(True, 3)
        clock.now_s += 10.1
        assert await store.claim("k", 9) == Expired(3)

    check(maker, main)


def test_scan_finds_the_living_below_a_prefix_by_key(maker: Maker) -> None:
    """Whatever the names look like: none of their letters is a pattern."""
    names = ["w/1", "w/10", "w/2", "w*", "w?[a]", "w/}", "w/{x}y", "w\\", "ü/1", "", "w/a\x00b"]

    async def main(store: StateStore, clock: Hands) -> None:
        for name in names:
            await store.write(name, name.encode(), if_version=0, op_id="a")
        await store.write("w/expired", b"", if_version=0, op_id="a", ttl_s=1.0)
        await store.merge("w/1", {"f": b"1"}, op_id="b")
        clock.now_s += 2.0
        for prefix in ("w/", "w*", "w?", "w", "ü", "", "w/{", "nothing", "w\\"):
            found = await store.scan(prefix)
            expected = sorted((name for name in names if name.startswith(prefix)), key=str.encode)
            assert [key for key, _ in found] == expected
            assert all(document.value == key.encode() for key, document in found)
        assert (await store.scan("w/1"))[0] == ("w/1", Versioned(2, b"w/1", {"f": b"1"}))

    check(maker, main)


def test_fields_of_fifty_writers_are_all_there(maker: Maker) -> None:
    """Merging one hot document at once loses none, and each got a version of its own."""

    async def main(store: StateStore, clock: Hands) -> None:
        async def write(task: int) -> list[int]:
            return [
                (await store.merge("hot", {f"{task}/{turn}": b"%d" % turn}, op_id=f"{task}/{turn}")).version
                for turn in range(8)
            ]

        versions = await asyncio.gather(*[write(task) for task in range(50)])
        assert sorted(version for each in versions for version in each) == list(range(1, 401))
        found = await exists(store, "hot")
        assert found.version == 400
        assert found.fields == {f"{task}/{turn}": b"%d" % turn for task in range(50) for turn in range(8)}

    check(maker, main)


def test_many_writers_of_the_same_new_document_have_one_winner(maker: Maker) -> None:
    """The others are told the version they lost to; each of twenty documents is created once."""

    async def main(store: StateStore, clock: Hands) -> None:
        for document in range(20):
            results = await asyncio.gather(
                *[store.write(f"d{document}", b"%d" % n, if_version=0, op_id=str(n)) for n in range(10)]
            )
            assert sorted(result.ok for result in results) == [False] * 9 + [True]
            assert {result.version for result in results} == {1}

    check(maker, main)


def test_a_batch_longer_than_a_pipeline_answers_every_operation(maker: Maker) -> None:
    """In order, on one document as on many."""

    async def main(store: StateStore, clock: Hands) -> None:
        many = [Merge("k" if n % 2 else f"k{n}", {str(n): b""}, str(n)) for n in range(700)]
        results = await store.batch(many)
        assert [result.version for result in results] == [n // 2 + 1 if n % 2 else 1 for n in range(700)]
        assert len((await exists(store)).fields) == 350

    check(maker, main)
