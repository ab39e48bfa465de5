"""The master of a crew: `python -m harness.load.crew.master` has one level driven by several load processes, and says
how it goes, as `control.py` describes. Exit codes: 0 the level is done and on disk, 4 it is not.
"""

from __future__ import annotations

import locust  # isort: skip  # noqa: F401 - first: it patches the standard library for gevent

import socket
import sys
from collections.abc import Callable, Iterator

import gevent
from locust.env import Environment

from harness.errors import UsageError
from harness.load.assignment import Assignment
from harness.load.control import Crew, Listening, LoadReport
from harness.load.crew.conducting import Conductor
from harness.load.crew.joining import zmq_host
from harness.load.crew.roll import Roll
from harness.load.worker import obey, obeyed
from harness.observation.journal import Journal


def lead(assignment: Assignment, lines: Iterator[bytes], say: Callable[[LoadReport], None]) -> None:
    """Have the level driven, and report it. Raises HarnessError when it cannot be; what was measured is kept."""
    crew = assignment.config.crew
    if crew is None:
        raise UsageError("the configuration names no crew")
    _check_free(crew)
    environment = Environment(user_classes=[])
    runner = environment.create_master_runner(zmq_host(crew.host), crew.port)
    with Journal(assignment.journal_path) as journal:
        roll = Roll(runner, crew.size, clock=assignment.clock)
        conductor = Conductor(assignment, roll, journal, say)
        obeying = gevent.spawn(obey, lines, conductor)
        say(Listening(crew.host, runner.server.port))
        try:
            done = conductor.conduct()
        finally:
            obeying.kill()
            runner.quit()
    say(done)


def _check_free(crew: Crew) -> None:
    """Locust would end this process without a word to the person. Raises UsageError."""
    family = socket.AF_INET6 if ":" in crew.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((crew.host, crew.port))
        except OSError as error:
            raise UsageError(
                f"--listen {crew.host}:{crew.port}: {error.strerror or error}; name an address of this machine and a "
                "port that is free"
            ) from error


if __name__ == "__main__":
    sys.exit(obeyed(lead))
