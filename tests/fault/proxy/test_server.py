"""The proxy's process: how it begins and ends, what it writes down and when, and that chance is keyed."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.fault.proxy.attributes import Latency
from harness.fault.proxy.config import Firing, Upstream
from harness.fault.proxy.toxic import Toxic, drawn
from tests.fault.proxy.proxying import PATIENCE_S, Upstreamed, connected, echo, proxying, received, started


def failed(*proxies: Upstream, **config: Any) -> tuple[dict[str, Any], int]:
    """What a process says that does not serve, and its exit code."""
    with started(*proxies, **config) as process:
        words, errors = process.communicate(timeout=PATIENCE_S)
        assert errors == b""
        return json.loads(words), process.returncode


def test_it_says_where_it_listens() -> None:
    """Every proxy by its name, also on an address that was asked for."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    upstreams = [Upstream(name="a", upstream="127.0.0.1:1"), Upstream(name="b", upstream="localhost:1")]
    with proxying(*upstreams, Upstream(name="c", upstream="[::1]:1", listen=f"localhost:{port}")) as proxy:
        assert list(proxy.proxies) == ["a", "b", "c"]
        assert proxy.proxies["c"] == f"127.0.0.1:{port}"
        assert proxy.api.startswith("http://127.0.0.1:")
        assert proxy.told("GET", "/proxies/c")["upstream"] == "[::1]:1"


def test_what_cannot_be_begun_is_said(tmp_path: Path) -> None:
    """Mistakes of whoever asked by exit code 2."""
    one = Upstream(name="a", upstream="127.0.0.1:1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said, code = failed(one, Upstream(name="b", upstream="127.0.0.1:1", listen=address))
        assert (said["message"], said["usage"], code) == (
            f"cannot listen: on {address}: Address already in use", True, 2
        )  # fmt: skip
        assert failed(one, api=address)[1] == 2
    assert failed(one, one) == ({"type": "failed", "message": "proxy already exists", "usage": True}, 2)
    said, code = failed(Upstream(name="far", upstream="192.0.2.1:80"))
    assert (said["message"].startswith("bad address: 192.0.2.1:80 is another machine's"), code) == (True, 2)
    said, code = failed(one, journal=str(tmp_path / "no" / "journal"))
    assert (said["usage"], code) == (False, 5)
    assert "No such file" in said["message"]


def test_another_machine_only_where_that_is_allowed() -> None:
    """The listener stays on loopback."""
    with proxying(Upstream(name="far", upstream="192.0.2.1:80"), allow_remote=True) as proxy:
        assert proxy.proxies["far"].startswith("127.0.0.1:")


def test_it_ends_by_a_signal_and_by_the_end_of_its_input() -> None:
    """With all its faults and connections; the second way is that of `proxying`."""
    server = Upstreamed(echo)
    with started(Upstream(name="echo", upstream=server.address)) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        with connected(said["proxies"]["echo"]) as client:
            client.sendall(b"x")
            assert received(client, 1) == b"x"
            os.kill(process.pid, signal.SIGINT)  # is the CLI's to handle
            process.terminate()
            assert process.wait(PATIENCE_S) == 0
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        with pytest.raises(ConnectionRefusedError):
            connected(said["proxies"]["echo"])
    server.close()


def test_whoever_keeps_a_connection_to_the_api_does_not_keep_it_alive() -> None:
    """It ends without a word, as `proxying` sees to."""
    with proxying() as proxy, connected(proxy.api.removeprefix("http://")) as asking:
        for _ in range(2):
            asking.sendall(b"GET /version HTTP/1.1\r\n\r\n")
            assert asking.recv(1000).startswith(b"HTTP/1.1 200 OK")
        assert proxy.process.stdin is not None
        proxy.process.stdin.close()
        proxy.process.stdin = None
        assert proxy.process.wait(PATIENCE_S) == 0
        assert asking.recv(1) == b""


def test_a_firing_is_written_down_before_it_acts(tmp_path: Path) -> None:
    """Whoever felt it finds its line; one a connection, and none where nothing fired."""
    server, journal, t0 = Upstreamed(echo), tmp_path / "proxy.jsonl", time.monotonic()
    with (
        proxying(Upstream(name="echo", upstream=server.address), journal=journal, t0=t0) as proxy,
        proxy.connect() as client,
        proxy.connect() as other,
    ):
        other.sendall(b"x")
        received(other, 1)
        assert journal.read_bytes() == b""
        name = proxy.add("latency", latency=1)
        for _ in range(3):
            client.sendall(b"x")
            received(client, 1)
        [line] = proxy.firings()
        assert 0 < line.at < time.monotonic() - t0
        assert msgspec.structs.replace(line, at=0.0) == Firing(
            at=0.0, proxy="echo", toxic=name, type="latency", connection=1, request=0, what="latency=1 jitter=0"
        )
        assert proxy.told("GET", f"/proxies/echo/toxics/{name}")["fired"] == 1
        proxy.remove(name)
        assert proxy.fired(name) == 1
    server.close()


def test_a_journal_that_cannot_be_written_ends_it() -> None:
    """Faults that nobody can prove are none: it says why."""
    server = Upstreamed(echo)
    with started(Upstream(name="echo", upstream=server.address), journal="/dev/full") as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        with connected(said["api"].removeprefix("http://")) as asking:
            body = b'{"type":"latency"}'
            asking.sendall(b"POST /proxies/echo/toxics HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            asking.recv(100)
        with connected(said["proxies"]["echo"]) as client:
            client.sendall(b"x")
            assert process.wait(PATIENCE_S) == 5
        assert b"cannot be written: No space left" in process.stdout.readline()
    server.close()


def test_draws_are_keyed_and_even() -> None:
    """The same for the same key whatever was drawn before, another for another."""
    keys = [("redis", connection, request, "late") for connection in range(50) for request in range(40)]
    there = {key: drawn(1, *key) for key in keys}
    assert there == {key: drawn(1, *key) for key in reversed(keys)}
    assert len(set(there.values())) == len(keys)
    assert sum(value < 0.3 for value in there.values()) == pytest.approx(600, abs=80)
    assert all(drawn(2, *key) != value for key, value in there.items())


def test_decisions_do_not_hang_on_the_order_of_connections() -> None:
    """Of a toxic that fires for a share of the connections, or of their requests."""

    def decided(per: str, order: list[tuple[int, int]]) -> dict[tuple[int, int], bool]:
        attributes = msgspec.convert({"per": per}, Latency)
        toxic = Toxic("late", "latency", "upstream", 0.4, attributes, seed=1, proxy="redis", note=lambda *fired: None)
        return {each: toxic.fires(*each) for each in order}

    order = [(connection, request) for connection in range(1, 30) for request in range(1, 10)]
    for per in ("connection", "request"):
        one, other = decided(per, order), decided(per, order[::-1])
        assert one == other
        assert {True, False} == set(one.values())
        chosen = {connection: {one[connection, request] for request in range(1, 10)} for connection in range(1, 30)}
        assert all(len(each) == 1 for each in chosen.values()) == (per == "connection")
