"""How many workflows run, how many wait, and when to say no.

What was accepted is never dropped: it runs, or it reaches its own deadline. What is refused was definitely not
started, and is told when to come back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from harness.errors import Rejected
from harness.orchestrator.pool import Pool

RATE_OVER = 64
"""Completions the rate behind `retry_after_s` is measured over."""
RETRY_AFTER_S = (0.05, 10.0)
"""Bounds of `retry_after_s`."""
RETRY_AFTER_UNKNOWN_S = 1.0
"""`retry_after_s` before two workflows have ended."""


Ticket = tuple[float, asyncio.Future[None] | None]
"""One accepted workflow: when, and what it has to wait for (None: it may run at once)."""


class Admission:
    """`slots` workflows run; the next `queue` wait in order of acceptance; one more is refused."""

    def __init__(self, slots: int, queue: int, *, clock: Callable[[], float]) -> None:
        self.slots = Pool(slots, clock=clock)
        self.queue_peak = 0
        self.accepted = 0
        self.rejected = 0
        self._queue = queue
        self._clock = clock
        self._ended_at: deque[float] = deque(maxlen=RATE_OVER)

    def admit(self, *, promised: bool = False) -> Ticket:
        """Accept a workflow, or raise `Rejected`. Never waits. What an earlier owner `promised` is never refused."""
        slots = self.slots
        if not promised and slots.busy >= slots.size and slots.waiting >= self._queue:
            self.rejected += 1
            raise Rejected(retry_after_s=self._retry_after_s(slots.waiting), queue_depth=slots.waiting)
        now = self._clock()
        waiting = slots.take(now)
        self.accepted += 1
        if waiting is not None and slots.waiting > self.queue_peak:
            self.queue_peak = slots.waiting
        return now, waiting

    def withdraw(self, ticket: Ticket) -> None:
        """An accepted workflow will not run after all: its place goes to the next."""
        _, waiting = ticket
        if waiting is None or waiting.done():
            self.slots.release(self._clock())
        else:
            self.slots.leave(waiting)

    def ended(self) -> None:
        """A workflow that had a slot gives it back."""
        now = self._clock()
        self._ended_at.append(now)
        self.slots.release(now)

    def _retry_after_s(self, depth: int) -> float:
        """Until half the queue will have drained, at the rate of the last RATE_OVER completions up to now.

        Half, so that those who come back do not all find it full again, nor the slots idle.
        """
        if len(self._ended_at) < 2:
            return RETRY_AFTER_UNKNOWN_S
        since_s = self._clock() - self._ended_at[0]  # up to now: a system that stopped completing has a falling rate
        least_s, most_s = RETRY_AFTER_S
        return min(most_s, max(least_s, (depth / 2 + 1) * since_s / len(self._ended_at)))
