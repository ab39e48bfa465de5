"""A server by its URL: used as it is, refused in clear words, and left as it was found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from speaking import ask_postgres, redis_of

from harness.child import Children
from harness.errors import ServiceUnavailable, UsageError
from harness.service import asking
from harness.service.address import free_port
from harness.service.service import TITLES, Pausable, ServiceSettings, provide

PATIENCE_S = 20.0
SECRET = "not-to-be-told"

OWNER = """
import json, sys
from pathlib import Path
from harness.child import Children
from harness.service.service import ServiceSettings, provide
service, namespace, logs = sys.argv[1:]
url = sys.stdin.readline().strip()
with Children("test-given-" + namespace, Path(logs)) as children:
    with provide(service, ServiceSettings(urls={service: url}, namespace=namespace), children) as running:
        print(json.dumps(running.used.address), flush=True)
        sys.stdin.read()
"""


def refusal_of(service: str, url: str, children: Children) -> str:
    """What a person is told of a URL that does not work."""
    with (
        pytest.raises(ServiceUnavailable) as refused,
        provide(service, ServiceSettings(urls={service: url}), children),
    ):
        pass
    assert SECRET not in str(refused.value)
    return str(refused.value)


def as_user(url: str, user: str, password: str) -> str:
    """The same server, asked by somebody else."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{user}:{password}@{rest.rpartition('@')[2]}"


def url_of(service: str, redis_url: str, postgres_url: str) -> str:
    """The session's server of this service."""
    return redis_url if service == "redis" else postgres_url


@pytest.fixture
def web_port() -> Iterator[int]:
    """Something that is neither."""

    class Quiet(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("service", ["redis", "postgres"])
def test_a_given_server_is_used_and_is_not_ours_to_stop(
    service: str, redis_url: str, postgres_url: str, children: Children
) -> None:
    """Before every other way; it says what it is, and has no power to be paused."""
    url = url_of(service, redis_url, postgres_url)
    with provide(service, ServiceSettings(urls={service: url}), children) as running:
        assert running.used.provider == "url"
        assert running.used.passed_over == ()
        assert running.used.address in url
        assert running.used.version.split()[0] in {"Redis", "Valkey", "PostgreSQL"}
        assert running.url == url
        assert not isinstance(running, Pausable)
        assert url not in repr(running)


def test_a_url_of_sqlalchemys_is_understood(postgres_url: str, children: Children) -> None:
    """DATABASE_URL often is one."""
    url = postgres_url.replace("postgresql://", "postgresql+asyncpg://")
    with provide("postgres", ServiceSettings(urls={"postgres": url}), children) as running:
        assert running.url == postgres_url


@pytest.mark.parametrize("service", ["redis", "postgres"])
def test_nothing_there(service: str, children: Children) -> None:
    """Said at once, and no other way is tried."""
    port = free_port()
    scheme = "redis" if service == "redis" else "postgresql"
    words = refusal_of(service, f"{scheme}://user:{SECRET}@127.0.0.1:{port}/0", children)
    assert words.endswith(f"): nothing answers at 127.0.0.1:{port}: Connection refused")
    assert words.startswith(f"the {TITLES[service]} that was given (--{service}-url or ")


@pytest.mark.parametrize(
    ("service", "other"), [("redis", "web"), ("redis", "postgres"), ("postgres", "web"), ("postgres", "redis")]
)
def test_a_server_of_the_wrong_kind(
    service: str,
    other: str,
    redis_url: str,
    postgres_url: str,
    web_port: int,
    children: Children,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is told that what answers there is something else."""
    monkeypatch.setattr(asking, "ANSWER_S", 1.0)  # some of them say nothing at all, and we wait for it
    port = web_port if other == "web" else int(url_of(other, redis_url, postgres_url).rpartition(":")[2].split("/")[0])
    scheme, title = ("redis", "Redis") if service == "redis" else ("postgresql", "PostgreSQL")
    words = refusal_of(service, f"{scheme}://user:{SECRET}@127.0.0.1:{port}/0", children)
    assert f"127.0.0.1:{port}" in words
    assert f"is not {title}" in words or f"does not speak the {title} protocol" in words


@pytest.mark.parametrize("service", ["redis", "postgres"])
@pytest.mark.parametrize("credentials", [("harness", SECRET), ("nobody-we-know", SECRET), None])
def test_a_password_that_is_refused(
    service: str, credentials: tuple[str, str] | None, redis_url: str, postgres_url: str, children: Children
) -> None:
    """Wrong, of an unknown user, or missing: the words name the server and what to look at."""
    url = url_of(service, redis_url, postgres_url)
    scheme, _, rest = url.partition("://")
    asked = as_user(url, *credentials) if credentials else f"{scheme}://{rest.rpartition('@')[2]}"
    words = refusal_of(service, asked, children)
    assert "refused us" in words
    assert "password" in words
    assert "nobody-we-know" not in words


@pytest.mark.parametrize("service", ["redis", "postgres"])
def test_a_server_that_is_too_old(
    service: str, redis_url: str, postgres_url: str, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest that works is named; here the real server is younger than what we pretend to need."""
    monkeypatch.setattr(asking, "REDIS_OLDEST", (99, 0))
    monkeypatch.setattr(asking, "POSTGRES_OLDEST", 99)
    words = refusal_of(service, url_of(service, redis_url, postgres_url), children)
    assert "is too old" in words
    assert "99" in words


def test_a_redis_that_only_reads(children: Children) -> None:
    """Its primary is asked for."""
    with provide("redis", ServiceSettings(order=("embedded",)), children) as running:
        with redis_of(running.url) as client:
            client.replicaof("127.0.0.1", str(free_port()))
        assert "is a replica, which only reads; name its primary" in refusal_of("redis", running.url, children)


def test_a_postgres_that_lets_us_make_no_schema(postgres_url: str, children: Children) -> None:
    """Said before the run, not in the middle of it."""
    user = f"reader_{os.getpid()}"
    ask_postgres(postgres_url, f"create role {user} login password '{SECRET}'", "select 1")
    try:
        words = refusal_of("postgres", as_user(postgres_url, user, SECRET), children)
        assert "does not let this user create a schema" in words
    finally:
        ask_postgres(postgres_url, f"drop role {user}", "select 1")


def test_a_database_that_does_not_exist(postgres_url: str, children: Children) -> None:
    """It is not made."""
    words = refusal_of("postgres", postgres_url.rpartition("/")[0] + "/no_such_database", children)
    assert 'database "no_such_database" does not exist' in words


@pytest.mark.parametrize(
    ("service", "url", "words"),
    [
        ("redis", f"http://user:{SECRET}@127.0.0.1:80/", "begins with http://"),
        ("postgres", f"mysql://user:{SECRET}@127.0.0.1/db", "begins with mysql://"),
        ("postgres", f"postgresql://user:{SECRET}@/db", "names no host"),
        ("redis", f"redis://user:{SECRET}@127.0.0.1:six/0", "cannot be read as a URL"),
        ("redis", "localhost:6379", "begins with localhost://"),
        ("redis", "somewhere", "begins with no scheme"),
    ],
)
def test_what_is_no_url_of_the_service_is_a_usage_error(service: str, url: str, words: str, children: Children) -> None:
    """It names the option, the variable and how a URL looks, and not what was written."""
    settings = ServiceSettings(urls={service: url})
    with pytest.raises(UsageError, match=words) as refused, provide(service, settings, children):
        pass
    assert SECRET not in str(refused.value)
    assert "--redis-url" in str(refused.value) or "--postgres-url" in str(refused.value)


def mark(service: str, url: str, namespace: str) -> None:
    """Write into the namespace, into those of its levels, and beside them."""
    if service == "redis":
        with redis_of(url) as client:
            keys = [
                "{ns}:d:a",
                "{{{ns}}}:x",
                "{{{ns}:d:a}}",
                "{{{ns}_0:d:a}}:o",
                "{ns}_12:q",
                "other:{ns}:a",
                "{ns}x:a",
            ]
            client.mset({key.format(ns=namespace): "1" for key in [*keys, "{ns}_x:a"]})
    else:
        schemas = [namespace, f"{namespace}_0", f"{namespace}_12", f"{namespace}x", f"{namespace}_x"]
        made = [f'create schema "{schema}" create table t (n int)' for schema in schemas]
        ask_postgres(url, *made, "select 1")


def left(service: str, url: str, namespace: str) -> set[str]:
    """What of it is there."""
    if service == "redis":
        with redis_of(url) as client:
            return {key.decode() for key in client.scan_iter(match=f"*{namespace}*")}
    pattern = namespace.replace("_", r"\_") + "%"
    found = ask_postgres(url, f"select array_agg(nspname::text) from pg_namespace where nspname like '{pattern}'")
    return set(found or [])


def kept(service: str, namespace: str) -> set[str]:
    """What is not ours and must stay."""
    if service == "redis":
        return {f"other:{namespace}:a", f"{namespace}x:a", f"{namespace}_x:a"}
    return {f"{namespace}x", f"{namespace}_x"}


def unmark(service: str, url: str, namespace: str) -> None:
    """Leave the session's server as it was."""
    for name in kept(service, namespace):
        if service == "redis":
            with redis_of(url) as client:
                client.delete(name)
        else:
            ask_postgres(url, f'drop schema "{name}" cascade', "select 1")


@pytest.mark.parametrize("service", ["redis", "postgres"])
def test_our_namespace_is_removed_at_the_end_and_nothing_else(
    service: str, redis_url: str, postgres_url: str, tmp_path: Path
) -> None:
    """Keys and schemas of the run and its levels go; neighbours with a longer name stay."""
    url, namespace = url_of(service, redis_url, postgres_url), f"harness_clean_{os.getpid()}"
    settings = ServiceSettings(urls={service: url}, namespace=namespace)
    with Children("test-namespace", tmp_path / "logs") as children, provide(service, settings, children):
        mark(service, url, namespace)
    try:
        assert children.leftovers == ()
        assert left(service, url, namespace) == kept(service, namespace)
    finally:
        unmark(service, url, namespace)


@pytest.mark.parametrize("service", ["redis", "postgres"])
def test_our_namespace_is_removed_when_we_are_killed(
    service: str, redis_url: str, postgres_url: str, tmp_path: Path
) -> None:
    """By the guardian, which was told the URL over its pipe: it is on no command line and in no environment."""
    url, namespace = url_of(service, redis_url, postgres_url), f"harness_killed_{os.getpid()}"
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, service, namespace, str(tmp_path / "logs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert owner.stdin is not None
    assert owner.stdout is not None
    owner.stdin.write(url.encode() + b"\n")
    owner.stdin.flush()
    assert json.loads(owner.stdout.readline()) in url
    mark(service, url, namespace)
    family = [psutil.Process(owner.pid), *psutil.Process(owner.pid).children(recursive=True)]
    assert len(family) == 2
    told = [" ".join([*process.cmdline(), *process.environ().values()]) for process in family]
    assert not [words for words in told if url in words]
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    try:
        psutil.wait_procs(family, timeout=PATIENCE_S)
        assert left(service, url, namespace) == kept(service, namespace)
    finally:
        unmark(service, url, namespace)


def test_a_schema_that_somebody_is_using_is_waited_for(postgres_url: str, tmp_path: Path) -> None:
    """A backend of a process that was just killed may hold a lock a little longer."""
    namespace = f"harness_locked_{os.getpid()}"
    settings = ServiceSettings(urls={"postgres": postgres_url}, namespace=namespace)
    holder = "import sys, asyncio, asyncpg\nasync def main():\n" + "".join(
        f"    {line}\n"
        for line in (
            "connection = await asyncpg.connect(sys.stdin.readline().strip())",
            f"await connection.execute('begin; lock table {namespace}.t in access exclusive mode')",
            "print('locked', flush=True)",
            "await connection.execute('select pg_sleep(1); rollback')",
        )
    )
    with Children("test-locked", tmp_path / "logs") as children, provide("postgres", settings, children):
        ask_postgres(postgres_url, f'create schema "{namespace}" create table t (n int)', "select 1")
        other = subprocess.Popen(
            [sys.executable, "-c", holder + "asyncio.run(main())"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write(postgres_url.encode() + b"\n")
        other.stdin.flush()
        assert other.stdout.readline() == b"locked\n"
    other.communicate()
    assert children.leftovers == ()
    assert left("postgres", postgres_url, namespace) == set()


def test_a_namespace_that_cannot_be_removed_is_reported(tmp_path: Path) -> None:
    """The server went away: what is left there is said, without its URL."""
    with Children("test-servers", tmp_path / "servers") as servers:
        with (
            Children("test-gone", tmp_path / "logs") as children,
            provide("redis", ServiceSettings(order=("embedded",)), servers) as running,
            provide("redis", ServiceSettings(urls={"redis": running.url}, namespace="harness_gone"), children),
        ):
            pass
        address = running.used.address
        assert children.unremoved == (
            f"the namespace 'harness_gone' (what begins with it) in the redis at {address} "
            "could not be removed: ConnectionError",
        )


def test_a_database_that_is_not_there_is_no_other_kind_of_server(tmp_path: Path, redis_url: str) -> None:
    """The number is what is wrong."""
    url = urlsplit(redis_url)._replace(path="/7777").geturl()
    settings = ServiceSettings(urls={"redis": url}, order=("url",))
    with (
        Children("test-number", tmp_path / "logs") as children,
        pytest.raises(ServiceUnavailable, match="has no database of that number"),
        provide("redis", settings, children),
    ):
        pass
