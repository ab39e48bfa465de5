"""The load process: `python -m harness.load.worker` drives one level and says how it goes, as `control.py` describes.

Exit codes: 0 the level is done and on disk, 4 it is not.
"""

from __future__ import annotations

import locust  # isort: skip  # first: it patches the standard library for gevent

import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol, cast

import gevent
import msgspec
from gevent.socket import wait_read
from locust.env import Environment
from locust.runners import Runner

from harness.errors import HarnessError, UsageError
from harness.load.assignment import Assignment
from harness.load.control import LoadConfig, LoadFailed, LoadReport, Stop
from harness.load.level import LevelDrive, in_words
from harness.load.tally import feed_locust
from harness.load.user import HarnessUser
from harness.observation.journal import Journal

EXIT_DONE = 0
EXIT_FAILED = 4

_encode = msgspec.json.Encoder().encode


class RunnerUsers:
    """Users made through a Locust runner, without its ramp-up, which moves in steps of a second."""

    def __init__(self, environment: Environment, runner: Runner, drive: LevelDrive, kind: type[HarnessUser]) -> None:
        self.environment = environment
        self.runner = runner
        self._user = type(kind.__name__, (kind,), {"work": drive, "abstract": False})
        environment.user_classes = [cast(type[locust.User], self._user)]

    def spawn(self, count: int) -> None:
        """So many more users."""
        self.runner.spawn_users({self._user.__name__: count})

    def count(self) -> int:
        """Users that have not left."""
        return int(self.runner.user_count)


class LocustUsers(RunnerUsers):
    """Those of a runner of their own, which ends with them."""

    def __init__(self, drive: LevelDrive, kind: type[HarnessUser]) -> None:
        environment = Environment(user_classes=[])
        super().__init__(environment, environment.create_local_runner(), drive, kind)

    def __enter__(self) -> LocustUsers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.runner.quit()


def drive_level(assignment: Assignment, lines: Iterator[bytes], say: Callable[[LoadReport], None]) -> None:
    """Drive the level and report it. Raises HarnessError when it cannot be."""
    with Journal(assignment.journal_path) as journal:
        drive, kind = assignment.drive(
            journal,
            starts=assignment.clock(),
            say=say,
            on_ended=lambda ended: feed_locust(users.environment.stats, ended),
        )
        with LocustUsers(drive, kind) as users:
            obeying = gevent.spawn(obey, lines, drive)
            done = drive.drive(users)
            obeying.kill()
    say(done)


class Stoppable(Protocol):
    """A level under way."""

    def stop(self, because: str) -> None:
        """End it now."""

    def fail(self, error: Exception) -> None:
        """It cannot go on."""


def obey(lines: Iterator[bytes], level: Stoppable) -> None:
    """Read commands until there are no more, which means that the CLI died."""
    try:
        for line in lines:
            msgspec.json.decode(line, type=Stop)
            level.stop("stopped")
    except msgspec.DecodeError as error:
        level.fail(error)
    level.stop("standard input ended: the CLI is gone")


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


Drive = Callable[[Assignment, Iterator[bytes], Callable[[LoadReport], None]], None]


def obeyed(drive: Drive) -> int:
    """What the configuration on standard input asks for, driven; the exit code."""
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
        drive(Assignment(msgspec.json.decode(line, type=LoadConfig)), lines, say)
    except (HarnessError, OSError, msgspec.DecodeError) as error:
        say(LoadFailed(in_words(error)))
        return EXIT_FAILED
    return EXIT_DONE


def main() -> int:
    """Entry of the load process."""
    return obeyed(drive_level)


if __name__ == "__main__":
    sys.exit(main())
