"""What stands between the two sides of a connection in one direction: a chain of stages, one a toxic.

Bytes and the stream's end go through the chain in order. A stage may hold them, drop them or end the connection; added,
changed or removed while bytes pass, it loses none and turns none around.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

from harness.fault.proxy.toxic import Toxic

HELD_BYTES_MAX = 64 * 2**10
"""More than that is held by no stage that slows: the sender is to feel it, as it would on a slow line."""
PUNCTUAL_S = 100e-6
"""The loop's timers have a resolution of 1 ms; what is due sooner than this is done now."""


class End(enum.IntEnum):
    """How a stream ends, a later one over an earlier."""

    EOF = 1  # one direction only
    CLOSE = 2  # the connection, in order
    RESET = 3  # the connection, by RST


class Sink(Protocol):
    """What comes after a stage: another, or the side that the bytes go to."""

    def take(self, data: bytes, request: int) -> None:
        """Bytes of the connection's so-manieth request, or of its reply."""

    def end(self, how: End) -> None:
        """Nothing comes any more."""


class Connected(Protocol):
    """What a stage knows of its connection."""

    @property
    def ordinal(self) -> int:
        """Among the proxy's connections, from 1."""

    def over(self, how: End) -> None:
        """End it at once."""


class Way(Sink, Protocol):
    """What a stage knows of its direction of the connection; as a sink it is the chain's beginning."""

    @property
    def connection(self) -> Connected:
        """Of which it is one direction."""

    @property
    def sink(self) -> Sink:
        """The chain's end."""

    @property
    def stages(self) -> Sequence[Stage]:
        """The chain."""

    def block(self, reason: Hashable) -> None:
        """Read no more from its source while there is a reason."""

    def unblock(self, reason: Hashable) -> None:
        """One reason less."""

    def later(self, delay_s: float, call: Callable[[], None]) -> asyncio.Handle:
        """Call that on the loop."""


class Stage:
    """One toxic, one direction, one connection. This one lets all pass that it is not told to act on."""

    def __init__(self, toxic: Toxic, flow: Way) -> None:
        self.toxic = toxic
        self.flow = flow
        self.on: Sink = flow.sink
        self._asked: int | None = None
        self._acts = False

    def began(self) -> None:
        """It is in the chain."""

    def take(self, data: bytes, request: int) -> None:
        if self.acts_on(request):
            self.act(data, request)
        else:
            self.spare(data, request)

    def end(self, how: End) -> None:
        self.on.end(how)

    def act(self, data: bytes, request: int) -> None:
        """What the toxic does to bytes."""
        self.on.take(data, request)

    def spare(self, data: bytes, request: int) -> None:
        """Bytes that it does not act on."""
        self.on.take(data, request)

    def lift(self) -> None:
        """The toxic is removed: what is held goes on now."""

    def changed(self, *, anew: bool) -> None:
        """The toxic was updated; `anew`: also what it acts on."""
        if anew:
            self._asked = None

    def drop(self) -> None:
        """The connection is gone."""

    def acts_on(self, request: int) -> bool:
        """Whether the toxic fires for this connection, or this request of it; asked once."""
        of = request if self.toxic.attributes.per == "request" else 0
        if of != self._asked:
            self._asked = of
            self._acts = self.toxic.fires(self.flow.connection.ordinal, request)
        return self._acts


class Delayed(Stage):
    """Holds bytes until they are due, in order."""

    held_max = HELD_BYTES_MAX
    one_at_a_time = False  # each piece in a write of its own

    def __init__(self, toxic: Toxic, flow: Way) -> None:
        super().__init__(toxic, flow)
        self._queue: deque[tuple[float, float, bytes, int, bool]] = deque()  # due, came, bytes, request, acted on
        self._held = 0
        self._ending: End | None = None
        self._end_due = 0.0
        self._latest = 0.0
        self._timer: asyncio.Handle | None = None

    def due(self, came: float, data: bytes, request: int) -> float:
        """When they go on; never before what came before."""
        raise NotImplementedError

    def act(self, data: bytes, request: int) -> None:
        came = time.monotonic()
        self._hold(self.due(came, data, request), came, data, request, acted=True)
        self._go_on()

    def spare(self, data: bytes, request: int) -> None:
        if self._queue:
            self._hold(0.0, time.monotonic(), data, request, acted=False)
        else:
            self.on.take(data, request)

    def end(self, how: End) -> None:
        if self._ending is None:
            self._end_due = self.end_due()
        self._ending = max(how, self._ending or how)
        self._go_on()

    def end_due(self) -> float:
        """When the end goes on, at the earliest."""
        return 0.0

    def lift(self) -> None:
        self._stop()
        while self._queue:
            self._release()
        self._end_due = 0.0
        self._end_if_due(0.0)

    def changed(self, *, anew: bool) -> None:
        super().changed(anew=anew)
        held, self._latest = list(self._queue), 0.0
        self._queue.clear()
        self._held = 0
        for _, came, data, request, acted in held:
            self._hold(self.due(came, data, request) if acted else 0.0, came, data, request, acted=acted)
        self._stop()
        self._go_on()

    def drop(self) -> None:
        self._stop()
        self._queue.clear()
        self._ending = None

    def _hold(self, due: float, came: float, data: bytes, request: int, *, acted: bool) -> None:
        self._latest = max(self._latest, due)
        self._queue.append((self._latest, came, data, request, acted))
        self._held += len(data)
        if self._held > self.held_max:
            self.flow.block(self)

    def _go_on(self) -> None:
        """Let go what is due, unless a timer will."""
        if self._timer is None:
            self._let_go()

    def _let_go(self) -> None:
        self._timer = None
        now = time.monotonic()
        while self._queue:
            due = self._queue[0][0]
            if due > now + PUNCTUAL_S:
                self._wait(due - now)
                return
            self._release()
            if self.one_at_a_time:
                self._wait(0.0)
                return
        self._end_if_due(now)

    def _release(self) -> None:
        _, _, data, request, _ = self._queue.popleft()
        self._held -= len(data)
        if self._held <= self.held_max // 2:
            self.flow.unblock(self)
        self.on.take(data, request)

    def _end_if_due(self, now: float) -> None:
        if self._ending is None or self._queue:
            return
        if now and self._end_due > now + PUNCTUAL_S:
            self._wait(self._end_due - now)
            return
        how, self._ending = self._ending, None
        self.on.end(how)

    def _wait(self, delay_s: float) -> None:
        self._timer = self.flow.later(delay_s, self._let_go)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
