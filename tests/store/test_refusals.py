"""What the stores say when they cannot work with what is at their URL: what is wrong, and never a credential."""

from __future__ import annotations

import asyncio
import http.server
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from harness.errors import HarnessError
from harness.service.address import LOOPBACK, free_port
from harness.store.postgres import PostgresStore
from harness.store.redis import RedisStore
from harness.store.store import StoreUnavailable, Write

SECRET = "hunter2-and-more"
OPEN: dict[str, Any] = {"redis": RedisStore.connect, "postgres": PostgresStore.connect}
SCHEME = {"redis": "redis", "postgres": "postgresql"}


@pytest.fixture(params=list(OPEN))
def kind(request: pytest.FixtureRequest) -> str:
    """Both stores."""
    return str(request.param)


@pytest.fixture
def http_port() -> Iterator[int]:
    """A web server."""
    server = http.server.ThreadingHTTPServer((LOOPBACK, 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def said(kind: str, url: str, **options: Any) -> str:
    """What connecting raises, soon; neither it nor its traceback holds the secret."""

    async def main() -> str:
        began = time.monotonic()
        with pytest.raises(HarnessError) as raised:
            await OPEN[kind](url, **{"namespace": "t-refused", "timeout_s": 1.0, **options})
        assert time.monotonic() - began < 5.0
        assert SECRET not in "".join(traceback.format_exception(raised.value))
        assert SECRET not in repr(raised.value)
        return f"{raised.type.__name__}: {raised.value}"

    return asyncio.run(main())


def with_secret(kind: str, port: int | str) -> str:
    return f"{SCHEME[kind]}://someone:{SECRET}@{LOOPBACK}:{port}/0"


def port_of(url: str) -> str:
    return url.rpartition(":")[2].partition("/")[0]


def test_nobody_there(kind: str) -> None:
    """The address is named."""
    port = free_port()
    words = said(kind, with_secret(kind, port))
    assert words.startswith("StoreUnavailable: ")
    assert f"{LOOPBACK}:{port}" in words
    assert "not there or went away" in words


def test_a_password_that_is_refused(kind: str, request: pytest.FixtureRequest) -> None:
    """By a real server, for a user it does not know."""
    port = port_of(request.getfixturevalue(f"{kind}_url"))
    words = said(kind, with_secret(kind, port))
    assert "refused us" in words
    assert "look at the user" in words


def test_a_password_that_is_missing(own_redis: Any) -> None:
    """Redis wants one and none was given."""
    words = said("redis", f"redis://{LOOPBACK}:{own_redis.port}/0")
    assert "refused us (Authentication required.)" in words


def test_a_web_server_is_no_store(kind: str, http_port: int) -> None:
    """It is said that it is another kind of server."""
    words = said(kind, with_secret(kind, http_port))
    assert words.startswith("StoreUnavailable: ")
    assert "another kind of server" in words or "is it PostgreSQL" in words


def test_the_other_database_is_not_the_one(kind: str, redis_url: str, postgres_url: str) -> None:
    """PostgreSQL where Redis should be, and the other way round."""
    other = {"redis": postgres_url, "postgres": redis_url}[kind]
    words = said(kind, with_secret(kind, port_of(other)))
    assert words.startswith("StoreUnavailable: ")
    assert "another kind of server" in words or "is it PostgreSQL" in words


@pytest.mark.parametrize(
    "broken", ["{scheme}://a:{secret}/x@host:1/0", "{scheme}://a:b@h:{secret}", "ftp://a:{secret}@h"]
)
def test_a_url_that_cannot_be_read(kind: str, broken: str) -> None:
    """Is a usage error, which does not repeat it."""
    assert said(kind, broken.format(scheme=SCHEME[kind], secret=SECRET)).startswith("UsageError: the ")


@pytest.mark.parametrize("namespace", ["", "a b", "a" * 64, "pg_mine", 'x"y', "a{b}", "a*"])
def test_a_namespace_that_does_not_fit_both_servers(
    kind: str, namespace: str, redis_url: str, postgres_url: str
) -> None:
    """Is a usage error."""
    url = {"redis": redis_url, "postgres": postgres_url}[kind]
    assert "namespace" in said(kind, url, namespace=namespace)


def test_a_redis_that_is_too_old() -> None:
    """The oldest that will do is named. Servers of that age are not to be had: this one only tells its version."""

    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told = b"# Server\r\nredis_version:5.0.7\r\n"
        await reader.read(1)
        writer.write(b"$%d\r\n%s\r\n" % (len(told), told) + b"+0\r\n" * 5)
        await reader.read()
        writer.close()

    async def main() -> None:
        listening = await asyncio.start_server(old, LOOPBACK, 0)
        port = listening.sockets[0].getsockname()[1]
        with pytest.raises(StoreUnavailable, match=r"too old: 5\.0\.7; 6\.2 or newer"):
            await RedisStore.connect(f"redis://{LOOPBACK}:{port}", namespace="t")
        listening.close()

    asyncio.run(main())


def on_postgres(url: str, main: Callable[[PostgresStore, asyncpg.Connection], Any]) -> None:
    """A store, and a connection beside it."""

    async def run() -> None:
        store = await PostgresStore.connect(url, namespace=f"t-{uuid4().hex}")
        beside = await asyncpg.connect(url, server_settings={"search_path": f'"{store.namespace}"'})
        try:
            await main(store, beside)
        finally:
            await beside.close()
            await store.drop()
            await store.close()

    asyncio.run(run())


def test_a_schema_of_a_newer_harness_is_refused(postgres_url: str) -> None:
    """It is left as it was, and the way out is named."""

    async def main(store: PostgresStore, beside: asyncpg.Connection) -> None:
        await beside.execute("update schema_version set version = 99")
        with pytest.raises(StoreUnavailable, match="has version 99, this harness knows 1; use a newer harness"):
            await PostgresStore.connect(postgres_url, namespace=store.namespace)
        assert await beside.fetchval("select version from schema_version") == 99

    on_postgres(postgres_url, main)


def test_many_that_create_the_same_schema_at_once_all_get_it(postgres_url: str) -> None:
    """As the processes of a run do when they start."""

    async def main() -> None:
        namespace = f"t-{uuid4().hex}"
        stores = await asyncio.gather(*[PostgresStore.connect(postgres_url, namespace=namespace) for _ in range(8)])
        results = await asyncio.gather(*[store.merge("k", {}, op_id=str(n)) for n, store in enumerate(stores)])
        assert sorted(result.version for result in results) == list(range(1, 9))
        await stores[0].drop()
        for store in stores:
            await store.close()

    asyncio.run(main())


def test_a_batch_that_fails_leaves_nothing(postgres_url: str) -> None:
    """A row that the server refuses takes the whole batch with it; what other callers wrote beside it stays."""

    async def main(store: PostgresStore, beside: asyncpg.Connection) -> None:
        await beside.execute("alter table document add constraint picky check (value <> 'bad')")
        bad = [Write("a", b"good", 0, "1"), Write("b", b"bad", 0, "2"), Write("c", b"good", 0, "3")]
        ends = await asyncio.gather(
            *[store.write(f"other{n}", b"good", if_version=0, op_id="1") for n in range(20)],
            store.batch(bad),
            *[store.write(f"more{n}", b"good", if_version=0, op_id="1") for n in range(20)],
            return_exceptions=True,
        )
        refused = [end for end in ends if isinstance(end, BaseException)]
        assert [type(end) for end in refused] == [StoreUnavailable]
        assert "picky" in str(refused[0])
        keys = [row["key"].decode() for row in await beside.fetch("select key from document order by key")]
        assert keys == sorted([f"{name}{n}" for name in ("other", "more") for n in range(20)])

    on_postgres(postgres_url, main)
