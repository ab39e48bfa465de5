"""Following one level: what the load process says is passed on, and why the level must end is found out."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass

import msgspec

from harness.child import Child
from harness.errors import HarnessError, TargetUnavailable
from harness.load.control import Done, Listening, LoadFailed, LoadReport, PhaseChanged, Stop, Waiting
from harness.observation.manifest import LevelEnd, LevelStatus
from harness.observation.resources import ResourceSampler
from harness.run.crew import Hands
from harness.run.faulting import Faults
from harness.run.fleet import TargetFleet
from harness.run.listening import Interrupt, Listener
from harness.run.outages import Outages
from harness.run.provider import Provider
from harness.run.provisions import Provisions
from harness.run.proxying import Proxies
from harness.scenario.scenario import Level, Load

LOAD_OVERTIME_S = 30.0  # past its last possible moment; then the load process is stuck


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """What works beside the load process while a level runs, and may be why it ends."""

    fleet: TargetFleet | None
    provider: Provider | None
    sampler: ResourceSampler
    outages: Outages
    provisions: Provisions
    faults: Faults
    way: Proxies
    hands: Hands

    def measure_began(self, at: float) -> None:
        """What was declared to happen is timed from here (s from t0)."""
        self.outages.begin(at)
        self.faults.begin(at)
        if self.provider is not None:
            self.provider.measure_began(at)

    @property
    def broken(self) -> tuple[str, ...]:
        """The kinds of what is broken on purpose now."""
        return self.faults.active + self.outages.active


class Following:
    """One level from the first word of its load process to the last."""

    def __init__(self, level: Level, shape: Load, load: Child, cast: Cast, interrupt: Interrupt) -> None:
        self._level = level
        self._shape = shape
        self._load = load
        self._cast = cast
        self._interrupt = interrupt

    def run(self, listener: Listener) -> LevelEnd:
        """Pass on what the load process says until it is done, the target dies, or the person wants out."""
        cast, load = self._cast, self._load
        said: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=_read_lines, args=(load, said), name="load-reports", daemon=True).start()
        shape = self._shape
        lasts_s = shape.warmup + shape.measure + shape.drain + LOAD_OVERTIME_S
        latest = time.monotonic() + lasts_s
        decode = msgspec.json.Decoder(LoadReport).decode
        cut: LevelEnd | None = None
        broken: tuple[str, ...] = ()
        while True:
            cast.outages.look()
            cast.faults.look()
            if (now := cast.broken) != broken:
                broken = now
                listener.faults_changed(broken)
            if cut is None and (cut := self._cut()) is not None:
                load.tell(msgspec.json.encode(Stop()))
                latest = time.monotonic() + LOAD_OVERTIME_S
            if time.monotonic() > latest:
                return level_end(self._level, "harness_failed", f"the load process is stuck; its log: {load.log}")
            try:
                line = said.get(timeout=0.1)
            except queue.Empty:
                continue
            if not line:
                code = load.wait(5.0)
                return cut or level_end(
                    self._level,
                    "harness_failed",
                    load.with_last_words(f"the load process ended (exit {code}) before it was done"),
                )
            report = decode(line)
            listener.report(self._level.label, report, cast.sampler.latest)
            if isinstance(report, Listening):
                cast.hands.join(report)
            elif isinstance(report, Waiting):
                latest = time.monotonic() + lasts_s
            if isinstance(report, PhaseChanged) and report.phase == "measure":
                cast.measure_began(report.at)
            if isinstance(report, LoadFailed):
                return level_end(self._level, "harness_failed", report.message)
            if isinstance(report, Done):
                return cut or self._cut() or level_end(self._level, "complete")

    def _cut(self) -> LevelEnd | None:
        """Why this level must end now, if it must."""
        cast = self._cast
        if self._interrupt.asked.is_set():
            return level_end(self._level, "interrupted", "interrupted by the user")
        if (unwatched := self.unwatched()) is not None:
            return unwatched
        died = (cast.provisions.died(), cast.provider.died() if cast.provider else None, cast.way.died())
        if (why := next((each for each in died if each is not None), None)) is not None:
            return level_end(self._level, "harness_failed", why)
        if cast.provider is not None and cast.provider.stopped is not None:
            return level_end(self._level, *cast.provider.stopped)
        try:
            ended = cast.fleet.look() if cast.fleet is not None else None
        except (TargetUnavailable, HarnessError) as error:
            ended = f"the target could not be started again: {error}"
        return level_end(self._level, "target_died", ended) if ended else None

    def unwatched(self) -> LevelEnd | None:
        """The level's end, if its resources cannot be recorded."""
        error = self._cast.sampler.error
        if error is None:
            return None
        return level_end(self._level, "harness_failed", f"resources.jsonl cannot be written: {error.strerror}")


def level_end(level: Level, status: LevelStatus, message: str = "") -> LevelEnd:
    """How a level ended."""
    return LevelEnd(level=level.label, status=status, message=message)


def _read_lines(load: Child, said: queue.Queue[bytes]) -> None:
    """Every line of the load process; an empty one at its end."""
    for line in load.stdout:
        said.put(line)
    said.put(b"")
