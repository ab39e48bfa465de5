"""What the fault proxy costs when it breaks nothing, and how right its toxics are, over real sockets.

    python tests/bench/proxy.py [--rounds 7] [--quick]

With and without the proxy take turns. The far end of the large stream is a process of its own, as the proxy is.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.child import Children
from harness.fault.proxy.config import ProxyConfig, Upstream
from harness.fault.proxy.process import ProxyProcess, proxy_process
from harness.service.service import provide, settings_from

PING, PONG = b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"
CHUNK = 2**18


@contextmanager
def far_end() -> Iterator[str]:
    """Sends back what it is sent, or how much that was: the first byte says which."""
    child = subprocess.Popen(
        [sys.executable, __file__, "--role", "far"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        yield child.stdout.readline().strip()
    finally:
        child.communicate()


def serve_far_end() -> None:
    """Until standard input ends, a connection after the other."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"127.0.0.1:{listener.getsockname()[1]}", flush=True)
    buffer = bytearray(CHUNK)
    if os.fork() == 0:  # the parent waits for the end of its input, and ends this one
        while True:
            near, _ = listener.accept()
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            echoes, count = near.recv(1) == b"e", 0
            while size := near.recv_into(buffer):
                count += size
                if echoes:
                    near.sendall(buffer[:size])
            if not echoes:
                near.sendall(str(count).encode())
            near.close()
    sys.stdin.read()
    os.killpg(0, 9)


def connected(address: str) -> socket.socket:
    """A client that sends at once."""
    host, _, port = address.rpartition(":")
    client = socket.create_connection((host, int(port)), 60.0)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def ping_us(client: socket.socket, count: int) -> float:
    """The median of so many."""
    took = []
    for _ in range(count):
        began = time.perf_counter_ns()
        client.sendall(PING)
        assert client.recv(100) == PONG
        took.append(time.perf_counter_ns() - began)
    return statistics.median(took) / 1000.0


def bytes_per_s(address: str, size: int) -> float:
    """One large stream, one way, until the far end has it all."""
    chunk = bytes(CHUNK)
    with connected(address) as client:
        client.sendall(b"c")
        began = time.perf_counter()
        for _ in range(size // CHUNK):
            client.sendall(chunk)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == str(size // CHUNK * CHUNK).encode()
        return size / (time.perf_counter() - began)


def pings(proxy: ProxyProcess, redis: str, password: str, rounds: int, count: int) -> None:
    """By turns on two connections each."""
    with ExitStack() as stack:
        ways = [stack.enter_context(connected(each)) for each in (redis, proxy.addresses["redis"])]
        for way in ways:
            if password:
                way.sendall(b"AUTH %b\r\n" % password.encode())
                way.recv(100)
            ping_us(way, count // 10)
        direct, through = zip(*[[ping_us(way, count) for way in ways] for _ in range(rounds)], strict=True)
    show("Redis PING direct, p50, us", list(direct))
    show("Redis PING through the proxy, p50, us", list(through))
    show("proxy over direct, us", [one - other for one, other in zip(through, direct, strict=True)], "<= 40")
    told = asyncio.run(proxy.control("redis").overhead())
    show("bytes in the proxy by its own measure, p50, us", [told["p50_us"]])
    show("the same, p99, us", [told["p99_us"]])


def streams(proxy: ProxyProcess, far: str, rounds: int, size: int) -> None:
    """By turns."""
    seen = [(bytes_per_s(far, size), bytes_per_s(proxy.addresses["far"], size)) for _ in range(rounds)]
    show("one large stream direct, GB/s", [direct / 1e9 for direct, _ in seen])
    show("through the proxy, GB/s", [through / 1e9 for _, through in seen])
    show("proxy over direct, x", [through / direct for direct, through in seen], ">= 0.3")


TOXICS: dict[str, tuple[str, dict[str, Any], int, float]] = {
    "latency 50 ms": ("latency", {"latency": 50}, 1, 0.05),
    "latency 200 ms": ("latency", {"latency": 200}, 1, 0.2),
    "bandwidth 8 KB/s, 1600 B": ("bandwidth", {"rate": 8}, 1600, 0.2),
    "bandwidth 1000 KB/s, 300 kB": ("bandwidth", {"rate": 1000}, 300_000, 0.3),
    "slicer 10 B, 5 ms, 400 B": ("slicer", {"average_size": 10, "delay": 5000}, 400, 39 * 0.005),
}


def toxics(proxy: ProxyProcess, rounds: int) -> None:
    """Each against its own parameter; the far end echoes."""
    control = proxy.control("far")
    for name, (type_, attributes, size, wanted) in TOXICS.items():
        errors = []
        for _ in range(rounds):
            with connected(proxy.addresses["far"]) as client:
                client.sendall(b"e.")
                client.recv(1)
                asyncio.run(control.add({"type": type_, "name": type_, "attributes": attributes}))
                began = time.perf_counter()
                client.sendall(bytes(size))
                got = 0
                while got < size:
                    got += len(client.recv(CHUNK))
                errors.append(1000 * (time.perf_counter() - began - wanted))
                asyncio.run(control.remove(type_))
        show(f"{name}: off by, ms", errors, f"<= {max(2.0, 50 * wanted):.3g}")


def show(name: str, values: list[float], aim: str = "") -> None:
    """A row."""
    spread = f"({min(values):.4g}-{max(values):.4g})" if len(values) > 1 else ""
    print(f"{name:62} median {statistics.median(values):.4g}  {spread}  {'aim ' + aim if aim else ''}", flush=True)


def main() -> None:
    """The rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    parser.add_argument("--only", choices=["pings", "streams", "toxics"])
    parser.add_argument("--role", choices=["far"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role == "far":
        os.setpgid(0, 0)
        serve_far_end()
        return
    rounds, much = (1, 1) if given.quick else (given.rounds, 10)
    with (
        tempfile.TemporaryDirectory(prefix="hb-") as folder,
        Children(f"bench-{secrets.token_hex(4)}", Path(folder) / "logs") as children,
        provide("redis", settings_from(os.environ), children) as redis,
        far_end() as far,
    ):
        url = urlsplit(redis.url)
        behind = f"{url.hostname}:{url.port}"
        config = ProxyConfig(
            proxies=(
                Upstream(name="redis", upstream=behind, protocol="redis"),
                Upstream(name="far", upstream=far),
            )
        )
        with proxy_process(children, config) as proxy:
            parts: dict[str, Callable[[], None]] = {
                "pings": lambda: pings(proxy, behind, url.password or "", rounds, 500 * much),
                "streams": lambda: streams(proxy, far, rounds, much * 100 * 2**20),
                "toxics": lambda: toxics(proxy, rounds),
            }
            for name, part in parts.items():
                if given.only in (None, name):
                    part()


if __name__ == "__main__":
    main()
