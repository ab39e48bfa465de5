"""From what a scenario says of its state to a store that is open, and from a store to what it went through."""

from __future__ import annotations

from collections.abc import Callable

from harness.errors import UsageError
from harness.observation.observation import StateUse
from harness.scenario.scenario import State
from harness.service.asking import asyncpg_missing
from harness.store.dual import DualStore
from harness.store.fallback import FallbackStore
from harness.store.memory import MemoryStore
from harness.store.restoring import Restoring
from harness.store.store import Operation, StateStore
from harness.target.target import Services

Guard = Callable[[str, StateStore], StateStore]
"""What is put in front of a server's store, given the server's name; it has the powers of the store."""


def unguarded(server: str, store: StateStore) -> StateStore:
    """Nothing is."""
    return store


async def open_store(
    state: State,
    services: Services,
    *,
    clock: Callable[[], float],
    between: Callable[[Operation], None] | None = None,
    guard: Guard = unguarded,
) -> StateStore:
    """The store that `state` names, at the addresses of `services`; its server answered.

    `clock` counts times to live in memory; a server counts its own, so that every process agrees with it. With both,
    the mirror is brought up to the authority first; one that does not answer then is waited for beside the work.
    Raises UsageError (an address or an extra is missing), `StoreUnavailable`.
    """
    if state.store == "memory":
        return MemoryStore(clock=clock)
    if state.store == "redis":
        from harness.store.redis import RedisStore

        redis = guard("redis", await RedisStore.connect(_redis_url(services), namespace=services.namespace))
        return FallbackStore(redis, documents_max=state.fallback_max, clock=clock) if state.fallback else redis
    authority = guard("postgres", await _postgres(services, state.pool))
    if state.store == "postgres":
        return authority
    return await _mirrored(authority, services, between, guard)


def state_use(store: StateStore) -> StateUse:
    """What `store` went through in this process's life, as far as it is of a kind that can tell."""
    if isinstance(store, FallbackStore):
        return StateUse(
            provisional=store.provisional,
            provisional_writes=store.provisional_writes,
            promotions=store.promotions,
            diverged=store.diverged,
        )
    if isinstance(store, DualStore):
        return StateUse(repairs=store.repairs)
    return StateUse()


async def _postgres(services: Services, pool: int | None) -> StateStore:
    if services.postgres_url is None:
        raise UsageError("state in PostgreSQL: no address of a server was given (--postgres-url, or DATABASE_URL)")
    missing = asyncpg_missing()
    if missing is not None:
        raise UsageError(f"state in PostgreSQL: {missing}")
    from harness.store.postgres import PostgresStore

    url, namespace = services.postgres_url, services.namespace
    if pool is None:
        return await PostgresStore.connect(url, namespace=namespace)
    return await PostgresStore.connect(url, namespace=namespace, connections=pool, batched=False)


async def _mirrored(
    authority: StateStore, services: Services, between: Callable[[Operation], None] | None, guard: Guard
) -> StateStore:
    """The authority with its mirror in Redis, which need not be there yet."""
    from harness.store.redis import RedisStore

    try:
        mirror = guard("redis", RedisStore(_redis_url(services), namespace=services.namespace))
        assert isinstance(mirror, Restoring), "a guard has the powers of what it guards"
        dual = DualStore(authority, mirror, between=between)
    except BaseException:
        await authority.close()
        raise
    await dual.start()
    return dual


def _redis_url(services: Services) -> str:
    if services.redis_url is None:
        raise UsageError("state in Redis: no address of a server was given (--redis-url, or HARNESS_REDIS_URL)")
    return services.redis_url
