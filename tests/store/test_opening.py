"""From a scenario's state to an open store: the right one, wrapped as asked, or a clear refusal."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped]
import pytest

from harness.errors import UsageError
from harness.observation.observation import StateUse
from harness.scenario.scenario import State
from harness.service.address import free_port
from harness.store.dual import DualStore
from harness.store.fallback import FallbackStore
from harness.store.memory import MemoryStore
from harness.store.opening import open_store, state_use
from harness.store.postgres import PostgresStore
from harness.store.redis import RedisStore
from harness.store.store import StoreUnavailable, Versioned
from harness.target.target import Services


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (State(), MemoryStore),
        (State(store="redis"), RedisStore),
        (State(store="redis", fallback=True), FallbackStore),
        (State(store="postgres"), PostgresStore),
        (State(store="both"), DualStore),
    ],
    ids=lambda given: given.store + ("-fallback" if given.fallback else "") if isinstance(given, State) else "",
)
def test_each_state_is_opened_and_works(state: State, kind: type, redis_url: str, postgres_url: str) -> None:
    """What was written is there when another process opens it, unless it is memory."""

    async def main() -> None:
        services = Services(redis_url=redis_url, postgres_url=postgres_url, namespace=f"t-{uuid4().hex}")
        store = await open_store(state, services, clock=time.monotonic)
        assert type(store) is kind
        assert (await store.write("k", b"v", if_version=0, op_id="a", ttl_s=60.0)).ok
        await store.close()
        again: Any = await open_store(state, services, clock=lambda: 0.0)
        found = await again.read("k")
        assert found == (None if kind is MemoryStore else Versioned(1, b"v", {}))
        assert state_use(again) == StateUse()
        await again.close()

    asyncio.run(main())


@pytest.mark.parametrize("pool", [1, 5])
def test_a_pool_has_as_many_connections_as_it_says(pool: int, postgres_url: str) -> None:
    """Fifty who write at once share them, and all get through."""

    async def main() -> None:
        namespace = f"t-{uuid4().hex}"
        state, services = State(store="postgres", pool=pool), Services(postgres_url=postgres_url, namespace=namespace)
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'harness'"
        watching = await asyncpg.connect(postgres_url)
        before = await watching.fetchval(count)
        store: Any = await open_store(state, services, clock=time.monotonic)
        written = await asyncio.gather(*(store.write(f"k{n}", b"v", if_version=0, op_id="a") for n in range(50)))
        assert all(each.ok for each in written)
        assert await watching.fetchval(count) - before == pool
        await store.drop()
        await store.close()
        await watching.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("store", "services", "words"),
    [
        ("redis", Services(), "HARNESS_REDIS_URL"),
        ("postgres", Services(), "DATABASE_URL"),
        ("both", Services(redis_url="redis://127.0.0.1/0"), "DATABASE_URL"),
    ],
)
def test_a_missing_address_is_a_usage_error(store: Any, services: Services, words: str) -> None:
    """That names where it can be given."""
    with pytest.raises(UsageError, match=words):
        asyncio.run(open_store(State(store=store), services, clock=time.monotonic))


def test_both_without_an_address_of_redis_is_a_usage_error(postgres_url: str) -> None:
    """Also when PostgreSQL is there."""
    with pytest.raises(UsageError, match="HARNESS_REDIS_URL"):
        asyncio.run(open_store(State(store="both"), Services(postgres_url=postgres_url), clock=time.monotonic))


def test_redis_must_answer_when_it_is_the_authority_and_need_not_as_a_mirror(postgres_url: str) -> None:
    """A fallback at the start would know no document; a mirror can be repaired later."""

    async def main() -> None:
        away = f"redis://127.0.0.1:{free_port()}/0"
        services = Services(redis_url=away, postgres_url=postgres_url, namespace=f"t-{uuid4().hex}")
        with pytest.raises(StoreUnavailable):
            await open_store(State(store="redis", fallback=True), services, clock=time.monotonic)
        store = await open_store(State(store="both"), services, clock=time.monotonic)
        assert (await store.write("k", b"v", if_version=0, op_id="a")).ok
        assert await store.read("k") == Versioned(1, b"v", {})
        await store.close()

    asyncio.run(main())


def test_counters_of_the_wrappers_are_told() -> None:
    """Those of a fallback, those of a mirror, and none of a plain store."""
    fallback = FallbackStore(MemoryStore(), documents_max=1, clock=time.monotonic)
    fallback.provisional, fallback.provisional_writes, fallback.promotions, fallback.diverged = True, 4, 3, 2
    assert state_use(fallback) == StateUse(provisional=True, provisional_writes=4, promotions=3, diverged=2)
    assert state_use(MemoryStore()) == StateUse()
