"""The load process's heartbeat: ten times a second the journal to disk, now and then a look at itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import gevent

from harness.load.recording import Recorder
from harness.observation.observation import LoadCheck, Observation

BEAT_S = 0.1
REPORT_S = 0.5
CHECK_S = 1.0


class Pulse:
    """Flushes, hands on what ended, and measures how late a timer of this process fires (its hub lag)."""

    def __init__(
        self,
        recorder: Recorder,
        level: str,
        clock: Callable[[], float],
        users: Callable[[], int],
        on_ended: Callable[[Sequence[Observation]], None],
    ) -> None:
        self._recorder = recorder
        self._level = level
        self._clock = clock
        self._users = users
        self._on_ended = on_ended
        self._lag_max_s = 0.0
        self._seen = (time.monotonic(), time.process_time())

    def run(self) -> None:
        """Beat for ever; the owner ends the greenlet. Raises OSError when the journal cannot be written."""
        due = report_due = check_due = self._clock()
        while True:
            due = max(due + BEAT_S, self._clock())
            gevent.sleep(max(0.0, due - self._clock()))
            begun = self._clock()
            self._lag_max_s = max(self._lag_max_s, begun - due)
            # By the clock, not by counting beats: a process that is held up has few, and most to tell.
            if begun - check_due >= CHECK_S:
                check_due = begun
                self._check(begun)
            self._recorder.flush()
            if begun - report_due >= REPORT_S:
                report_due = begun
                self._on_ended(self._recorder.take_fresh())
            # This work holds the hub up too, and no timer of this greenlet can be running meanwhile.
            self._lag_max_s = max(self._lag_max_s, self._clock() - begun)

    def _check(self, at: float) -> None:
        recorder = self._recorder
        in_flight = len(recorder.in_flight)
        before, self._seen = self._seen, (time.monotonic(), time.process_time())
        cpu = (self._seen[1] - before[1]) / max(1e-9, self._seen[0] - before[0])
        late_max_s = recorder.take_late_max_s()
        recorder.note(
            LoadCheck(self._level, at, self._users(), in_flight, self._lag_max_s, recorder.worker, cpu, late_max_s)
        )
        self._lag_max_s = 0.0
