"""A bounded number of places, taken at once when one is free and in order of asking when none is.

`asyncio.Semaphore` would do the same for more: here nothing is awaited unless waiting is really needed, and what a
report needs (how long places were busy, how long steps waited) is kept for two additions a use.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Pool:
    """`size` places. Whoever was given one calls `release` exactly once.

    A place released while others wait goes straight to the first of them; it is never free in between, so nobody
    overtakes. `clock` gives seconds; `now` is a time on it that the caller has at hand, as reading it costs.
    """

    __slots__ = ("_busy_s", "_clock", "_wait_s", "_waiters", "busy", "size")

    def __init__(self, size: int, *, clock: Callable[[], float]) -> None:
        self.size = size
        self.busy = 0
        self._clock = clock
        self._waiters: deque[asyncio.Future[None]] = deque()
        # Sums of end - begin over all uses; what is still under way has contributed its -begin, see `busy_s`.
        self._busy_s = 0.0
        self._wait_s = 0.0

    @property
    def waiting(self) -> int:
        """How many are in the queue."""
        return len(self._waiters)

    def busy_s(self, now: float) -> float:
        """Place seconds busy until now."""
        return self._busy_s + self.busy * now

    def wait_s(self, now: float) -> float:
        """Seconds waited until now, by all who wait or waited."""
        return self._wait_s + len(self._waiters) * now

    def take(self, now: float) -> asyncio.Future[None] | None:
        """None: a place is yours. A future: you are in the queue; await it through `granted`."""
        if self.busy < self.size:
            self.busy += 1
            self._busy_s -= now
            return None
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._wait_s -= now
        return waiter

    async def granted(self, waiter: asyncio.Future[None]) -> None:
        """Wait for the place. If this is cancelled, the caller has none and owes none."""
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():  # granted and cancelled in the same turn of the loop: the next one gets it
                self.release(self._clock())
            else:
                self.leave(waiter)
            raise

    def leave(self, waiter: asyncio.Future[None]) -> None:
        """Wait no longer for a place that was not granted."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
            self._wait_s += self._clock()

    def release(self, now: float) -> None:
        """Give a place back: to the first who waits, if anybody does."""
        while self._waiters:
            waiter = self._waiters.popleft()
            self._wait_s += now
            if not waiter.done():  # else cancelled, and its task has not run since
                waiter.set_result(None)
                return
        self.busy -= 1
        self._busy_s += now
