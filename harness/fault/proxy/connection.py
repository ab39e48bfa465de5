"""One connection through a proxy: two sides, and a flow of bytes each way.

Half-close and backpressure are kept: a direction ends by itself, and a side that takes no more is not sent more.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable, Hashable
from typing import Protocol, cast

from harness.fault.proxy.address import Address
from harness.fault.proxy.overhead import Overhead
from harness.fault.proxy.speech import Speech
from harness.fault.proxy.stage import End, Sink, Stage
from harness.fault.proxy.toxic import Stream, Toxic

RESET_NOW = struct.pack("ii", 1, 0)
"""SO_LINGER on, for no time: closing sends RST."""
FLUSH_S = 0.2
"""So long a reset waits for bytes that were let through before it to be written."""
FLUSH_EVERY_S = 0.001
CONNECT_S = 10.0


class Owner(Protocol):
    """What a connection knows of its proxy."""

    @property
    def upstream(self) -> Address:
        """Where the server is."""

    @property
    def overhead(self) -> Overhead:
        """What measures."""

    @property
    def rules(self) -> list[Toxic]:
        """Toxics that act on requests."""

    def forget(self, connection: Connection) -> None:
        """Both of its sides are gone."""


class Flow:
    """One direction: from the side it comes from, through the stages, to the side that it goes to."""

    def __init__(self, connection: Connection, stream: Stream, source: Side, sink: Side) -> None:
        self.connection = connection
        self.stream: Stream = stream
        self.sink = sink
        self.stages: list[Stage] = []
        self.is_done = False  # its end was delivered
        self._source = source
        self._first: Sink = sink
        self._full: set[Hashable] = set()

    def take(self, data: bytes, request: int) -> None:
        """Bytes for its sink."""
        self._first.take(data, request)

    def end(self, how: End) -> None:
        """Nothing comes from its source any more."""
        self._first.end(how)

    def attach(self, toxic: Toxic, kind: type[Stage]) -> None:
        """A stage for this toxic, behind the others."""
        self.stages.append(kind(toxic, self))
        self._chain()
        self.stages[-1].began()

    def detach(self, toxic: Toxic) -> None:
        """Take its stage out; what it holds goes on first."""
        for stage in [each for each in self.stages if each.toxic is toxic]:
            stage.lift()
            self.stages.remove(stage)
            self._chain()
            self.unblock(stage)

    def changed(self, toxic: Toxic, *, anew: bool) -> None:
        """It was updated."""
        for stage in self.stages:
            if stage.toxic is toxic:
                stage.changed(anew=anew)

    def block(self, reason: Hashable) -> None:
        """Read no more from its source while there is a reason."""
        if not self._full:
            self._source.pause()
        self._full.add(reason)

    def unblock(self, reason: Hashable) -> None:
        """One reason less."""
        if reason in self._full:
            self._full.discard(reason)
            if not self._full:
                self._source.resume()

    @property
    def is_blocked(self) -> bool:
        """Whether its source is not read."""
        return bool(self._full)

    def later(self, delay_s: float, call: Callable[[], None]) -> asyncio.Handle:
        """On the loop."""
        loop = self.connection.loop
        return loop.call_later(delay_s, call) if delay_s > 0.0 else loop.call_soon(call)

    def _chain(self) -> None:
        following: Sink = self.sink
        for stage in reversed(self.stages):
            stage.on = following
            following = stage
        self._first = following


class Side(asyncio.Protocol):
    """The proxy's socket to the client, or to the server."""

    flow: Flow  # what is read here
    back: Flow  # what is written here

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._early_end: End | None = None
        self._hear: Callable[[bytes], None] = lambda data: None
        self.is_lost = False

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        speech = self._connection.speech
        self._hear = speech.asked if self.flow.stream == "upstream" else speech.answered
        self._transport = cast(asyncio.Transport, transport)
        raw = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._connection.is_over:
            self._transport.abort()
            return
        if self.flow.is_blocked:
            self.pause()
        early, self._early = self._early, []
        for data in early:
            self.take(data, 0)
        if self._early_end is not None:
            self.end(self._early_end)

    def data_received(self, data: bytes) -> None:
        overhead = self._connection.overhead
        overhead.chunks += 1
        if overhead.chunks & overhead.MASK or self.flow.stages:
            self._hear(data)
            return
        came = time.perf_counter_ns()
        self._hear(data)
        self._connection.loop.call_soon(overhead.passed, came)  # by then the loop has written

    def eof_received(self) -> bool:
        self._connection.speech.ended(self.flow)
        self.flow.end(End.EOF)
        return True  # the other direction goes on

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self._early.clear()
        self._connection.lost(self, End.CLOSE if exc is None else End.RESET)

    def pause_writing(self) -> None:
        self.back.block(self)

    def resume_writing(self) -> None:
        self.back.unblock(self)

    # What the flows call.

    def take(self, data: bytes, request: int) -> None:
        """Write them."""
        if self._transport is None:
            self._early.append(data)
        elif not self.is_lost and not self.back.is_done:
            self._transport.write(data)

    def end(self, how: End) -> None:
        """Say so, when all before it is written."""
        if how is not End.EOF:
            self._connection.over(how)
        elif self._transport is None:
            self._early_end = how
        elif not self.back.is_done:
            self.back.is_done = True
            if not self.is_lost:
                with contextlib.suppress(OSError, RuntimeError):  # it went away just now
                    self._transport.write_eof()
            self._connection.finish()

    def pause(self) -> None:
        """Read no more."""
        if self._transport is not None and not self.is_lost:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and not self.is_lost and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """In order."""
        if self._transport is not None:
            self._transport.close()

    def reset(self, until: float) -> None:
        """By RST, when what was written before is out; at `until` (monotonic clock) at the latest."""
        if self._transport is None or self.is_lost:
            return
        if self._transport.get_write_buffer_size() and time.monotonic() < until:
            self._connection.loop.call_later(FLUSH_EVERY_S, self.reset, until)
            return
        raw = self._transport.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_NOW)
        self._transport.abort()


class Connection:
    """Both sides, from when a client connected."""

    def __init__(self, proxy: Owner, ordinal: int, speech: Callable[[Connection], Speech]) -> None:
        self.proxy = proxy
        self.ordinal = ordinal
        self.loop = asyncio.get_running_loop()
        self.overhead = proxy.overhead
        self.is_over = False
        self.client = Side(self)
        self.server = Side(self)
        self.up = Flow(self, "upstream", self.client, self.server)
        self.down = Flow(self, "downstream", self.server, self.client)
        self.client.flow = self.server.back = self.up
        self.server.flow = self.client.back = self.down
        self.speech = speech(self)
        self.up.block("connecting")
        self._connecting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        host, port = self.proxy.upstream
        try:
            async with asyncio.timeout(CONNECT_S):
                await self.loop.create_connection(lambda: self.server, host, port)
        except OSError:  # TimeoutError is one
            self.server.is_lost = True
            self.over(End.RESET)  # as near as can be to a refusal
            self.proxy.forget(self)
            return
        self.up.unblock("connecting")

    @property
    def rules(self) -> list[Toxic]:
        """Its proxy's."""
        return self.proxy.rules

    def flow(self, stream: Stream) -> Flow:
        """By its name in the API."""
        return self.up if stream == "upstream" else self.down

    def lost(self, side: Side, how: End) -> None:
        """That side's socket is gone: the other is told, behind what is on its way to it."""
        side.back.unblock(side)
        if not self.is_over:
            side.flow.end(how)
        if self.client.is_lost and self.server.is_lost:
            self.over(End.CLOSE)
            self.proxy.forget(self)

    def finish(self) -> None:
        """Close when both directions have ended."""
        if self.up.is_done and self.down.is_done:
            self.over(End.CLOSE)

    def over(self, how: End) -> None:
        """End it, by RST or in order. Idempotent."""
        if self.is_over:
            return
        self.is_over = True
        for stage in (*self.up.stages, *self.down.stages):
            stage.drop()
        for side in (self.client, self.server):
            if how is End.RESET:
                side.reset(time.monotonic() + FLUSH_S)
            else:
                side.close()
