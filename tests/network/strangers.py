"""Addresses at which the network fails, each in its own way."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CERTIFICATE = Path(__file__).with_name("self_signed.pem")
"""Certificate and key of nobody, made for these tests: the key is of no use anywhere else."""
UNKNOWN_HOST = "no-such-host.invalid"
"""RFC 6761: never resolves."""


@contextmanager
def listening(meet: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a listener that treats every connection so; they are closed at the end."""
    server = socket.create_server(("127.0.0.1", 0))
    met: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            met.append(connection)
            threading.Thread(target=meet, args=(connection,), daemon=True).start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        accepting.join()
        for connection in met:
            connection.close()


def reset(connection: socket.socket) -> None:
    """As soon as something was said."""
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def swallow(connection: socket.socket) -> None:
    """Everything, without a word."""
    try:
        while connection.recv(65536):
            pass
    except OSError:
        return


def speak_tls(connection: socket.socket) -> None:
    """A handshake, or none where the other side does not speak it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    try:
        with context.wrap_socket(connection, server_side=True) as spoken:
            swallow(spoken)
    except OSError:
        connection.close()


@contextmanager
def refusing() -> Iterator[int]:
    """A port that nothing listens at, and nobody else gets meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextmanager
def failing(how: str) -> Iterator[str]:
    """`host:port` where connections are refused, reset, swallowed or met by TLS; or whose host nobody knows."""
    if how == "unresolvable":
        yield f"{UNKNOWN_HOST}:4711"
    elif how == "refused":
        with refusing() as port:
            yield f"127.0.0.1:{port}"
    else:
        with listening({"reset": reset, "black_hole": swallow, "tls": speak_tls}[how]) as port:
            yield f"127.0.0.1:{port}"
