"""Where the shared state of workflows lives. `STORES` names each implementation without importing it."""

from __future__ import annotations

from collections.abc import Mapping

STORES: Mapping[str, str] = {
    "memory": "harness.store.memory:MemoryStore",
    "redis": "harness.store.redis:RedisStore",
    "postgres": "harness.store.postgres:PostgresStore",
    "both": "harness.store.dual:DualStore",
}
"""Store name -> "module:attribute" of its class."""
