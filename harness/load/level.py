"""One level from its start to its last written line: warm-up, measure, drain, and who may start what when."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gevent
from gevent.event import Event

from harness.errors import HarnessError
from harness.load.arrivals import Closed
from harness.load.client import Client
from harness.load.control import Done, LoadReport, PhaseChanged
from harness.load.dispatch import Dispatcher, Users
from harness.load.pulse import Pulse
from harness.load.recording import Recorder
from harness.load.tally import Tallies
from harness.observation.observation import Observation, Phase, PhaseMark

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
    drain_s: float  # the longest wait for what is in flight when `measure` ends

    def of(self, intended: float) -> Phase:
        """The phase of a sample, by its intended start."""
        return Phase.WARMUP if intended < self.measure_starts else Phase.MEASURE


class LevelDrive:
    """Drives one level. Users ask it for work (`user.Work`); `stop` may be called from any greenlet."""

    def __init__(
        self,
        label: str,
        arrivals: Closed | Dispatcher,
        *,
        phases: Phases,
        until_ok: int | None,
        recorder: Recorder,
        clock: Callable[[], float],
        client: Callable[[], Client],
        say: Callable[[LoadReport], None],
        on_ended: Callable[[Sequence[Observation]], None],
    ) -> None:
        self.recorder = recorder
        self.clock = clock
        self.client = client
        self._label = label
        self._arrivals = arrivals
        self._phases = phases
        self._until_ok = until_ok
        self._say = say
        self._on_ended = on_ended
        self._phase = Phase.WARMUP
        self._tallies = Tallies()
        self._changed = Event()  # something that a phase may be waiting for happened
        self._stopped_because = ""
        self._failure: BaseException | None = None

    # What users ask.

    def may_start(self, intended: float) -> bool:
        """After `measure` there are no new starts."""
        return intended < self._phases.measure_ends

    def next_arrival(self) -> float | None:
        """The next arrival of open load, when it is due; None when there will be no more."""
        assert isinstance(self._arrivals, Dispatcher)
        while (due := self._arrivals.take()) is not None and not self.may_start(due):
            self._changed.set()  # `measure` was ended early, before this was due: one less to wait for
        return due

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

    def end_measure(self) -> None:
        """Enough was measured: no new starts, but what is in flight may end."""
        self._end_measure()

    def stop(self, because: str) -> None:
        """End the level now: no new starts, what is in flight is censored."""
        self._stopped_because = self._stopped_because or because
        self._end_measure()

    # The level itself.

    def drive(self, users: Users) -> Done:
        """Drive the level to its end. Raises LoadBroken when the harness failed; what was measured is kept."""
        phases = self._phases
        pulse = Pulse(self.recorder, self._label, self.clock, users.count, self._watched)
        self._users = users
        beating = self._spawn(pulse.run)
        self._enter(Phase.WARMUP, phases.starts, phases.measure_starts)
        arriving = self._spawn(self._arrive)
        self._wait(lambda: phases.measure_starts)
        if not self._stopped_because:
            self._enter(Phase.MEASURE, phases.measure_starts, phases.measure_ends)
            self._wait(lambda: phases.measure_ends)
        self._end_measure()
        arriving.kill()
        if isinstance(self._arrivals, Dispatcher):
            self._arrivals.end(phases.measure_ends, users)
        drain_ends = phases.measure_ends + phases.drain_s
        self._enter(Phase.DRAIN, phases.measure_ends, drain_ends)
        self._wait(lambda: drain_ends if self.recorder.in_flight or self._unstarted() else 0.0)
        if isinstance(self._arrivals, Dispatcher):
            self._arrivals.shed()  # only when the level was stopped, or has no drain
        self.recorder.censor_all()
        beating.kill()
        return self._finish()

    def _arrive(self) -> None:
        if isinstance(self._arrivals, Closed):
            self._users.spawn(self._arrivals.users)
        else:
            self._arrivals.run(self._users)

    def _unstarted(self) -> int:
        return self._arrivals.unstarted if isinstance(self._arrivals, Dispatcher) else 0

    def _wait(self, until: Callable[[], float]) -> None:
        """Wait until a time that may move, or until the level is stopped."""
        while not self._stopped_because and (left_s := until() - self.clock()) > 0:
            self._changed.wait(left_s)
            self._changed.clear()

    def _end_measure(self) -> None:
        self._phases.measure_ends = min(self._phases.measure_ends, self.clock())
        self._changed.set()

    def _spawn(self, run: Callable[[], None]) -> gevent.Greenlet[[], None]:
        """A greenlet whose failure ends the level."""

        def guarded() -> None:
            try:
                run()
            except Exception as error:
                self.fail(error)
                raise

        return gevent.spawn(guarded)

    def _enter(self, phase: Phase, at: float, ends_at: float) -> None:
        self._phase = phase
        self.recorder.note(PhaseMark(self._label, phase, at))
        self._say(PhaseChanged(phase, at, ends_at))

    def _watched(self, ended: Sequence[Observation]) -> None:
        for observation in ended:
            self._tallies.add(observation)
        self._on_ended(ended)
        users, in_flight = self._users.count(), len(self.recorder.in_flight)
        self._say(self._tallies.progress(self.clock(), self._phase, users=users, in_flight=in_flight))

    def _finish(self) -> Done:
        """Write the last lines. The `end` mark says that nothing is missing, so a broken level has none."""
        recorder = self.recorder
        if self._failure is None and recorder.arrivals != recorder.observed:
            self._failure = LoadBroken(f"{recorder.arrivals} arrivals but {recorder.observed} observations")
        if self._failure is None:
            recorder.note(PhaseMark(self._label, "end", self.clock()))
        self._write_out()
        if self._failure is not None:
            raise LoadBroken(in_words(self._failure)) from self._failure
        self._watched(recorder.take_fresh())
        return Done(recorder.arrivals, recorder.censored, self._stopped_because)

    def _write_out(self) -> None:
        """Flush, and keep trying for a while when the disk refuses: somebody may make room."""
        give_up = self.clock() + DISK_PATIENCE_S
        while True:
            try:
                return self.recorder.flush()
            except OSError as error:
                self._failure = self._failure or error
                if self.clock() > give_up:
                    return None
            gevent.sleep(DISK_RETRY_S)


def in_words(error: BaseException) -> str:
    """A failure in words for the person at the terminal."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        return f"the journal cannot be written: {error.strerror}; make room and run again (what was written is kept)"
    return str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
