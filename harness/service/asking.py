"""Asking a server what it is: its version, and whether we may work with it. Messages never hold credentials."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import time
from collections.abc import Callable
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from harness.errors import ServiceUnavailable
from harness.service.address import Address, scrubbed

REDIS_OLDEST = (6, 2)
POSTGRES_OLDEST = 13
ANSWER_S = 5.0
POLL_S = 0.01
NO_ASYNCPG = "the PostgreSQL client is not installed: pip install 'orchestration-harness[postgres]'"

_ABOUT_POSTGRES = """
select current_setting('server_version') as version, current_setting('server_version_num')::int as number,
       pg_is_in_recovery() as reads_only, has_database_privilege(current_database(), 'CREATE') as may_create
"""


class _NotYet(Exception):
    """The server may still be starting."""


def connected(address: Address) -> None:
    """Somebody listens there. Raises ServiceUnavailable when not."""
    try:
        socket.create_connection((address.host, address.port), timeout=ANSWER_S).close()
    except OSError as error:
        why = error.strerror or str(error) or type(error).__name__
        raise ServiceUnavailable(f"nothing answers at {address}: {why}") from None


def redis_client(url: str, timeout_s: float = ANSWER_S) -> redis.Redis:
    """A blocking client that gives up after `timeout_s` and never tries again by itself."""
    return redis.Redis.from_url(
        url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
    )


def redis_version(url: str, address: Address) -> str:
    """Such as "Valkey 9.1.2". Raises ServiceUnavailable: refused, not a Redis, too old, a replica that only reads."""
    client = redis_client(url)
    try:
        told: dict[str, Any] = client.info()
    except redis.exceptions.BusyLoadingError as error:
        raise _NotYet(str(error)) from None
    except (redis.exceptions.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        raise ServiceUnavailable(
            f"the Redis at {address} refused us ({scrubbed(str(error), url)}); look at the user and password"
        ) from None
    except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
        if "Authentication required" in str(error):
            raise ServiceUnavailable(f"the Redis at {address} wants a password") from None
        raise _NotYet(f"{address} does not speak the Redis protocol ({scrubbed(str(error), url)})") from None
    except redis.exceptions.ResponseError as error:
        if "DB index" in str(error):
            raise ServiceUnavailable(f"the Redis at {address} has no database of that number: {error}") from None
        raise ServiceUnavailable(f"what answers at {address} is not Redis: {scrubbed(str(error), url)}") from None
    except (redis.exceptions.RedisError, ValueError) as error:
        raise ServiceUnavailable(f"what answers at {address} is not Redis: {scrubbed(str(error), url)}") from None
    finally:
        client.close()
    name, version = ("Valkey", told.get("valkey_version")) if "valkey_version" in told else ("Redis", None)
    version = str(version or told.get("redis_version", "0"))
    if _numbers(str(told.get("redis_version", "0"))) < REDIS_OLDEST:
        oldest = ".".join(map(str, REDIS_OLDEST))
        raise ServiceUnavailable(f"the {name} at {address} is too old: {version}; Redis {oldest} is the oldest")
    if told.get("role") == "slave":
        raise ServiceUnavailable(f"the {name} at {address} is a replica, which only reads; name its primary")
    return f"{name} {version}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def asyncpg_missing() -> str | None:
    """Why PostgreSQL cannot be used at all, or None."""
    return None if importlib.util.find_spec("asyncpg") else NO_ASYNCPG


def postgres_version(url: str, address: Address) -> str:
    """Such as "PostgreSQL 15.18". Raises ServiceUnavailable: refused, not PostgreSQL, too old, not allowed to write."""
    return asyncio.run(_postgres_version(url, address))


async def _postgres_version(url: str, address: Address) -> str:
    import asyncpg  # type: ignore[import-untyped]

    try:
        connection = await asyncpg.connect(url, timeout=ANSWER_S, command_timeout=ANSWER_S)
        try:
            row = await connection.fetchrow(_ABOUT_POSTGRES)
        finally:
            connection.terminate()
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise ServiceUnavailable(
            f"the PostgreSQL at {address} refused us ({_plain(error, url)}); look at the user, password and database"
        ) from None
    except (asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError, OSError, TimeoutError) as error:
        raise _NotYet(f"{address} does not speak the PostgreSQL protocol ({_plain(error, url)})") from None
    except asyncpg.PostgresError as error:
        raise ServiceUnavailable(f"the PostgreSQL at {address} refused us: {_plain(error, url)}") from None
    except Exception as error:  # noqa: BLE001 - a stranger's answer breaks the client anywhere
        raise ServiceUnavailable(f"what answers at {address} is not PostgreSQL ({type(error).__name__})") from None
    version = row["version"].split()[0]
    if row["number"] < POSTGRES_OLDEST * 10_000:
        raise ServiceUnavailable(f"the PostgreSQL at {address} is too old: {version}; {POSTGRES_OLDEST} is the oldest")
    if row["reads_only"]:
        raise ServiceUnavailable(f"the PostgreSQL at {address} is a standby, which only reads; name its primary")
    if not row["may_create"]:
        raise ServiceUnavailable(f"the PostgreSQL at {address} does not let this user create a schema")
    return f"PostgreSQL {version}"


def _plain(error: BaseException, url: str) -> str:
    return scrubbed(str(error), url) or type(error).__name__


def version_of(service: str, url: str, address: Address) -> str:
    """The version of a server that should be up. Raises ServiceUnavailable, with a sentence for a person."""
    connected(address)
    try:
        return redis_version(url, address) if service == "redis" else postgres_version(url, address)
    except _NotYet as error:
        raise ServiceUnavailable(str(error)) from None


def wait_until_up(
    service: str, url: str, address: Address, deadline_s: float, *, died: Callable[[], str | None]
) -> str:
    """The version of a server that is starting, asked until it answers.

    `died` tells what happened to it, or None while it may still come up. Raises ServiceUnavailable.
    """
    give_up = time.monotonic() + deadline_s
    while True:
        try:
            with socket.create_connection((address.host, address.port), timeout=ANSWER_S):
                pass
            return redis_version(url, address) if service == "redis" else postgres_version(url, address)
        except (_NotYet, OSError) as error:
            if (words := died()) is not None:
                raise ServiceUnavailable(words) from None
            if time.monotonic() > give_up:
                raise ServiceUnavailable(f"it was not up after {deadline_s:g} s: {error}") from None
        time.sleep(POLL_S)
