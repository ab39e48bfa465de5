"""How many may wait, so that waiting stays below a target: additive increase, multiplicative decrease.

The bound on the queue follows how long those who leave it have waited, as a TCP sender's window follows loss: one that
waited longer than the target halves it, each bound's worth that did not lets one more in (Chiu and Jain, "Analysis of
the increase and decrease algorithms for congestion avoidance in computer networks", 1989). No rate is measured, so an
idle hour teaches it nothing wrong. What is in the queue already is never taken out of it: a bound below its length only
keeps newcomers away.
"""

from __future__ import annotations

import asyncio
import math

DECREASE = 0.5
LEAST = 1.0
"""Never less: with nobody waiting, a slot that becomes free would stay so until the next arrival."""


class Shedding:
    """The bound on a queue of at most `most` whose waits should stay below `target_s`. Times are on one clock, in s."""

    def __init__(self, target_s: float, most: int) -> None:
        self.target_s = target_s
        self.bound = float(max(most, 1))
        self._most = self.bound
        self._waiting: dict[asyncio.Future[None], float] = {}  # since when, the oldest first
        self._cut_at = -math.inf

    def entered(self, place: asyncio.Future[None], now: float) -> None:
        """Somebody waits from now; the place is done when that is over."""
        self._waiting[place] = now

    def refuses(self, depth: int, now: float) -> bool:
        """Whether one more, behind `depth` that wait, is too many."""
        self.settle(now)
        if self._waiting:  # a queue that does not move tells by its head
            self._waited_too_long(next(iter(self._waiting.values())), now)
        return depth >= self.bound

    def settle(self, now: float) -> None:
        """Learn from those whose waiting has ended, which is to be said as soon as it has."""
        while self._waiting:
            place, since = next(iter(self._waiting.items()))
            if not place.done():
                return
            del self._waiting[place]
            if not self._waited_too_long(since, now) and now - since <= self.target_s:
                self._raise_bound()

    def left(self, place: asyncio.Future[None]) -> None:
        """Somebody gave up waiting."""
        self._waiting.pop(place, None)

    def _raise_bound(self) -> None:
        # Only where it is nearly reached: short waits in a short queue do not say that a long one would do.
        if len(self._waiting) + 1 >= DECREASE * self.bound:
            self.bound = min(self._most, self.bound + 1.0 / self.bound)

    def _waited_too_long(self, since: float, now: float) -> bool:
        """Halve the bound, once for all who came before it was halved: they are its past, not its doing."""
        if now - since <= self.target_s or since < self._cut_at:
            return False
        self.bound = max(LEAST, DECREASE * min(self.bound, len(self._waiting) + 1))
        self._cut_at = now
        return True
