"""Removing what a run left in servers that are not ours, and its containers. Called by the guardian, at the end.

Each function returns what was there and should have been gone already; a namespace always is there, so it is silent.
"""

from __future__ import annotations

import asyncio
import os
import re
from typing import Any, cast

CONTAINER_LABEL = "harness.run.run"  # its value is the run's id
TIMEOUT_S = 10.0
SCAN_KEYS = 1000
LOCK_S = 5.0  # a backend of a process that was just killed may hold a lock until it notices
TRIES = 5


def sweep_redis(*, url: str, namespace: str) -> list[str]:
    """Delete every key of the namespace and of those of its levels, `namespace_0` and so on.

    A key belongs to one when it begins with `namespace:`, or with a hash tag of that: `{namespace}` or `{namespace:`.
    """
    from harness.service.asking import redis_client

    ours = re.compile(rb"\{?" + re.escape(namespace.encode()) + rb"(_[0-9]+)?[:}]")
    client = redis_client(url, TIMEOUT_S)
    try:
        cursor = 0
        while True:
            cursor, keys = client.scan(cursor, match=f"*{_literally(namespace)}*", count=SCAN_KEYS)
            if found := [key for key in keys if ours.match(cast(bytes, key))]:
                client.unlink(*found)
            if cursor == 0:
                return []
    finally:
        client.close()


def _literally(text: str) -> str:
    """A glob pattern of Redis that matches only this."""
    return "".join(f"\\{letter}" if letter in "*?[]^\\-" else letter for letter in text)


def sweep_postgres(*, url: str, namespace: str) -> list[str]:
    """Drop the schema of this name and those of its levels, `namespace_0` and so on, with everything in them."""
    asyncio.run(_drop_schemas(url, namespace))
    return []


async def _drop_schemas(url: str, namespace: str) -> None:
    import asyncpg  # type: ignore[import-untyped]

    connection = await asyncpg.connect(url, timeout=TIMEOUT_S, command_timeout=2 * LOCK_S)
    try:
        await connection.execute(f"set lock_timeout = {round(LOCK_S * 1000)}; set client_min_messages = warning")
        schemas = await connection.fetch(
            "select nspname from pg_namespace where nspname = $1"
            " or (starts_with(nspname, $1 || '_') and substr(nspname, length($1) + 2) ~ '^[0-9]+$')",
            namespace,
        )
        for row in schemas:
            await _drop(connection, row["nspname"])
    finally:
        await connection.close(timeout=TIMEOUT_S)


async def _drop(connection: Any, schema: str) -> None:
    import asyncpg

    quoted = schema.replace('"', '""')
    for left in reversed(range(TRIES)):
        try:
            await connection.execute(f'drop schema if exists "{quoted}" cascade')
            return
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            if not left:
                raise


def remove_containers(*, host: str, label: str, run_id: str) -> list[str]:
    """Remove every container of the run from the engine at `host` ("": the default), with its volumes."""
    import docker  # type: ignore[import-untyped]

    client = docker.from_env(timeout=30, environment=os.environ | ({"DOCKER_HOST": host} if host else {}))
    removed: list[str] = []
    try:
        while left := client.containers.list(all=True, filters={"label": f"{label}={run_id}"}):
            for container in left:
                removed.append(f"container {container.short_id} of image {container.attrs['Config']['Image']}")
                container.remove(force=True, v=True)
    finally:
        client.close()
    return removed
