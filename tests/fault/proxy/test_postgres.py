"""The toxic that knows PostgreSQL, in front of a real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg  # type: ignore[import-untyped]
import pytest

from harness.fault.proxy.config import Upstream
from tests.fault.proxy.proxying import PATIENCE_S, Proxying, proxying

TABLE = "proxy_tests"
LOST = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, ConnectionError)


@pytest.fixture(scope="module")
def serving(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxying]:
    """The proxy `postgres` in front of the session's server."""
    address = urlsplit(postgres_url)
    upstream = Upstream(name="postgres", upstream=f"{address.hostname}:{address.port}", protocol="postgres")
    with proxying(upstream, journal=tmp_path_factory.mktemp("proxy") / "proxy.jsonl") as serving:
        yield serving


@pytest.fixture
def proxy(serving: Proxying) -> Iterator[Proxying]:
    """The same, without a toxic afterwards."""
    yield serving
    serving.told("POST", "/reset")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Any]:
    """A connection."""
    connection = await asyncpg.connect(url, timeout=PATIENCE_S)
    try:
        yield connection
    finally:
        connection.terminate()


@asynccontextmanager
async def both(proxy: Proxying, url: str) -> AsyncIterator[tuple[Any, Any]]:
    """A connection past the proxy, and one through it, and a table that is empty."""
    through = url.replace(urlsplit(url).netloc.rpartition("@")[2], proxy.proxies["postgres"])
    async with opened(url) as past:
        await past.execute(f"DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} (number int)")
        async with opened(through) as connection:
            yield past, connection
        await past.execute(f"DROP TABLE {TABLE}")


async def simple(connection: Any, number: int) -> None:
    """As asyncpg ends a transaction: by a simple query."""
    async with connection.transaction():
        await connection.execute(f"INSERT INTO {TABLE} VALUES ($1)", number)


async def extended(connection: Any, number: int) -> None:
    """By statements that are prepared."""
    await connection.fetch("BEGIN")
    await connection.fetch(f"INSERT INTO {TABLE} VALUES ($1)", number)
    await connection.fetch("COMMIT")


@pytest.mark.parametrize("commit", [simple, extended])
def test_a_commit_is_carried_out_and_never_answered(
    proxy: Proxying, postgres_url: str, commit: Callable[[Any, int], Awaitable[None]]
) -> None:
    """The second of them; what was before passes, and who connects again is served."""

    async def test() -> None:
        name = proxy.add("pg_cut_commit", "upstream", proxy="postgres", nth=2)
        async with both(proxy, postgres_url) as (past, connection):
            await commit(connection, 1)
            assert proxy.fired(name, proxy="postgres") == 0
            with pytest.raises(LOST):
                await commit(connection, 2)
            assert [row["number"] for row in await past.fetch(f"SELECT number FROM {TABLE} ORDER BY 1")] == [1, 2]
            assert proxy.fired(name, proxy="postgres") == 1
            assert proxy.firings()[-1].what == "pg_cut_commit COMMIT"
        async with both(proxy, postgres_url) as (past, connection):
            await commit(connection, 3)
            assert await past.fetchval(f"SELECT count(*) FROM {TABLE}") == 1

    asyncio.run(test())


def test_a_statement_alone_commits_by_itself(proxy: Proxying, postgres_url: str) -> None:
    """It counts where that was asked for; what begins a transaction, or is within one, does not."""

    async def test() -> None:
        name = proxy.add("pg_cut_commit", "upstream", proxy="postgres", implicit=True, nth=2)
        async with both(proxy, postgres_url) as (past, connection):
            await simple(connection, 1)  # its COMMIT is the first
            with pytest.raises(LOST):
                await connection.execute(f"INSERT INTO {TABLE} VALUES (2)")
            assert [row["number"] for row in await past.fetch(f"SELECT number FROM {TABLE} ORDER BY 1")] == [1, 2]
            assert proxy.fired(name, proxy="postgres") == 1

    asyncio.run(test())


def test_all_else_passes(proxy: Proxying, postgres_url: str) -> None:
    """Large results, COPY, errors and rollbacks, with the toxic there and a latency for some requests."""

    async def test() -> None:
        proxy.add("pg_cut_commit", "upstream", proxy="postgres", nth=99)
        proxy.add("latency", "downstream", proxy="postgres", latency=5, per="request", toxicity=0.5)
        async with both(proxy, postgres_url) as (past, connection):
            rows = [(number,) for number in range(20_000)]
            await connection.copy_records_to_table(TABLE, records=rows)
            assert [tuple(row) for row in await connection.fetch(f"SELECT number FROM {TABLE} ORDER BY 1")] == rows
            with pytest.raises(asyncpg.UndefinedTableError):
                await connection.fetch("SELECT * FROM nowhere")
            for number in range(5):
                await simple(connection, -number)
            rollback = connection.transaction()
            await rollback.start()
            await connection.execute(f"DELETE FROM {TABLE}")
            await rollback.rollback()
            assert await past.fetchval(f"SELECT count(*) FROM {TABLE}") == 20_005

    asyncio.run(test())
