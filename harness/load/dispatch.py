"""Open load: hands each arrival to a free user when it is due, and makes more users when none is free."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Protocol

import gevent
from gevent.queue import SimpleQueue

from harness.load.arrivals import LoadProfile
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
    """The arrivals of one open level. Whatever the users do, the schedule does not move.

    An arrival that finds no free user, when there are `users_max` already, waits for one and starts late; one that is
    still waiting when the measurement ends is shed. `starts` is the level's start in seconds from the run's t0.
    """

    def __init__(
        self,
        profile: LoadProfile,
        rng: Random,
        *,
        starts: float,
        users_max: int,
        recorder: Recorder,
        clock: Callable[[], float],
    ) -> None:
        self._offsets: Iterator[float] = profile.arrivals(rng)
        self._starts = starts
        self._users_max = users_max
        self._recorder = recorder
        self._clock = clock
        self._waiting: SimpleQueue[float | None] = SimpleQueue()
        self._next_due: float | None = None
        self._users_made = 0
        self._advance()

    def take(self) -> float | None:
        """A user waits here for work: an intended start, or None when there will be no more."""
        return self._waiting.get()

    def run(self, users: Users) -> None:
        """Hand out arrivals as they fall due, to the last one."""
        self._spawn(users, min(USERS_FIRST, self._users_max))
        while self._next_due is not None:
            gevent.sleep(max(0.0, self._next_due - self._clock()))
            for due in self._take_before(self._clock()):
                self._waiting.put(due)
            # A user that has been handed an arrival but not yet run leaves it in the queue, so none counts twice.
            while (needed := len(self._recorder.in_flight) + self._waiting.qsize() - self._users_made) > 0:
                room = self._users_max - self._users_made
                if room <= 0:
                    break
                self._spawn(users, min(max(needed, self._users_made), USERS_GROWN, room))

    def end(self, measure_ends: float) -> None:
        """No more starts: what is waiting, or was due before `measure_ends`, is shed, and idle users leave."""
        while not self._waiting.empty():
            due = self._waiting.get_nowait()
            assert due is not None
            self._recorder.shed(due)
        for due in self._take_before(measure_ends):
            self._recorder.shed(due)
        for _ in range(self._users_made):
            self._waiting.put(None)

    def _take_before(self, until: float) -> Iterator[float]:
        while self._next_due is not None and self._next_due < until:
            due = self._next_due
            self._advance()
            yield due

    def _advance(self) -> None:
        offset = next(self._offsets, None)
        self._next_due = None if offset is None else self._starts + offset

    def _spawn(self, users: Users, count: int) -> None:
        self._users_made += count
        users.spawn(count)
