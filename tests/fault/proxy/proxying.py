"""A proxy's real process, and servers for it to stand in front of."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from harness.fault.proxy.config import Firing, ProxyConfig, Upstream

MAIN = ("-m", "harness.fault.proxy.server")
PATIENCE_S = 10.0


@dataclass(frozen=True)
class Answered:
    """An answer of the API."""

    status: int
    content: bytes

    @property
    def text(self) -> str:
        """Its body."""
        return self.content.decode()

    def json(self) -> Any:
        """What its body says."""
        return json.loads(self.content)


@dataclass
class Proxying:
    """The process and what it said."""

    process: subprocess.Popen[bytes]
    api: str
    proxies: dict[str, str]
    journal: Path | None = None

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answered:
        """Of its API."""
        host, _, port = self.api.removeprefix("http://").rpartition(":")
        asking = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_S)
        try:
            asking.request(method, path, None if body is None else json.dumps(body), headers or {})
            answer = asking.getresponse()
            return Answered(answer.status, answer.read())
        finally:
            asking.close()

    def told(self, method: str, path: str, body: Any = None) -> Any:
        """What it answers, which is no error."""
        answer = self.ask(method, path, body)
        assert answer.status < 300, answer.text
        return answer.json() if answer.content else None

    def refusal(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Status and words; the body says the status, too."""
        answer = self.ask(method, path, body)
        said = answer.json()
        assert said["status"] == answer.status
        return answer.status, said["error"]

    def add(self, type_: str, stream: str = "downstream", *, proxy: str = "echo", **told: Any) -> str:
        """A toxic by its attributes (and `name`, `toxicity`, `lease_s`); its name."""
        beside = {key: told.pop(key) for key in ("name", "toxicity", "lease_s") if key in told}
        body = {"type": type_, "stream": stream, "attributes": told, **beside}
        name: str = self.told("POST", f"/proxies/{proxy}/toxics", body)["name"]
        return name

    def remove(self, toxic: str, *, proxy: str = "echo") -> None:
        """A toxic."""
        self.told("DELETE", f"/proxies/{proxy}/toxics/{toxic}")

    def fired(self, toxic: str, *, proxy: str = "echo") -> int:
        """How often it acted."""
        count: int = self.told("GET", f"/proxies/{proxy}/fired").get(toxic, 0)
        return count

    def connect(self, proxy: str = "echo") -> socket.socket:
        """A client of that proxy."""
        return connected(self.proxies[proxy])

    def firings(self) -> list[Firing]:
        """The journal."""
        assert self.journal is not None
        return [msgspec.json.decode(line, type=Firing) for line in self.journal.read_bytes().splitlines()]


def connected(address: str) -> socket.socket:
    """A client of host:port that sends at once, and waits for an answer only so long."""
    host, _, port = address.rpartition(":")
    client = socket.create_connection((host, int(port)), PATIENCE_S)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


@contextmanager
def started(*proxies: Upstream, **config: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The process, given its first line."""
    given = ProxyConfig(proxies=proxies, **{"t0": time.monotonic()} | config)
    process = subprocess.Popen(
        [sys.executable, *MAIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(given) + b"\n")
        process.stdin.flush()
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def proxying(*proxies: Upstream, journal: Path | None = None, **config: Any) -> Iterator[Proxying]:
    """The process, serving; it ends with its input, in order, and has complained of nothing."""
    with started(*proxies, journal=str(journal or ""), **config) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert said["type"] == "ready", said
        yield Proxying(process, said["api"], said["proxies"], journal)
        _, words = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, words) == (0, b"")


@dataclass
class Upstreamed:
    """A server of the test's own, a thread a connection."""

    serve: Callable[[socket.socket], None]
    address: str = ""
    connections: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """It takes no more, and closes those that there are."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self.connections:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections.append(accepted)
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        try:
            self.serve(accepted)
        except OSError:
            accepted.close()


def echo(connection: socket.socket) -> None:
    """What comes goes back; the end as well."""
    while data := connection.recv(2**16):
        connection.sendall(data)
    connection.close()


def received(client: socket.socket, size: int) -> bytes:
    """So many bytes, or fewer where the stream ends."""
    found = bytearray()
    while len(found) < size and (data := client.recv(min(size - len(found), 2**16))):
        found += data
    return bytes(found)


def rest(client: socket.socket) -> bytes:
    """All until the stream ends."""
    return received(client, 2**40)


def reset(client: socket.socket) -> None:
    """Leave by RST."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
