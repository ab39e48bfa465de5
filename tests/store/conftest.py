"""Real servers that a test may kill, hold still and start again, and a relay that loses replies."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from harness.child import Child, Children
from harness.service.address import LOOPBACK, Address, free_port
from harness.service.asking import wait_until_up
from harness.service.process import ProcessServer, last_words, unprivileged_user
from harness.service.service import ServiceSettings, provide

sys.path.insert(0, str(Path(__file__).parent))  # for `wire`

OWN = ServiceSettings(order=("embedded", "program"))
PASSWORD = "sesame-open"


class Breakable:
    """A server process of the test's own, started again by the same command at the same address."""

    def __init__(
        self, name: str, url: str, argv: Sequence[str], port: int, children: Children, user: str | None
    ) -> None:
        self.url = url
        self.port = port
        self._command = (name, argv, children, user)
        self._is_redis = "redis" in name
        self._child: Child | None = None

    def start(self) -> None:
        """Until it answers. Not to be called where a loop runs."""
        name, argv, children, user = self._command
        self._child = children.start_program(name, argv, stop_signal=signal.SIGQUIT, user=user, cwd=Path("/"))
        service = "redis" if self._is_redis else "postgres"
        child = self._child
        wait_until_up(service, self.url, Address(LOOPBACK, self.port), 20.0, died=lambda: last_words(child))

    def kill(self) -> None:
        """At once, without a chance to say goodbye."""
        if self._child is not None:
            if self._is_redis:  # PostgreSQL gives its shared memory back at SIGQUIT; a Redis has nothing to give
                psutil.Process(self._child.pid).kill()
            self._child.end(grace_s=5.0)
            self._child = None

    def hold(self, signum: signal.Signals) -> None:
        """SIGSTOP makes it a black hole: connections are still accepted, nothing is answered. SIGCONT ends that."""
        assert self._child is not None
        root = psutil.Process(self._child.pid)
        for process in (root, *root.children(recursive=True)):
            process.send_signal(signum)


@pytest.fixture(scope="session")
def redis_program(servers: Children) -> str:
    """The path of a Redis server program."""
    with provide("redis", OWN, servers) as running:
        assert isinstance(running, ProcessServer)
        return psutil.Process(running.pid).exe()


@pytest.fixture
def own_redis(servers: Children, redis_program: str) -> Iterator[Breakable]:
    """A Redis with a password, for this test alone."""
    port = free_port()
    argv = [redis_program, "--port", str(port), "--bind", LOOPBACK, "--save", "", "--requirepass", PASSWORD]
    server = Breakable("own-redis", f"redis://:{PASSWORD}@{LOOPBACK}:{port}/0", argv, port, servers, None)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def postgres_command(servers: Children) -> Iterator[tuple[str, list[str]]]:
    """The URL of a PostgreSQL that is down, and the command that starts it in a data folder of its own."""
    with provide("postgres", OWN, servers) as running:
        assert isinstance(running, ProcessServer)
        process = psutil.Process(running.pid)
        command = [process.exe(), *process.cmdline()[1:]]
        process.send_signal(signal.SIGQUIT)
        process.wait(10.0)
        yield running.url, command


@pytest.fixture
def own_postgres(servers: Children, postgres_command: tuple[str, list[str]]) -> Iterator[Breakable]:
    """A PostgreSQL for this test alone; its data stay for the next, which takes another namespace."""
    url, argv = postgres_command
    port = int(url.rpartition(":")[2].partition("/")[0])
    server = Breakable("own-postgres", url, argv, port, servers, unprivileged_user())
    server.start()
    yield server
    server.kill()


class Relay:
    """Passes bytes on between a client and a server, and can lose the next reply."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self.port = 0
        self.lose_next_reply = False
        self.lost = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it or a reply is lost: then it is cut."""
        back, forth = await asyncio.open_connection(LOOPBACK, self._upstream)
        ways = [asyncio.ensure_future(self._pass(reader, forth)), asyncio.ensure_future(self._replies(back, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        writer.close()
        forth.close()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)

    async def _replies(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            if self.lose_next_reply:
                self.lose_next_reply = False
                self.lost += 1
                return
            sink.write(data)


@pytest.fixture
def relay() -> Callable[[str], object]:
    """`async with relay(url) as (relay, url)`: the same server, through a relay."""

    @asynccontextmanager
    async def opened(url: str) -> AsyncIterator[tuple[Relay, str]]:
        host, _, rest = url.rpartition("@")[2].partition(":")
        port, slash, path = rest.partition("/")
        between = Relay(int(port))
        listening = await asyncio.start_server(between.serve, LOOPBACK, 0)
        between.port = listening.sockets[0].getsockname()[1]
        yield between, url.replace(f"{host}:{port}{slash}{path}", f"{host}:{between.port}{slash}{path}")
        listening.close()

    return opened
