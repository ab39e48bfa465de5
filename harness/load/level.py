"""One level from its start to its last written line: warm-up, measure, drain, and who may start what when."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

import gevent
from gevent.event import Event
from gevent.queue import SimpleQueue

from harness.errors import HarnessError
from harness.load.arrivals import Closed, LoadProfile
from harness.load.client import Client
from harness.load.control import Done, LoadReport, PhaseChanged, Progress
from harness.load.pulse import Pulse
from harness.load.recording import Recorder, Sample
from harness.load.tally import Tally
from harness.observation.observation import Phase, PhaseMark

USERS_FIRST = 32  # open load: users there before the first arrival
USERS_GROWN = 64  # at most so many more at once, so that making them does not hold up those that run
DISK_PATIENCE_S = 5.0
DISK_RETRY_S = 0.25


class LoadBroken(HarnessError):
    """The load process cannot go on."""


@dataclass(slots=True)
class Phases:
    """Where a level's phases lie, in seconds from the run's t0. `measure_ends` moves when it is ended early."""

    starts: float
    measure_starts: float
    measure_ends: float

    def of(self, intended: float) -> Phase:
        """The phase of a sample, by its intended start."""
        return Phase.WARMUP if intended < self.measure_starts else Phase.MEASURE


class Users(Protocol):
    """Who makes users; Locust's runner, for those who need to know."""

    def spawn(self, count: int) -> None:
        """So many more users."""

    def count(self) -> int:
        """Users made and not yet gone."""


class Schedule:
    """The arrivals of an open level as absolute intended starts, taken as they fall due."""

    def __init__(self, profile: LoadProfile, rng: Random, starts: float) -> None:
        self._offsets: Iterator[float] = profile.arrivals(rng)
        self._starts = starts
        self.next_due: float | None = None
        self._advance()

    def _advance(self) -> None:
        offset = next(self._offsets, None)
        self.next_due = None if offset is None else self._starts + offset

    def take_before(self, until: float) -> Iterator[float]:
        """The arrivals due before `until` that nobody took yet."""
        while self.next_due is not None and self.next_due < until:
            due = self.next_due
            self._advance()
            yield due


class LevelDrive:
    """Drives one level. Users ask it for work (`user.Work`); `stop` may be called from any greenlet."""

    def __init__(
        self,
        label: str,
        profile: Closed | LoadProfile,
        rng: Random,
        *,
        phases: Phases,
        drain_s: float,
        until_ok: int | None,
        users_max: int,
        recorder: Recorder,
        clock: Callable[[], float],
        client: Callable[[], Client],
        say: Callable[[LoadReport], None],
        on_samples: Callable[[Sequence[Sample]], None],
    ) -> None:
        self.recorder = recorder
        self.clock = clock
        self.client = client
        self._label = label
        self._profile = profile
        self._rng = rng
        self._phases = phases
        self._drain_s = drain_s
        self._until_ok = until_ok
        self._users_max = users_max
        self._say = say
        self._on_samples = on_samples
        self._phase = Phase.WARMUP
        self._due: SimpleQueue[float | None] = SimpleQueue()
        self._tallies = {Phase.WARMUP: Tally(), Phase.MEASURE: Tally()}
        self._changed = Event()  # something a phase may be waiting for happened
        self._stopped_because = ""
        self._failure: BaseException | None = None

    # What users ask.

    def may_start(self, intended: float) -> bool:
        """After measure there are no new starts."""
        return intended < self._phases.measure_ends

    def next_arrival(self) -> float | None:
        """The next arrival, when it is due; None when there will be no more."""
        return self._due.get()

    def one_ended(self) -> None:
        """End `measure` once enough were ok, or the drain once nothing is left."""
        if self._phase is Phase.DRAIN:
            if not self.recorder.in_flight:
                self._changed.set()
        elif self._until_ok is not None and self.recorder.ok_in_measure >= self._until_ok:
            self._end_measure()

    def fail(self, error: BaseException) -> None:
        """The harness itself broke: end the level, keeping what was measured."""
        self._failure = self._failure or error
        self.stop("the load process failed")

    def stop(self, because: str) -> None:
        """End the level now: no new starts, what is in flight is censored."""
        self._stopped_because = self._stopped_because or because
        self._end_measure()

    def _end_measure(self) -> None:
        self._phases.measure_ends = min(self._phases.measure_ends, self.clock())
        self._changed.set()

    # The level itself.

    def drive(self, users: Users) -> Done:
        """Drive the level to its end. Raises LoadBroken when the harness failed; what was measured is kept."""
        self._users = users
        pulse = Pulse(self.recorder, self._label, self.clock, users.count, self._took_samples)
        beating = self._spawn(pulse.run)
        self._enter(Phase.WARMUP, self._phases.measure_starts)
        arriving = self._start_arrivals()
        if self._wait(self._phases.measure_starts):
            self._enter(Phase.MEASURE, self._phases.measure_ends)
            self._wait(self._phases.measure_ends)
        self._end_measure()
        arriving()
        drain_ends = self.clock() + self._drain_s
        self._enter(Phase.DRAIN, drain_ends)
        self._wait(drain_ends)
        self.recorder.censor_all()
        beating.kill()
        return self._finish()
