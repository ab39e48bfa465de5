"""Faults of the way to a service: what the proxy in front of it does to bytes, connections and requests."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from harness.fault.fault import Bench, Toxics
from harness.scenario.units import Bytes, Seconds, Share

Toxic = dict[str, Any]
Way = Literal["both", "to_server", "from_server"]
STREAMS: dict[Way, tuple[str, ...]] = {
    "both": ("upstream", "downstream"),
    "to_server": ("upstream",),
    "from_server": ("downstream",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Proxied:
    """A fault that is one toxic of the proxy, or two."""

    service: str
    share: Share = 1.0  # of connections (of matching requests, where the fault is one of requests) that meet it

    @property
    def needs(self) -> tuple[str, ...]:
        """The proxy in front of the service."""
        return (f"proxy:{self.service}",)

    def toxics(self) -> Iterator[Toxic]:
        """In the words of Toxiproxy's API, but for name and lease."""
        raise NotImplementedError

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[_Fired]:
        """Added to the proxy, and removed at the end."""
        proxy, names = bench.proxy(self.service), list[str]()
        fired = _Fired(proxy, names)
        try:
            for toxic in self.toxics():
                name = f"{toxic['type']}_{toxic['stream']}_{secrets.token_hex(4)}"
                names.append(name)
                await proxy.add({**toxic, "name": name, "toxicity": self.share, "lease_s": bench.lease_s})
            yield fired
        finally:
            for name in names:
                await proxy.remove(name)


@dataclass(slots=True)
class _Fired:
    proxy: Toxics
    names: list[str]

    async def count(self) -> int:
        """Connections, requests or chunks, as each toxic counts."""
        return sum([await self.proxy.fired(name) for name in self.names])


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow(_Proxied):
    """Every answer of the service is late.

    p95 may grow by a small multiple of the latency, as a workflow asks a few times in turn; no breaker flaps.
    """

    latency: Seconds
    jitter: Seconds = 0.0  # plus or minus
    way: Way = "from_server"

    def toxics(self) -> Iterator[Toxic]:
        """Toxiproxy's `latency`, in milliseconds."""
        milliseconds = {"latency": round(self.latency * 1000), "jitter": round(self.jitter * 1000)}
        for stream in STREAMS[self.way]:
            yield {"type": "latency", "stream": stream, "attributes": milliseconds}


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttled(_Proxied):
    """The way to the service carries few bytes a second."""

    rate: Bytes = 8_000  # a second, each way
    way: Way = "both"

    def toxics(self) -> Iterator[Toxic]:
        """Toxiproxy's `bandwidth`, in kB/s."""
        for stream in STREAMS[self.way]:
            yield {"type": "bandwidth", "stream": stream, "attributes": {"rate": max(1, round(self.rate / 1000))}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sliced(_Proxied):
    """Bytes arrive in small pieces: parsers that take one read for one message break."""

    size: Bytes = 8  # of a piece, on average
    delay: Seconds = 0.0  # between two
    way: Way = "both"

    def toxics(self) -> Iterator[Toxic]:
        """Toxiproxy's `slicer`, in bytes and microseconds."""
        half = max(1, self.size) // 2
        attributes = {"average_size": self.size, "size_variation": half, "delay": round(self.delay * 1e6)}
        for stream in STREAMS[self.way]:
            yield {"type": "slicer", "stream": stream, "attributes": attributes}


@dataclass(frozen=True, slots=True, kw_only=True)
class BlackHole(_Proxied):
    """Connections stay open and carry nothing: what is sent is lost, one way or both.

    A default client of Redis hangs for a minute. The caller's own deadline has to notice, and the fallback to take over
    within its budget.
    """

    way: Way = "both"

    def toxics(self) -> Iterator[Toxic]:
        """One for each direction."""
        for stream in STREAMS[self.way]:
            yield {"type": "black_hole", "stream": stream, "attributes": {}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(_Proxied):
    """Connections are reset (RST) once so many bytes went through them, in the middle of whatever was said."""

    after: Bytes = 0
    way: Way = "from_server"

    def toxics(self) -> Iterator[Toxic]:
        """Not in Toxiproxy, whose `reset_peer` goes by time."""
        for stream in STREAMS[self.way]:
            yield {"type": "reset_after", "stream": stream, "attributes": {"bytes": self.after}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncated(_Proxied):
    """Connections are closed, as if all were well, once so many bytes went through them."""

    after: Bytes
    way: Way = "from_server"

    def toxics(self) -> Iterator[Toxic]:
        """Toxiproxy's `limit_data`."""
        for stream in STREAMS[self.way]:
            yield {"type": "limit_data", "stream": stream, "attributes": {"bytes": self.after}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lossy(_Proxied):
    """Some packets are lost and sent again after a timeout, as TCP does: what is behind them waits."""

    loss: Share = 0.01  # of packets
    timeout: Seconds = 0.2  # until a lost one is sent again
    way: Way = "both"

    def toxics(self) -> Iterator[Toxic]:
        """Delays in the shape of retransmissions; no byte is lost."""
        attributes = {"loss": self.loss, "rto": round(self.timeout * 1000)}
        for stream in STREAMS[self.way]:
            yield {"type": "packet_loss", "stream": stream, "attributes": attributes}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(_Proxied):
    """Nothing listens any more: connections are refused, and those that there were are cut.

    Failing is quick here; what matters is what is done instead, and that it ends when the service is back.
    """

    def toxics(self) -> Iterator[Toxic]:
        """None: the proxy itself is switched off."""
        return iter(())

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[_Fired]:
        """Disabled, and enabled at the end."""
        proxy = bench.proxy(self.service)
        try:
            await proxy.enable(enabled=False, lease_s=bench.lease_s)
            yield _Fired(proxy, ["down"])
        finally:
            await proxy.enable(enabled=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandsRefused(_Proxied):
    """Redis answers matching commands with an error instead of carrying them out.

    LOADING, READONLY, OOM or BUSY is what it says after a restart, on a replica, without memory, and behind a long
    script. What was refused was not done, and may be done again.
    """

    error: str = "LOADING"  # a code that Redis has, or a whole message
    command: str = "*"  # globs of names, any of them: "SET|EVAL*"
    key: str = "*"  # a glob of the first key

    def toxics(self) -> Iterator[Toxic]:
        """Not in Toxiproxy, which knows no requests."""
        attributes = {"error": self.error, "command": self.command, "key": self.key}
        yield {"type": "redis_error", "stream": "upstream", "attributes": attributes}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyLost(_Proxied):
    """Redis carries a command out, and its reply is lost with the connection.

    Whoever sends it again does it twice, unless the operation's id tells that it was the same one: a client that
    repeats by itself turns one push into two.
    """

    command: str = "*"  # globs of names, any of them: "SET|EVAL*"
    key: str = "*"  # a glob of the first key
    nth: int = 0  # which match on a connection; 0: every

    def toxics(self) -> Iterator[Toxic]:
        """Not in Toxiproxy, which knows no requests."""
        attributes = {"command": self.command, "key": self.key, "nth": self.nth}
        yield {"type": "redis_drop_reply", "stream": "upstream", "attributes": attributes}


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitLost(_Proxied):
    """PostgreSQL commits, and the connection is cut before anybody hears of it.

    A statement outside of a transaction commits by itself. The outcome is unknown to whoever asked: it has to be looked
    up by the operation's id, and not guessed.
    """

    nth: int = 0  # which commit on a connection; 0: every

    def toxics(self) -> Iterator[Toxic]:
        """Not in Toxiproxy, which knows no requests."""
        yield {"type": "pg_cut_commit", "stream": "upstream", "attributes": {"nth": self.nth, "implicit": True}}
