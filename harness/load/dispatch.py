"""Open load: hands each arrival to a free user when it is due, and makes more users when none is free."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from gevent.queue import SimpleQueue

from harness.load.alarm import alarm
from harness.load.recording import Recorder

USERS_FIRST = 32  # there before the first arrival
USERS_GROWN = 64  # at most so many more at once, so that making them does not hold up those that run


class Users(Protocol):
    """Who makes users: Locust's runner, for those who need to know."""

    def spawn(self, count: int) -> None:
        """So many more."""

    def count(self) -> int:
        """Made and not yet gone."""


class Dispatcher:
    """The arrivals of one open level, or of a part of it. Whatever the users do, the schedule does not move.

    An arrival that finds no free user, when there are `users_max` already, waits for one and starts late; one that is
    still waiting when the measurement ends is shed. `offsets` are in seconds from the level's start, and `starts` is
    that in seconds from the run's t0.
    """

    def __init__(
        self,
        offsets: Iterator[float],
        *,
        starts: float,
        users_max: int,
        recorder: Recorder,
        clock: Callable[[], float],
    ) -> None:
        self._offsets = offsets
        self._starts = starts
        self._users_max = users_max
        self._recorder = recorder
        self._clock = clock
        self._waiting: SimpleQueue[float | None] = SimpleQueue()
        self._next_due: float | None = None
        self._users_made = 0
        self.unstarted = 0  # arrivals that are due and that no user has begun
        self._advance()

    def take(self) -> float | None:
        """A user waits here for work: an intended start, or None when there will be no more."""
        due = self._waiting.get()
        if due is not None:
            self.unstarted -= 1
        return due

    def run(self, users: Users) -> None:
        """Hand out arrivals as they fall due, to the last one."""
        self._spawn(users, min(USERS_FIRST, self._users_max))
        waking = alarm()
        zero = time.monotonic() - self._clock()  # the run's t0 on the clock that alarms go by
        try:
            while self._next_due is not None:
                waking.sleep_until(zero + self._next_due)
                self._hand_out(self._clock(), users)
        finally:
            waking.close()

    def end(self, measure_ends: float, users: Users) -> None:
        """No more arrivals. Of those due before `measure_ends`, as many may still start as users are free."""
        self._hand_out(measure_ends, users)  # the level may have been woken just before the dispatcher
        self.shed(keep=self._users_made - len(self._recorder.in_flight))
        for _ in range(self._users_made):
            self._waiting.put(None)

    def shed(self, keep: int = 0) -> None:
        """Give up all arrivals that wait for a user but the `keep` oldest."""
        waiting = [self._waiting.get_nowait() for _ in range(self._waiting.qsize())]
        for place, due in enumerate(waiting):
            if due is None or place < keep:
                self._waiting.put(due)
            else:
                self.unstarted -= 1
                self._recorder.shed(due)

    def _hand_out(self, until: float, users: Users) -> None:
        while self._next_due is not None and self._next_due < until:
            self._waiting.put(self._next_due)
            self.unstarted += 1
            self._advance()
        while (needed := len(self._recorder.in_flight) + self.unstarted - self._users_made) > 0:
            room = self._users_max - self._users_made
            if room <= 0:
                break
            self._spawn(users, min(max(needed, self._users_made), USERS_GROWN, room))

    def _advance(self) -> None:
        offset = next(self._offsets, None)
        self._next_due = None if offset is None else self._starts + offset

    def _spawn(self, users: Users, count: int) -> None:
        self._users_made += count
        users.spawn(count)
