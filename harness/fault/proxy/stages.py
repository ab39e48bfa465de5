"""What each type of toxic does to a stream of bytes."""

from __future__ import annotations

import asyncio
import time

from harness.fault.proxy.stage import Delayed, End, Stage

LATE_BYTES_MAX = 8 * 2**20
"""Held by a stage that is only late: latency alone must not throttle, so bandwidth times delay has to find room."""
SLICE_S = 0.02
"""Throttled bytes go on in slices of so long."""
PACKET_BYTES = 1448
"""Of an Ethernet packet: 1500 less 40 of headers and 12 of TCP's timestamps."""
LOST_TIMES_MAX = 6


class Late(Delayed):
    """`latency`: bytes go on so long after they came; waiting for those before counts."""

    held_max = LATE_BYTES_MAX
    _pieces = 0

    def due(self, came: float, data: bytes, request: int) -> float:
        wanted = self.toxic.attributes
        delay = float(wanted.latency)
        if wanted.jitter:
            self._pieces += 1
            share = self.toxic.draw(self.flow.connection.ordinal, request, "jitter", self._pieces)
            delay += wanted.jitter * (2.0 * share - 1.0)
        return came + max(0.0, delay) / 1000.0


class Lossy(Delayed):
    """`packet_loss`: bytes of which a packet was lost are late by TCP's timeout, and so is what follows them."""

    held_max = LATE_BYTES_MAX
    _pieces = 0

    def due(self, came: float, data: bytes, request: int) -> float:
        wanted = self.toxic.attributes
        self._pieces += 1
        packets = -(-len(data) // PACKET_BYTES)
        lost, delay = 1.0 - (1.0 - wanted.loss) ** packets, 0.0
        for time_ in range(LOST_TIMES_MAX):
            if self.toxic.draw(self.flow.connection.ordinal, request, "loss", self._pieces, time_) >= lost:
                break
            delay += wanted.rto * 2**time_ / 1000.0
            lost = wanted.loss  # what is sent again is one packet
        return came + delay


class Throttled(Delayed):
    """`bandwidth`: as a line that carries so many bytes a second."""

    _free = 0.0  # when the line has carried all that it was given

    def act(self, data: bytes, request: int) -> None:
        rate = self.toxic.attributes.rate * 1000
        size = max(1, int(rate * SLICE_S)) if rate else len(data)
        for begin in range(0, len(data), size):
            super().act(data[begin : begin + size], request)

    def due(self, came: float, data: bytes, request: int) -> float:
        rate = self.toxic.attributes.rate * 1000
        if not rate:
            return came
        self._free = max(self._free, came) + len(data) / rate
        return self._free

    def changed(self, *, anew: bool) -> None:
        self._free = 0.0
        super().changed(anew=anew)


class Sliced(Delayed):
    """`slicer`: small pieces, each written by itself."""

    one_at_a_time = True
    _free = 0.0
    _pieces = 0

    def act(self, data: bytes, request: int) -> None:
        begin = 0
        while begin < len(data):
            size = self._size(request) or len(data)
            super().act(data[begin : begin + size], request)
            begin += size

    def due(self, came: float, data: bytes, request: int) -> float:
        at = max(self._free, came)
        self._free = at + self.toxic.attributes.delay / 1e6
        return at

    def changed(self, *, anew: bool) -> None:
        self._free = 0.0
        super().changed(anew=anew)

    def _size(self, request: int) -> int:
        wanted = self.toxic.attributes
        if not wanted.average_size:
            return 0
        spread = min(wanted.size_variation, wanted.average_size - 1)
        if not spread:
            return int(wanted.average_size)
        self._pieces += 1
        share = self.toxic.draw(self.flow.connection.ordinal, request, "size", self._pieces)
        return int(wanted.average_size - spread + share * (2 * spread + 1))


class SlowlyClosed(Delayed):
    """`slow_close`: only the end is late."""

    def take(self, data: bytes, request: int) -> None:
        self.on.take(data, request)

    def end_due(self) -> float:
        if not self.acts_on(0):
            return 0.0
        return time.monotonic() + float(self.toxic.attributes.delay) / 1000.0


class Ending(Stage):
    """Ends the connection by itself, some time after it was told to."""

    _due: asyncio.Handle | None = None
    _since = 0.0

    def lift(self) -> None:
        self.drop()

    def drop(self) -> None:
        if self._due is not None:
            self._due.cancel()

    def _end_after(self, delay_ms: int, how: End) -> None:
        """From when it was asked for first."""
        self._since = self._since or time.monotonic()
        self.drop()
        delay_s = self._since + delay_ms / 1000.0 - time.monotonic()
        self._due = self.flow.later(max(0.0, delay_s), lambda: self.flow.connection.over(how))


class TimedOut(Ending):
    """`timeout`: nothing passes, and the connection is closed later, or when that is lifted."""

    _swallowed = False

    def began(self) -> None:
        if self.toxic.attributes.per == "connection" and self.acts_on(0):
            self._run()

    def act(self, data: bytes, request: int) -> None:
        self._swallowed = True
        self._run()

    def end(self, how: End) -> None:
        if self._acts:
            self._swallowed = True
        else:
            self.on.end(how)

    def changed(self, *, anew: bool) -> None:
        super().changed(anew=anew)
        self.drop()
        if self._acts:
            self._run()

    def lift(self) -> None:
        super().lift()
        if self._swallowed:
            self.flow.connection.over(End.CLOSE)

    def _run(self) -> None:
        if self.toxic.attributes.timeout:
            self._end_after(self.toxic.attributes.timeout, End.CLOSE)


class PeerReset(Ending):
    """`reset_peer`: the first bytes are swallowed, and so long after them RST is sent to both sides."""

    def act(self, data: bytes, request: int) -> None:
        self._end_after(self.toxic.attributes.timeout, End.RESET)

    def lift(self) -> None:
        super().lift()
        if self._due is not None:
            self.flow.connection.over(End.RESET)  # bytes are gone


class Counted(Stage):
    """Ends the connection when so many bytes went through."""

    how = End.CLOSE
    _passed = 0
    _of = 0  # which request they are of, where the toxic goes by request
    _is_over = False

    def take(self, data: bytes, request: int) -> None:
        if not self._is_over:
            super().take(data, request)

    def act(self, data: bytes, request: int) -> None:
        wanted = self.toxic.attributes
        if wanted.per == "request" and self._of != request:
            self._of, self._passed = request, 0
        rest = data[: max(0, wanted.bytes - self._passed)]
        self._passed += len(rest)
        if rest:
            self.on.take(rest, request)
        if self._passed >= wanted.bytes:
            self._is_over = True
            self.on.end(self.how)

    def end(self, how: End) -> None:
        if not self._is_over:
            self.on.end(how)

    def lift(self) -> None:
        if self._is_over:  # a toxic behind it may hold the end: nothing must pass behind what was cut off
            self.flow.connection.over(self.how)


class CutAfter(Counted):
    """`reset_after`: as `limit_data`, by RST."""

    how = End.RESET


class Vanishing(Stage):
    """`black_hole`: bytes are lost, and so is the end of the stream."""

    _swallowed = False

    def act(self, data: bytes, request: int) -> None:
        self._swallowed = True

    def end(self, how: End) -> None:
        if self._acts or (self.toxic.attributes.per == "connection" and self.acts_on(0)):
            self._swallowed = True
        else:
            self.on.end(how)

    def lift(self) -> None:
        if self._swallowed:
            self.flow.connection.over(End.RESET)


STAGES: dict[str, type[Stage]] = {
    "latency": Late,
    "bandwidth": Throttled,
    "slow_close": SlowlyClosed,
    "timeout": TimedOut,
    "reset_peer": PeerReset,
    "slicer": Sliced,
    "limit_data": Counted,
    "packet_loss": Lossy,
    "black_hole": Vanishing,
    "reset_after": CutAfter,
}
"""By the toxic's type. Those that are not here act on requests, not on bytes: `rules.py`."""
