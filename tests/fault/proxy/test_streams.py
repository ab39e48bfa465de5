"""Whatever a proxy does, no byte is lost or turned round that should not be, and connections end as they should."""

from __future__ import annotations

import hashlib
import json
import random
import socket
import threading

import pytest

from harness.fault.proxy.config import Upstream
from tests.fault.proxy.proxying import Proxying, Upstreamed, connected, proxying, received, reset, rest

SIZE = 6 * 2**20


def test_bytes_both_ways(proxy: Proxying) -> None:
    """Many, with nothing in their way."""
    data = random.Random(1).randbytes(SIZE)
    with proxy.connect() as client:
        threading.Thread(target=client.sendall, args=(data,)).start()
        assert hashlib.sha256(received(client, SIZE)).digest() == hashlib.sha256(data).digest()


HOT = (
    ("latency", {"latency": 15, "jitter": 10}),
    ("bandwidth", {"rate": 20_000}),
    ("slicer", {"average_size": 700, "size_variation": 600, "delay": 10}),
    ("packet_loss", {"loss": 0.001, "rto": 10}),
    ("slow_close", {"delay": 5}),
    ("latency", {"latency": 30, "per": "request", "toxicity": 0.5}),
)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_toxics_come_and_go_while_bytes_pass(proxy: Proxying, seed: int) -> None:
    """Added, updated and removed in the middle of a stream, both ways: it arrives as it was sent."""
    draw = random.Random(seed)
    data = draw.randbytes(SIZE)
    first = threading.Event()  # the first toxic is there: from here on bytes meet it, however fast they are
    with proxy.connect() as client:

        def send() -> None:
            client.sendall(data[:1])
            first.wait()
            at = 1
            while at < len(data):
                step = draw.choice((1, 100, 70_000, 300_000))
                client.sendall(data[at : at + step])
                at += step
            client.shutdown(socket.SHUT_WR)

        changing = random.Random(seed)
        sending = threading.Thread(target=send)
        got = bytearray()
        sending.start()
        proxy.add("latency", "downstream", name=f"hot{seed}.first", latency=1)
        first.set()
        added: list[str] = []
        while chunk := client.recv(2**16):
            got += chunk
            if len(got) < changing.randrange(1, SIZE) and changing.random() < 0.5:
                change(proxy, added, changing, f"hot{seed}.{len(got)}")
        sending.join()
        assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
        assert any(firing.toxic.startswith(f"hot{seed}.") for firing in proxy.firings())


def change(proxy: Proxying, added: list[str], draw: random.Random, name: str) -> None:
    """One toxic more, less or other."""
    if added and draw.random() < 0.4:
        proxy.remove(added.pop(draw.randrange(len(added))))
    elif added and draw.random() < 0.4:
        body = {"attributes": {"per": "connection"}, "toxicity": draw.choice((0.5, 1.0))}
        proxy.told("POST", f"/proxies/echo/toxics/{draw.choice(added)}", body)
    else:
        type_, attributes = draw.choice(HOT)
        stream = draw.choice(("upstream", "downstream"))
        added.append(proxy.add(type_, stream, name=name, **attributes))


def test_a_direction_ends_by_itself(proxy: Proxying) -> None:
    """A client that has sent all may go on listening, also when what it sent is late."""
    for latency in (0, 30):
        proxy.add("latency", "upstream", name=f"late{latency}", latency=latency)
        with proxy.connect() as client:
            client.sendall(b"last words")
            client.shutdown(socket.SHUT_WR)
            assert rest(client) == b"last words"


def test_last_words_arrive_late_though_their_sender_is_gone() -> None:
    """Who sends, closes and goes is heard, as it would be on a slow line."""
    heard = threading.Event()
    words: list[bytes] = []

    def listen(connection: socket.socket) -> None:
        words.append(rest(connection))
        heard.set()

    server = Upstreamed(listen)
    with proxying(Upstream(name="echo", upstream=server.address)) as proxy:
        proxy.add("latency", "upstream", latency=50)
        with proxy.connect() as client:
            client.sendall(b"fire and forget")
        assert heard.wait(10.0)
    assert words == [b"fire and forget"]
    server.close()


def test_a_reset_is_handed_on_both_ways() -> None:
    """Whoever resets, the other side is reset."""
    ends: list[str] = []
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        if connection.recv(4) == b"bye?":
            reset(connection)
            return
        connection.sendall(b"go on")
        try:
            connection.recv(1)
            ends.append("closed")
        except ConnectionResetError:
            ends.append("reset")
        over.set()

    server = Upstreamed(serve)
    with proxying(Upstream(name="echo", upstream=server.address)) as proxy:
        with proxy.connect() as client:
            client.sendall(b"bye?")
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        client = proxy.connect()
        client.sendall(b"stay")
        assert received(client, 5) == b"go on"
        reset(client)
        assert over.wait(10.0)
    assert ends == ["reset"]
    server.close()


def test_a_reader_that_stops_stops_the_sender(proxy: Proxying) -> None:
    """The proxy holds little: the echo's bytes have nowhere to go, so the client cannot send for ever either."""
    with proxy.connect() as client:
        client.settimeout(0.3)
        sent = 0
        while sent < 64 * 2**20:
            try:
                sent += client.send(bytes(2**16))
            except TimeoutError:
                break
        client.settimeout(10.0)
        assert sent < 64 * 2**20
        assert received(client, sent) == bytes(sent)


def ask(proxy: Proxying) -> None:
    """Connect, and listen; the reset may come while either is done."""
    with proxy.connect() as client:
        client.recv(1)


def test_a_server_that_is_not_there() -> None:
    """The client is taken and reset: as near to a refusal as can be once it is taken."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"127.0.0.1:{gone.getsockname()[1]}"
    with proxying(Upstream(name="echo", upstream=address)) as proxy:
        with pytest.raises(ConnectionResetError):
            ask(proxy)
        assert '_connections{proxy="echo"} 0' in proxy.ask("GET", "/metrics").text


def test_many_connections_at_once(proxy: Proxying) -> None:
    """Each gets its own bytes back, and nothing of them is kept when they are gone."""
    clients = [proxy.connect() for _ in range(300)]
    for number, client in enumerate(clients):
        client.sendall(b"%5d" % number)
    assert [int(received(client, 5)) for client in clients] == list(range(300))
    for client in clients:
        client.shutdown(socket.SHUT_WR)
        assert rest(client) == b""
        client.close()
    with connected(proxy.api.removeprefix("http://")) as raw:  # by the API all the same: one that speaks plainly
        raw.sendall(b"GET /proxies HTTP/1.0\r\n\r\n")
        assert "echo" in json.loads(rest(raw).partition(b"\r\n\r\n")[2])
    assert '_connections{proxy="echo"} 0' in proxy.ask("GET", "/metrics").text
