"""Each toxic does what its parameter says: within 5 % or 2 ms, seen from outside."""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Callable

import pytest

from harness.fault.proxy.config import Upstream
from tests.fault.proxy.proxying import Proxying, Upstreamed, proxying, received, rest

TRIALS = 20
SLACK_S = 0.002


def echoed(client: socket.socket, data: bytes = b"x") -> float:
    """How long they take, there and back, s."""
    began = time.perf_counter()
    client.sendall(data)
    assert received(client, len(data)) == data
    return time.perf_counter() - began


def holds(measured: Callable[[], float], seconds: float) -> None:
    """It takes so long, within what is promised: never less, and not more once the machine has time for it."""
    slack = max(0.05 * seconds, SLACK_S)
    seen = []
    for _ in range(TRIALS):
        seen.append(measured())
        assert seen[-1] > seconds - slack
        if seen[-1] < seconds + slack:
            return
    pytest.fail(f"{seconds} s were promised, and these were measured: {seen}")


def last(proxy: Proxying) -> int:
    """The connection on which a toxic fired last."""
    return proxy.firings()[-1].connection


@pytest.mark.parametrize(("stream", "latency"), [("downstream", 30), ("upstream", 80)])
def test_latency(proxy: Proxying, stream: str, latency: int) -> None:
    """In either direction."""
    with proxy.connect() as client:
        name = proxy.add("latency", stream, latency=latency)
        holds(lambda: echoed(client), latency / 1000)
        assert proxy.fired(name) == 1


def test_latency_is_of_each_chunk_by_itself(proxy: Proxying) -> None:
    """Twenty that come at once are late together, not one after the other."""
    with proxy.connect() as client:
        proxy.add("latency", latency=50)
        began = time.perf_counter()
        for number in range(200):
            client.sendall(bytes([number]))
        assert received(client, 200) == bytes(range(200))
        assert time.perf_counter() - began < 5.0  # and not ten


def test_jitter_is_even_around_the_latency_and_turns_nothing_round(proxy: Proxying) -> None:
    """Each is drawn anew, within the bounds."""
    with proxy.connect() as client:
        proxy.add("latency", latency=20, jitter=15)
        seen = [1000 * echoed(client) for _ in range(30)]
        assert min(seen) >= 4.0
        assert max(seen) - min(seen) > 10.0


@pytest.mark.parametrize("rate", [100, 2000])
def test_bandwidth(proxy: Proxying, rate: int) -> None:
    """In KB of 1000 bytes a second, whatever the chunks."""
    with proxy.connect() as client:
        echoed(client)
        proxy.add("bandwidth", rate=rate)
        size = rate * 1000 // 5
        holds(lambda: echoed(client, bytes(size)), 0.2)


def test_bandwidth_is_felt_by_the_sender() -> None:
    """What cannot pass is not swallowed: the sender's own buffer fills, and it has to wait."""
    silent = Upstreamed(lambda connection: [connection.recv(1)])  # type: ignore[arg-type,return-value]
    with proxying(Upstream(name="echo", upstream=silent.address)) as proxy, proxy.connect() as client:
        client.settimeout(0.3)
        proxy.add("bandwidth", "upstream", rate=10)
        with pytest.raises(TimeoutError):
            client.sendall(bytes(64 * 2**20))
    silent.close()


def test_slicer(proxy: Proxying) -> None:
    """Pieces of the size, so far apart."""
    with proxy.connect() as client:
        proxy.add("slicer", average_size=10, size_variation=0, delay=5000)
        pieces: list[int] = []

        def measured() -> float:
            pieces.clear()
            began = time.perf_counter()
            client.sendall(bytes(200))
            while sum(pieces) < 200:
                pieces.append(len(client.recv(1000)))
            return time.perf_counter() - began

        holds(measured, 19 * 0.005)
        assert statistics.median(pieces) == 10


def test_slices_vary_about_their_average(proxy: Proxying) -> None:
    """Evenly, and none is empty."""
    with proxy.connect() as client:
        proxy.add("slicer", average_size=8, size_variation=7, delay=2000)
        client.sendall(bytes(800))
        pieces: list[int] = []
        while sum(pieces) < 800:
            pieces.append(len(client.recv(1000)))
        assert len(set(pieces)) > 5
        assert 60 < len(pieces) < 140


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_limit_data(proxy: Proxying, size: int) -> None:
    """Closed in order after exactly so many bytes."""
    with proxy.connect() as client:
        proxy.add("limit_data", bytes=size)
        client.sendall(b"a" * 120_000)
        assert rest(client) == b"a" * size


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_reset_after(proxy: Proxying, size: int) -> None:
    """RST, after exactly so many bytes."""
    with proxy.connect() as client:
        name = proxy.add("reset_after", bytes=size)
        client.sendall(b"a" * 2000)
        assert received(client, size) == b"a" * size
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert proxy.fired(name) == 1


@pytest.mark.parametrize(("stream", "timeout"), [("upstream", 60), ("downstream", 0)])
def test_reset_peer(proxy: Proxying, stream: str, timeout: int) -> None:
    """RST, so long after the first bytes, which nobody gets."""

    def measured() -> float:
        with proxy.connect() as client:
            echoed(client)
            name = proxy.add("reset_peer", stream, timeout=timeout)
            began = time.perf_counter()
            client.sendall(b"x")
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            took = time.perf_counter() - began
            proxy.remove(name)
            return took

    holds(measured, timeout / 1000)


def test_timeout(proxy: Proxying) -> None:
    """Nothing passes, and it is closed in order after so long."""
    proxy.add("timeout", timeout=60)

    def measured() -> float:
        began = time.perf_counter()  # the time runs from the connection's beginning
        with proxy.connect() as client:
            client.sendall(b"x")
            assert rest(client) == b""
            return time.perf_counter() - began

    holds(measured, 0.06)


def test_a_timeout_of_nothing_lasts_until_it_is_removed(proxy: Proxying) -> None:
    """As in Toxiproxy the connection is closed then: its bytes are gone."""
    with proxy.connect() as client:
        name = proxy.add("timeout", timeout=0)
        client.sendall(b"x")
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(5.0)
        proxy.remove(name)
        assert rest(client) == b""


def test_slow_close(proxy: Proxying) -> None:
    """Bytes are not late, their end is."""
    proxy.add("slow_close", delay=60)

    def measured() -> float:
        with proxy.connect() as client:
            echoed(client)
            began = time.perf_counter()
            client.shutdown(socket.SHUT_WR)
            assert rest(client) == b""
            return time.perf_counter() - began

    holds(measured, 0.06)


def test_packet_loss(proxy: Proxying) -> None:
    """A lost packet is late by the timeout, twice that for the second time; none is lost for good."""
    with proxy.connect() as client:
        proxy.add("packet_loss", loss=0.4, rto=15)
        delays = sorted(1000 * echoed(client) for _ in range(32))
        assert delays[0] < 13.0
        assert delays[-2] >= 13.0
        assert sum(delay >= 13.0 for delay in delays) < 31


def test_black_hole(proxy: Proxying) -> None:
    """Bytes vanish one way; the connection stays until it is removed: no stream goes on with a hole in it."""
    with proxy.connect() as client, proxy.connect() as idle:
        echoed(idle)
        name = proxy.add("black_hole", "upstream")
        client.sendall(b"x")
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(5.0)
        assert proxy.fired(name) == 1
        proxy.remove(name)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert echoed(idle) < 1.0  # it lost nothing


def test_what_is_down_refuses_and_cuts(proxy: Proxying) -> None:
    """The address is held meanwhile, and is the same afterwards."""
    with proxy.connect() as client:
        echoed(client)
        proxy.told("POST", "/proxies/echo", {"enabled": False})
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                proxy.connect()
        host, _, port = proxy.proxies["echo"].rpartition(":")
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((host, int(port)))
        assert proxy.fired("down") == 1
        proxy.told("POST", "/proxies/echo", {"enabled": True})
    with proxy.connect() as client:
        echoed(client)


def test_per_request(proxy: Proxying) -> None:
    """Some requests of one connection are late, the others are not."""
    with proxy.connect() as client:
        name = proxy.add("latency", latency=40, per="request", toxicity=0.5)
        took = {number: echoed(client) for number in range(1, 25)}
        fired = {
            firing.request for firing in proxy.firings() if firing.toxic == name and firing.connection == last(proxy)
        }
        assert 2 <= len(fired) <= 22
        assert proxy.fired(name) == len(fired)
        assert min(took[number] for number in fired) > 0.038
        assert min(took[number] for number in took.keys() - fired) < 0.038


def test_skip_some_fail_some_then_pass(proxy: Proxying) -> None:
    """By request as well as by connection."""
    with proxy.connect() as client:
        proxy.add("latency", name="some", latency=40, per="request", skip_first=2, fail_first=3)
        took = [echoed(client) for _ in range(8)]
        assert min(took[2:5]) > 0.038
        assert [firing.request for firing in proxy.firings() if firing.toxic == "some"] == [3, 4, 5]
    proxy.told("POST", "/reset")
    name = proxy.add("reset_after", bytes=0, fail_first=2)
    ends = []
    for _ in range(4):
        with proxy.connect() as client:
            try:
                echoed(client)
                ends.append("passed")
            except ConnectionResetError:
                ends.append("reset")
    assert ends == ["reset", "reset", "passed", "passed"]
    assert proxy.fired(name) == 2


def test_several_toxics_act_one_after_the_other(proxy: Proxying) -> None:
    """In the order in which they were added."""
    with proxy.connect() as client:
        proxy.add("latency", latency=20, name="first")
        proxy.add("latency", latency=30, name="second")
        holds(lambda: echoed(client), 0.05)
        proxy.add("limit_data", bytes=3)
        client.sendall(b"abcdef")
        assert rest(client) == b"abc"
