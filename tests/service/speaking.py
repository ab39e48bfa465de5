"""Writing to and reading from real servers, as the tests need it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import redis


def redis_of(url: str, timeout_s: float = 5.0) -> redis.Redis:
    """A client of the test's own."""
    return redis.Redis.from_url(url, socket_timeout=timeout_s)


def ask_postgres(url: str, *statements: str, timeout_s: float = 5.0) -> Any:
    """Run statements in turn; the single value of the last."""

    async def ask() -> Any:
        connection = await asyncpg.connect(url, timeout=timeout_s, command_timeout=timeout_s)
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await connection.fetchval(statements[-1])
        finally:
            connection.terminate()

    call: Callable[[], Awaitable[Any]] = ask
    return asyncio.run(call())


def round_trip(service: str, url: str) -> None:
    """Data goes in and comes out again."""
    if service == "redis":
        with redis_of(url) as client:
            client.set("there", b"and back")
            assert client.get("there") == b"and back"
    else:
        create, insert = "create table trips (words text)", "insert into trips values ('and back')"
        assert ask_postgres(url, create, insert, "select words from trips") == "and back"


def answers(service: str, url: str, timeout_s: float) -> bool:
    """Whether the server answers within `timeout_s`."""
    try:
        if service == "redis":
            with redis_of(url, timeout_s) as client:
                client.ping()
        else:
            ask_postgres(url, "select 1", timeout_s=timeout_s)
    except (redis.exceptions.RedisError, OSError, TimeoutError, asyncpg.PostgresError):
        return False
    return True
