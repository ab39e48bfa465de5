"""Driving a scenario by hand, with Locust's own web interface or headless:

    harness serve SCENARIO                                  prints the line to type:
    HARNESS_SERVE=…/serve.json locust -f …/locustfile.py

Locust decides how many users there are and when they stop. There are no phases, everything counts as measured; the
journal is written into the run folder that `harness serve` made, so `harness report` can read it.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import gevent
import msgspec
from locust import events
from locust.env import Environment
from locust.runners import LocalRunner

from harness.errors import UsageError
from harness.load.assignment import Assignment
from harness.load.client import GRACE_S, Client
from harness.load.control import LoadConfig
from harness.load.pulse import Pulse
from harness.load.tally import feed_locust
from harness.load.user import ClosedUser
from harness.load.worker import EXIT_FAILED
from harness.observation.journal import Journal
from harness.observation.observation import Phase, PhaseMark

VARIABLE = "HARNESS_SERVE"


def read_assignment() -> Assignment:
    """What `harness serve` wrote. Raises UsageError when it cannot be read."""
    path = os.environ.get(VARIABLE)
    if not path:
        raise UsageError(f"{VARIABLE} is not set: run `harness serve SCENARIO` and type the line that it prints")
    try:
        return Assignment(msgspec.json.decode(Path(path).read_bytes(), type=LoadConfig))
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"{VARIABLE}={path}: {error}; is `harness serve` still running?") from error


class HandDrive:
    """A level without an end of its own: Locust starts and stops it, any number of times."""

    def __init__(self, assignment: Assignment) -> None:
        self.clock = assignment.clock
        self._assignment = assignment
        self._level = assignment.config.level
        self._journal = Journal(assignment.journal_path)
        self.recorder = assignment.recorder(self._journal, lambda intended: Phase.MEASURE)
        self._beating: gevent.Greenlet[[Pulse], None] | None = None
        self._environment: Environment | None = None

    def client(self) -> Client:
        """A connection for one user."""
        return self._assignment.client(self.recorder)

    def may_start(self, intended: float) -> bool:
        """Always: Locust decides when users stop."""
        return True

    def next_arrival(self) -> float | None:
        """There is no open load here."""
        return None

    def one_ended(self) -> None:
        """Nothing waits for that."""

    def fail(self, error: BaseException) -> None:
        """Stop the test: a broken harness must not look like a finished one."""
        logging.getLogger(__name__).error("the load cannot go on: %s: %s", type(error).__name__, error)
        environment = self._environment
        if environment is not None and environment.runner is not None:
            environment.process_exit_code = EXIT_FAILED
            gevent.spawn(environment.runner.quit)

    def attach(self, environment: Environment, **_: Any) -> None:
        """Locust is ready. Workflows in flight when somebody presses stop are waited for."""
        if not isinstance(environment.runner, LocalRunner):
            sys.exit("harness: one Locust process only; workflow ids would not be unique in several")
        self._environment = environment
        if not environment.stop_timeout:
            longest_s = max(workflow.deadline for workflow in self._assignment.scenario.workflow)
            environment.stop_timeout = longest_s + 2 * GRACE_S

    def start(self, environment: Environment, **_: Any) -> None:
        """A test begins."""
        self.recorder.note(PhaseMark(self._level, Phase.MEASURE, self.clock()))
        runner = environment.runner
        assert runner is not None
        pulse = Pulse(
            self.recorder,
            self._level,
            self.clock,
            lambda: runner.user_count,
            lambda ended: feed_locust(environment.stats, ended),
        )
        self._beating = gevent.spawn(self._beat, pulse)

    def _beat(self, pulse: Pulse) -> None:
        try:
            pulse.run()
        except Exception as error:
            self.fail(error)
            raise

    def stop(self, environment: Environment, **_: Any) -> None:
        """A test ended, its users are gone."""
        if self._beating is not None:
            self._beating.kill()
        self.recorder.censor_all()
        feed_locust(environment.stats, self.recorder.take_fresh())
        self.recorder.note(PhaseMark(self._level, "end", self.clock()))
        self.recorder.flush()

    def close(self, **_: Any) -> None:
        """Locust is about to exit."""
        self._journal.close()


drive = HandDrive(read_assignment())


class WorkflowUser(ClosedUser):
    """What Locust's user count counts."""

    work = drive


for hook, listener in (
    (events.init, drive.attach),
    (events.test_start, drive.start),
    (events.test_stop, drive.stop),
    (events.quit, drive.close),
):
    hook.add_listener(listener)  # type: ignore[no-untyped-call]  # Locust's is untyped
