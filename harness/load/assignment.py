"""What a load process is to drive, with everything that it names: found and checked before any load is sent."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from harness.errors import UsageError
from harness.load.arrivals import WHOLE, Closed, LoadProfile, Part, Requests, part_offsets, profile_of
from harness.load.balance import BALANCES, FleetClient
from harness.load.client import Address, Client, SocketClient
from harness.load.control import LoadConfig, LoadReport
from harness.load.dispatch import Dispatcher
from harness.load.http_client import HttpClient
from harness.load.http_rules import HttpRules
from harness.load.integrity import Integrity
from harness.load.level import LevelDrive, Phases
from harness.load.recording import Recorder
from harness.load.user import ClosedUser, HarnessUser, OpenUser
from harness.observation.journal import Journal
from harness.observation.observation import Observation, Phase
from harness.scenario.scenario import Level, Scenario

FILES_SPARE = 64  # descriptors for everything but the users' connections


class Assignment:
    """A LoadConfig with what it names: the scenario, its level, the clock, the journal, a client for each user.

    A worker of a crew is handed the `scenario`, its `part` and its name.

    Everything that can be wrong with them is found here, as a UsageError, before any load is sent.
    """

    def __init__(
        self, config: LoadConfig, *, scenario: Scenario | None = None, part: Part = WHOLE, worker: str = ""
    ) -> None:
        self.config = config
        self.scenario = scenario or read_scenario(config)
        self.part = part
        self._worker = worker
        self.journal_path = Path(config.run_dir) / "journal.jsonl"
        sys.path.insert(0, config.scenario_dir)
        http = self.scenario.http
        if self.scenario.target == "http" and http is None:
            raise UsageError('target = "http" needs an [http] table')
        self._http = None if http is None else HttpRules(http, self.scenario.workflow)
        if self._http is None and not self.addresses:
            raise UsageError(f"target {self.scenario.target!r} needs the socket of its host")
        self._balance = BALANCES[config.balance](len(self.addresses), first=part.index)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Of the target's instances: their sockets, or where they listen for those that cannot reach these."""
        config = self.config
        if config.sockets or config.crew is None:
            return config.sockets
        return tuple((config.crew.host, port) for port in config.ports)

    def clock(self) -> float:
        """Seconds from the run's t0."""
        return time.monotonic() - self.config.t0

    def level(self) -> Level:
        """The level that the configuration names."""
        for level in self.scenario.load.levels:
            if level.label == self.config.level:
                return level
        known = ", ".join(level.label for level in self.scenario.load.levels)
        raise UsageError(f"level {self.config.level!r} is not in the scenario (known: {known})")

    def recorder(self, journal: Journal, phase_of: Callable[[float], Phase]) -> Recorder:
        """The recorder of this level's arrivals."""
        scenario = self.scenario
        integrity = Integrity(scenario.workflow) if scenario.target == "embedded" else None
        return Recorder(
            journal,
            self.config.level,
            draw=Requests(scenario.seed, self.config.level, scenario.workflow, self.part).draw,
            phase_of=phase_of,
            clock=self.clock,
            expected=None if integrity is None else integrity.expected,
            worker=self._worker,
        )

    def client(self, recorder: Recorder) -> Client:
        """A connection for one user."""
        if self._http is not None:
            return HttpClient(self._http, self.clock, recorder.accepted)
        clients = [SocketClient(address, self.clock, recorder.accepted) for address in self.addresses]
        return clients[0] if len(clients) == 1 else FleetClient(clients, self._balance)

    def drive(
        self,
        journal: Journal,
        *,
        starts: float,
        say: Callable[[LoadReport], None],
        on_ended: Callable[[Sequence[Observation]], None],
    ) -> tuple[LevelDrive, type[HarnessUser]]:
        """The level, which starts then (s from t0), and the kind of users that drive it. Raises UsageError."""
        load, level = self.scenario.load, self.level()
        profile = profile_of(load, level)
        measure_starts = starts + load.warmup
        phases = Phases(starts, measure_starts, measure_starts + load.measure, load.drain)
        recorder = self.recorder(journal, phases.of)
        arrivals = self._arrivals(profile, starts, recorder)
        drive = LevelDrive(
            level.label,
            arrivals,
            phases=phases,
            until_ok=load.until_ok if self.part == WHOLE else None,
            recorder=recorder,
            clock=self.clock,
            client=lambda: self.client(recorder),
            say=say,
            on_ended=on_ended,
        )
        return drive, ClosedUser if isinstance(arrivals, Closed) else OpenUser

    def _arrivals(self, profile: Closed | LoadProfile, starts: float, recorder: Recorder) -> Closed | Dispatcher:
        """Of this part of the level, whose users may have the files that they need."""
        if isinstance(profile, Closed):
            allow_files(users := self.part.share(profile.users))
            return Closed(users)
        allow_files(users_max := max(1, self.part.share(self.scenario.load.in_flight_max)))
        offsets = part_offsets(profile, self.scenario.seed, self.config.level, self.part)
        return Dispatcher(offsets, starts=starts, users_max=users_max, recorder=recorder, clock=self.clock)


def read_scenario(config: LoadConfig) -> Scenario:
    """The scenario of the run that the configuration names."""
    path = Path(config.run_dir) / "scenario.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Scenario)
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"{path}: {error}") from error


def allow_files(users: int) -> None:
    """Raise the limit of open files as far as it goes. Raises UsageError when that is short for so many users."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < users + FILES_SPARE:
        raise UsageError(
            f"{users} users need {users + FILES_SPARE} open files and this process may have {hard}: "
            f"raise the hard limit (ulimit -Hn {users + FILES_SPARE}) or lower load.closed or load.in_flight_max"
        )
