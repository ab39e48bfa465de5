"""Stub by the integrator, so that others can import; overwrite me."""

from __future__ import annotations

from typing import Any

from harness.observation.observation import StateUse
from harness.store.redis import RedisStore
from harness.store.store import StateStore


async def open_store(state: Any, services: Any, *, clock: Any, between: Any = None) -> StateStore:
    """Stub."""
    if state.store == "postgres":
        from harness.store.postgres import PostgresStore

        return await PostgresStore.connect(services.postgres_url, namespace=services.namespace)
    return await RedisStore.connect(services.redis_url, namespace=services.namespace)


def state_use(store: StateStore) -> StateUse:
    """Stub."""
    return StateUse()
