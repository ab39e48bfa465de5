"""Toxics that know Redis, in front of a real one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError
from redis.retry import Retry

from harness.fault.proxy.config import Upstream
from tests.fault.proxy.proxying import Proxying, proxying, received
from tests.fault.proxy.test_redis_wire import packed

KEY = "proxy-tests:"


@pytest.fixture(scope="module")
def behind(redis_url: str) -> Iterator[Redis]:
    """A client past the proxy."""
    with Redis.from_url(redis_url) as redis:
        yield redis
        for key in redis.scan_iter(KEY + "*"):
            redis.delete(key)


@pytest.fixture(scope="module")
def serving(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxying]:
    """The proxy `redis` in front of the session's server."""
    address = urlsplit(redis_url)
    upstream = Upstream(name="redis", upstream=f"{address.hostname}:{address.port}", protocol="redis")
    with proxying(upstream, journal=tmp_path_factory.mktemp("proxy") / "proxy.jsonl") as serving:
        yield serving


@pytest.fixture
def proxy(serving: Proxying) -> Iterator[Proxying]:
    """The same, without a toxic afterwards."""
    yield serving
    serving.told("POST", "/reset")


@contextmanager
def client(proxy: Proxying, redis_url: str, *, protocol: int = 2) -> Iterator[Redis]:
    """One connection through it, which repeats nothing."""
    host, _, port = proxy.proxies["redis"].rpartition(":")
    given = Redis.from_url(redis_url).connection_pool.connection_kwargs
    with Redis(
        host=host,
        port=int(port),
        db=given.get("db", 0),
        password=given.get("password"),
        protocol=protocol,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=10.0,
        single_connection_client=True,
    ) as redis:
        yield redis


def add(proxy: Proxying, type_: str, **attributes: object) -> str:
    """On this proxy."""
    return proxy.add(type_, "upstream", proxy="redis", **attributes)


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_matching_command_is_refused_and_never_arrives(
    proxy: Proxying, redis_url: str, behind: Redis, protocol: int
) -> None:
    """By name and key; others pass."""
    with client(proxy, redis_url, protocol=protocol) as redis:
        name = add(proxy, "redis_error", error="READONLY", command="SET|hset", key=KEY + "a*")
        with pytest.raises(ReadOnlyError):
            redis.set(KEY + "abc", "1")
        with pytest.raises(ReadOnlyError):
            redis.hset(KEY + "abc", "field", "1")
        assert redis.set(KEY + "other", "1")
        assert redis.get(KEY + "abc") is None
        assert not behind.exists(KEY + "abc")
        assert proxy.fired(name, proxy="redis") == 2
        told = [firing for firing in proxy.firings() if firing.toxic == name]
        assert [firing.what for firing in told[-2:]] == [
            f"redis_error {command} {KEY}abc" for command in ("SET", "HSET")
        ]


def test_replies_stay_in_order_in_a_pipeline(proxy: Proxying, redis_url: str) -> None:
    """Those of ours between those of the server's."""
    with client(proxy, redis_url) as redis:
        add(proxy, "redis_error", error="OOM", command="GET")
        pipeline = redis.pipeline(transaction=False)
        for number in range(50):
            pipeline.echo(str(number))
            if number % 3 == 0:
                pipeline.get(KEY + str(number))
        replies = pipeline.execute(raise_on_error=False)
        wanted = [item for number in range(50) for item in ([number, None] if number % 3 == 0 else [number])]
        assert len(replies) == len(wanted)
        for reply, number in zip(replies, wanted, strict=True):
            if number is None:
                assert isinstance(reply, OutOfMemoryError)
            else:
                assert reply == str(number).encode()


def test_some_of_the_requests(proxy: Proxying, redis_url: str) -> None:
    """By chance and by count, as with every toxic; a message of one's own is said as it is."""
    with client(proxy, redis_url) as redis:
        add(proxy, "redis_error", error="ERR one of ours", command="INCR*", skip_first=1, fail_first=2)
        seen: list[object] = []
        for _ in range(5):
            try:
                seen.append(redis.incr(KEY + "count"))
            except ResponseError as error:
                seen.append(str(error))
        assert seen == [1, "one of ours", "one of ours", 2, 3]


def test_an_error_within_a_transaction_spoils_it(proxy: Proxying, redis_url: str, behind: Redis) -> None:
    """As Redis does: EXEC carries nothing out, and says so."""
    with client(proxy, redis_url) as redis:
        add(proxy, "redis_error", error="OOM", command="SET", key=KEY + "second")
        pipeline = redis.pipeline(transaction=True)
        pipeline.set(KEY + "first", "1")
        pipeline.set(KEY + "second", "1")
        with pytest.raises(ResponseError):
            pipeline.execute()
        assert not behind.exists(KEY + "first", KEY + "second")
        assert redis.set(KEY + "third", "1")


def test_an_error_in_the_place_of_exec_ends_the_transaction(proxy: Proxying, redis_url: str, behind: Redis) -> None:
    """The server does not go on queueing what comes after it."""
    with client(proxy, redis_url) as redis:
        add(proxy, "redis_error", error="OOM", command="EXEC")
        pipeline = redis.pipeline(transaction=True)
        pipeline.set(KEY + "given up", "1")
        with pytest.raises(ResponseError):
            pipeline.execute()
        assert redis.set(KEY + "afterwards", "1") is True
        assert not behind.exists(KEY + "given up")


def test_a_lost_reply(proxy: Proxying, redis_url: str, behind: Redis) -> None:
    """The second match is carried out, once, and its client is cut off."""
    with client(proxy, redis_url) as redis:
        name = add(proxy, "redis_drop_reply", command="RPUSH", key=KEY + "queue", nth=2)
        assert redis.rpush(KEY + "queue", "one") == 1
        with pytest.raises(RedisConnectionError):
            redis.rpush(KEY + "queue", "two")
        assert behind.lrange(KEY + "queue", 0, -1) == [b"one", b"two"]
        assert proxy.fired(name, proxy="redis") == 1
    with client(proxy, redis_url) as redis:
        assert redis.rpush(KEY + "queue", "three") == 3


def test_what_is_behind_a_lost_reply_is_not_carried_out(proxy: Proxying, redis_url: str, behind: Redis) -> None:
    """What was before it is answered."""
    add(proxy, "redis_drop_reply", command="SET", key=KEY + "b")
    with proxy.connect("redis") as raw:
        given = Redis.from_url(redis_url).connection_pool.connection_kwargs
        words = [[b"AUTH", given["password"].encode()]] if given.get("password") else []
        words += [[b"SET", (KEY + name).encode(), b"1"] for name in ("a", "b", "c")]
        raw.sendall(b"".join(map(packed, words)))
        replies = len(words) - 2
        assert received(raw, 1000) == b"+OK\r\n" * replies
    assert [behind.exists(KEY + name) for name in ("a", "b", "c")] == [1, 1, 0]


def test_large_values_and_many_connections_pass_under_rules(proxy: Proxying, redis_url: str) -> None:
    """That match nothing of theirs."""
    add(proxy, "redis_error", command="FLUSHALL")
    value = bytes(range(256)) * 20_000
    wrong: list[object] = []

    def work(number: int) -> None:
        with client(proxy, redis_url) as redis:
            redis.set(f"{KEY}large{number}", value)
            if redis.get(f"{KEY}large{number}") != value:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_published_messages_pass(proxy: Proxying, redis_url: str, behind: Redis) -> None:
    """A connection that has subscribed has no replies any more; its bytes pass as they are."""
    add(proxy, "redis_error", command="GET")
    with client(proxy, redis_url) as redis, redis.pubsub() as subscribed:
        subscribed.subscribe(KEY + "news")
        assert subscribed.get_message(timeout=10.0)["type"] == "subscribe"  # type: ignore[index]
        behind.publish(KEY + "news", "hello")
        assert subscribed.get_message(timeout=10.0)["data"] == b"hello"  # type: ignore[index]


def test_what_comes_with_a_subscription_passes_whole(proxy: Proxying, redis_url: str) -> None:
    """Also where the read ends within a command."""
    password = Redis.from_url(redis_url).connection_pool.connection_kwargs.get("password")
    with proxy.connect("redis") as raw:
        if password:
            raw.sendall(packed([b"AUTH", password.encode()]))
            assert received(raw, 5) == b"+OK\r\n"
        raw.sendall(packed([b"SUBSCRIBE", b"news"]) + b"*1\r\n$4\r\nPI")
        confirmed, answered = b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n", b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"
        assert received(raw, len(confirmed)) == confirmed
        raw.sendall(b"NG\r\n")
        assert received(raw, len(answered)) == answered


def test_the_same_requests_get_the_same_decisions(redis_url: str, tmp_path: Path) -> None:
    """Of the same seed, in another process, in whatever order connections act; another seed decides otherwise."""
    address = urlsplit(redis_url)
    upstream = Upstream(name="redis", upstream=f"{address.hostname}:{address.port}", protocol="redis")

    def decisions(seed: int, *, forwards: bool) -> list[tuple[int, int]]:
        journal = tmp_path / f"{seed}{forwards}.jsonl"
        with proxying(upstream, journal=journal, seed=seed) as proxy:
            add(proxy, "redis_error", error="OOM", command="ECHO", toxicity=0.3)
            with client(proxy, redis_url) as first, client(proxy, redis_url) as second:
                first.ping()
                second.ping()
                for redis in (first, second) if forwards else (second, first):
                    for _ in range(40):
                        try:
                            redis.echo("x")
                        except ResponseError:
                            continue
            return sorted((firing.connection, firing.request) for firing in proxy.firings())

    one, same = decisions(7, forwards=True), decisions(7, forwards=False)
    other = decisions(8, forwards=True)
    assert one == same
    assert one != other
    assert 8 <= len(one) <= 45
