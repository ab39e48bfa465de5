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
from harness.orchestrator.shedding import Shedding

RATE_OVER = 64
"""Completions the rate behind `retry_after_s` is measured over."""
RETRY_AFTER_S = (0.05, 10.0)
"""Bounds of `retry_after_s`."""
RETRY_AFTER_UNKNOWN_S = 1.0
"""`retry_after_s` before two workflows have ended."""


Ticket = tuple[float, asyncio.Future[None] | None]
"""One accepted workflow: when, and what it has to wait for (None: it may run at once)."""


class Admission:
    """`slots` workflows run; the next `queue` wait in order of acceptance; one more is refused.

    With `shed_s` fewer may wait when waiting takes longer than that; `shed` counts who was refused for it.
    """

    def __init__(self, slots: int, queue: int, *, clock: Callable[[], float], shed_s: float | None = None) -> None:
        self.slots = Pool(slots, clock=clock)
        self.queue_peak = 0
        self.accepted = 0
        self.rejected = 0
        self.shed = 0
        self._queue = queue
        self._shedding = Shedding(shed_s, queue) if shed_s is not None else None
        self._clock = clock
        self._ended_at: deque[float] = deque(maxlen=RATE_OVER)

    def admit(self, *, promised: bool = False) -> Ticket:
        """Accept a workflow, or raise `Rejected`. Never waits. What an earlier owner `promised` is never refused."""
        slots, shedding, now = self.slots, self._shedding, self._clock()
        if not promised and slots.busy >= slots.size:
            if slots.waiting >= self._queue:
                raise self._refusal(f"admission queue full at depth {slots.waiting}")
            if shedding is not None and shedding.refuses(slots.waiting, now):
                self.shed += 1
                raise self._refusal(
                    f"overloaded: waiting takes longer than {shedding.target_s:g} s, at depth {slots.waiting}"
                )
        waiting = slots.take(now)
        if shedding is not None and waiting is not None:
            shedding.entered(waiting, now)
        self.accepted += 1
        if waiting is not None and slots.waiting > self.queue_peak:
            self.queue_peak = slots.waiting
        return now, waiting

    def withdraw(self, ticket: Ticket) -> None:
        """An accepted workflow will not run after all: its place goes to the next."""
        _, waiting = ticket
        if waiting is None or waiting.done():
            self._release(self._clock())
        else:
            self.slots.leave(waiting)
            if self._shedding is not None:
                self._shedding.left(waiting)

    def ended(self) -> None:
        """A workflow that had a slot gives it back."""
        now = self._clock()
        self._ended_at.append(now)
        self._release(now)

    def _release(self, now: float) -> None:
        self.slots.release(now)
        if self._shedding is not None:
            self._shedding.settle(now)

    def _refusal(self, reason: str) -> Rejected:
        depth = self.slots.waiting
        self.rejected += 1
        return Rejected(retry_after_s=self._retry_after_s(depth), queue_depth=depth, reason=reason)

    def _retry_after_s(self, depth: int) -> float:
        """Until half the queue will have drained, at the rate of the last RATE_OVER completions up to now.

        Half, so that those who come back do not all find it full again, nor the slots idle.
        """
        if len(self._ended_at) < 2:
            return RETRY_AFTER_UNKNOWN_S
        since_s = self._clock() - self._ended_at[0]  # up to now: a system that stopped completing has a falling rate
        least_s, most_s = RETRY_AFTER_S
        return min(most_s, max(least_s, (depth / 2 + 1) * since_s / len(self._ended_at)))
