"""The load process: `python -m harness.load.worker` drives one level and says how it goes, as `control.py` describes.

Exit codes: 0 the level is done and on disk, 4 it is not.
"""

from __future__ import annotations

import locust  # isort: skip  # first: it patches the standard library for gevent

import gc
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import TracebackType
from typing import cast

import gevent
import msgspec
from gevent.socket import wait_read
from locust.env import Environment

from harness.errors import HarnessError, UsageError
from harness.load.arrivals import Closed, Requests, profile_of, seed_of
from harness.load.client import Client, SocketClient
from harness.load.control import LoadConfig, LoadFailed, LoadReport, Stop
from harness.load.dispatch import Dispatcher
from harness.load.http_client import HttpClient
from harness.load.http_rules import HttpRules
from harness.load.integrity import Integrity
from harness.load.level import LevelDrive, Phases, in_words
from harness.load.recording import Recorder
from harness.load.tally import feed_locust
from harness.load.user import ClosedUser, HarnessUser, OpenUser
from harness.observation.journal import Journal
from harness.observation.observation import Phase
from harness.scenario.scenario import Level, Scenario

EXIT_DONE = 0
EXIT_FAILED = 4
FILES_SPARE = 64  # descriptors for everything but the users' connections

_encode = msgspec.json.Encoder().encode


class Assignment:
    """A LoadConfig with what it names: the scenario, its level, the clock, the journal, a client for each user.

    Everything that can be wrong with them is found here, as a UsageError, before any load is sent.
    """

    def __init__(self, config: LoadConfig) -> None:
        self.config = config
        self.scenario = read_scenario(config)
        self.journal_path = Path(config.run_dir) / "journal.jsonl"
        sys.path.insert(0, config.scenario_dir)
        http = self.scenario.http
        if self.scenario.target == "http" and http is None:
            raise UsageError('target = "http" needs an [http] table')
        self._http = None if http is None else HttpRules(http, self.scenario.workflow)
        if self._http is None and config.socket is None:
            raise UsageError(f"target {self.scenario.target!r} needs the socket of its host")

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
            draw=Requests(scenario.seed, self.config.level, scenario.workflow).draw,
            phase_of=phase_of,
            clock=self.clock,
            expected=None if integrity is None else integrity.expected,
        )

    def client(self, recorder: Recorder) -> Client:
        """A connection for one user."""
        if self._http is not None:
            return HttpClient(self._http, self.clock, recorder.accepted)
        assert self.config.socket is not None
        return SocketClient(self.config.socket, self.clock, recorder.accepted)


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


class LocustUsers:
    """Users made through a Locust runner, without its ramp-up, which moves in steps of a second."""

    def __init__(self, drive: LevelDrive, kind: type[HarnessUser]) -> None:
        self._user = type(kind.__name__, (kind,), {"work": drive, "abstract": False})
        self.environment = Environment(user_classes=[cast(type[locust.User], self._user)])
        self.runner = self.environment.create_local_runner()

    def spawn(self, count: int) -> None:
        """So many more users."""
        self.runner.spawn_users({self._user.__name__: count})

    def count(self) -> int:
        """Users that have not left."""
        return int(self.runner.user_count)

    def __enter__(self) -> LocustUsers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.runner.quit()


def drive_level(assignment: Assignment, lines: Iterator[bytes], say: Callable[[LoadReport], None]) -> None:
    """Drive the level and report it. Raises HarnessError when it cannot be."""
    load, level = assignment.scenario.load, assignment.level()
    profile = profile_of(load, level)
    users_max = profile.users if isinstance(profile, Closed) else load.in_flight_max
    allow_files(users_max)
    clock = assignment.clock
    with Journal(assignment.journal_path) as journal:
        starts = clock()
        measure_starts = starts + load.warmup
        phases = Phases(starts, measure_starts, measure_starts + load.measure, load.drain)
        recorder = assignment.recorder(journal, phases.of)
        arrivals: Closed | Dispatcher
        if isinstance(profile, Closed):
            arrivals = profile
        else:
            rng = Random(seed_of(assignment.scenario.seed, f"arrivals/{level.label}"))
            arrivals = Dispatcher(profile, rng, starts=starts, users_max=users_max, recorder=recorder, clock=clock)
        drive = LevelDrive(
            level.label,
            arrivals,
            phases=phases,
            until_ok=load.until_ok,
            recorder=recorder,
            clock=clock,
            client=lambda: assignment.client(recorder),
            say=say,
            on_ended=lambda ended: feed_locust(users.environment.stats, ended),
        )
        with LocustUsers(drive, ClosedUser if isinstance(profile, Closed) else OpenUser) as users:
            obeying = gevent.spawn(obey, lines, drive)
            done = drive.drive(users)
            obeying.kill()
    say(done)


def obey(lines: Iterator[bytes], drive: LevelDrive) -> None:
    """Read commands until there are no more, which means that the CLI died."""
    try:
        for line in lines:
            msgspec.json.decode(line, type=Stop)
            drive.stop("stopped")
    except msgspec.DecodeError as error:
        drive.fail(error)
    drive.stop("standard input ended: the CLI is gone")


def read_lines(fd: int) -> Iterator[bytes]:
    """Lines as they arrive, without ever blocking the other greenlets."""
    rest = b""
    while True:
        wait_read(fd)
        chunk = os.read(fd, 65536)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def report_to(fd: int) -> Callable[[LoadReport], None]:
    """Writes reports for the CLI. When it is gone nobody needs them, and the end of standard input ends the level."""

    def say(report: LoadReport) -> None:
        try:
            os.write(fd, _encode(report) + b"\n")
        except BrokenPipeError:
            logging.getLogger(__name__).warning("nobody reads: %r", report)

    return say


def main() -> int:
    """Entry of the load process."""
    # No parent-death signal: SIGKILL would cost what was measured. Standard input ends when the CLI dies.
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the CLI decides what Ctrl-C means
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    gc.freeze()  # what was imported lives as long as the process: do not walk it in every collection
    say = report_to(os.dup(1))
    os.dup2(2, 1)  # a scenario's own rules may print
    lines = read_lines(0)
    try:
        line = next(lines, None)
        if line is None:
            raise UsageError("no configuration on standard input")
        drive_level(Assignment(msgspec.json.decode(line, type=LoadConfig)), lines, say)
    except (HarnessError, OSError, msgspec.DecodeError) as error:
        say(LoadFailed(in_words(error)))
        return EXIT_FAILED
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
