"""A worker of a crew: `python -m harness.load.crew.joining`, told on standard input where its master is.

A Locust worker started by hand (`locustfile.py`) does the same.
"""

from __future__ import annotations

import locust  # isort: skip  # first: it patches the standard library for gevent

import gc
import logging
import os
import platform
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import gevent
import msgspec
from gevent.event import AsyncResult
from locust.env import Environment
from locust.runners import WorkerRunner

from harness import __version__
from harness.errors import HarnessError
from harness.load.assignment import Assignment
from harness.load.control import EXIT_UNREACHED, Join
from harness.load.crew.shipping import SILENT_S, Shipping
from harness.load.crew.words import (
    MESSAGE,
    Ack,
    Broken,
    EndMeasure,
    Finished,
    FromWorker,
    Go,
    Halt,
    Hello,
    Ping,
    Pong,
    Prepare,
    Prepared,
    ToWorker,
    packed,
    unpacked,
)
from harness.load.level import LevelDrive, in_words
from harness.load.tally import feed_locust
from harness.load.worker import RunnerUsers, read_lines
from harness.observation.journal import Journal
from harness.scenario.scenario import Scenario

DRAIN_PATIENCE_S = 30.0
LOOK_S = 0.5


def versions() -> dict[str, str]:
    """What must be the same in all processes of a crew."""
    return {"orchestration-harness": __version__, "locust": locust.__version__, "python": platform.python_version()}


class CrewWorker:
    """Drives the part of a level that the master of its Locust runner hands it."""

    def __init__(self, environment: Environment, *, ours: bool, folder: str) -> None:
        assert isinstance(environment.runner, WorkerRunner)
        self._environment = environment
        self._runner = environment.runner
        self._ours = ours
        self._folder = folder
        self._go: AsyncResult[float] = AsyncResult()
        self._shipping: Shipping | None = None
        self._drive: LevelDrive | None = None
        self._level_greenlet: gevent.Greenlet[[Prepare], None] | None = None
        self._halted = ""
        self._runner.register_message(MESSAGE, self._hear)
        self._say(Hello(socket.gethostname(), os.getpid(), ours, versions()))

    def _say(self, word: FromWorker) -> None:
        self._runner.send_message(MESSAGE, packed(word))

    def _hear(self, msg: Any, **_: Any) -> None:
        """Locust calls this for every word of the master, and would only log what it raises."""
        try:
            self._obey(unpacked(msg.data, ToWorker))  # type: ignore[arg-type]  # a union is a type to msgspec
        except Exception as error:
            self._say(Broken(f"{type(error).__name__}: {error}"))
            raise

    def _obey(self, word: ToWorker) -> None:
        match word:
            case Ping():
                self._say(Pong(word.number, time.monotonic()))
            case Prepare():
                self._level_greenlet = gevent.spawn(self._level, word)
            case Go():
                self._go.set(word.starts)
            case Ack():
                if self._shipping is not None:
                    self._shipping.acknowledged(word.number)
            case EndMeasure():
                if self._drive is not None:
                    self._drive.end_measure()
            case Halt():
                self._halt(word.because)

    def _halt(self, because: str) -> None:
        self._halted = because
        if self._drive is not None:
            self._drive.stop(because)

    def _level(self, order: Prepare) -> None:
        """The part, from its preparation to its end; whatever goes wrong the master is told."""
        try:
            self._say(self._driven(order))
        except (HarnessError, OSError, msgspec.DecodeError) as error:
            self._say(Broken(in_words(error)))
        except Exception as error:
            self._say(Broken(f"{type(error).__name__}: {error}"))
            raise

    def _driven(self, order: Prepare) -> Finished:
        config = order.config if self._ours else msgspec.structs.replace(order.config, scenario_dir=self._folder)
        scenario = msgspec.json.decode(order.scenario, type=Scenario)
        assignment = Assignment(config, scenario=scenario, part=order.part, worker=order.name)
        shipping = self._shipping = Shipping(self._say, assignment.clock)
        self._say(Prepared())
        starts: float = self._go.get()  # type: ignore[assignment]  # gevent's type lets it be nothing
        users: RunnerUsers
        with Journal(shipping) as journal:
            drive, kind = assignment.drive(
                journal,
                starts=starts,
                say=lambda _report: None,  # the master tells of the level as a whole
                on_ended=lambda ended: feed_locust(users.environment.stats, ended),
            )
            users = RunnerUsers(self._environment, self._runner, drive, kind)
            gevent.sleep(max(0.0, starts - assignment.clock()))
            self._drive = drive
            if self._halted:
                drive.stop(self._halted)
            watching = gevent.spawn(self._watch, shipping, drive)
            done = drive.drive(users)
        if not shipping.drained(DRAIN_PATIENCE_S):
            raise HarnessError(f"the master acknowledged nothing for {DRAIN_PATIENCE_S:g} s")
        watching.kill()
        return Finished(done.arrivals, done.censored, done.ended_early)

    def _watch(self, shipping: Shipping, drive: LevelDrive) -> None:
        """Send again what was not heard, and stop for a master that hears nothing."""
        while True:
            gevent.sleep(LOOK_S)
            shipping.send_again()
            if shipping.unheard_s() > SILENT_S:
                drive.stop("the master of the crew is silent")

    def leave(self) -> None:
        """End what is being driven, tell all of it, and go. What is left of the part the master accounts for."""
        self._halt("it was ended")
        if self._level_greenlet is not None:
            self._level_greenlet.join()
        self._environment.events.quitting.fire(environment=self._environment)  # type: ignore[no-untyped-call]  # so Locust says goodbye
        self._runner.greenlet.kill()


def zmq_host(host: str) -> str:
    """As ZeroMQ wants it in an address."""
    return f"[{host}]" if ":" in host else host


def work_for(join: Join, lines: Iterator[bytes]) -> None:
    """Join, work, and return when the master says that it is over, or `lines` end. Raises ConnectionError when no
    master answers."""
    joined: AsyncResult[CrewWorker] = AsyncResult()
    working = gevent.spawn(_work, join, joined)
    gevent.spawn(_leave_at_end, lines, working, joined)
    working.get()


def _work(join: Join, joined: AsyncResult[CrewWorker]) -> None:
    environment = Environment(user_classes=[])
    runner = environment.create_worker_runner(zmq_host(join.host), join.port)  # returns when the master answers
    joined.set(CrewWorker(environment, ours=join.ours, folder=join.folder))
    runner.greenlet.join()


def _leave_at_end(lines: Iterator[bytes], working: gevent.Greenlet[..., None], joined: AsyncResult[CrewWorker]) -> None:
    for _ in lines:
        pass
    worker = joined.get(block=False) if joined.ready() else None
    if worker is None:
        working.kill()  # nothing was measured yet
    else:
        worker.leave()


def main() -> int:
    """Entry of the worker's process."""
    # No parent-death signal: SIGKILL would cost what was measured. The master ends us, or its silence.
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the CLI decides what Ctrl-C means
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    lines = read_lines(0)
    join = msgspec.json.decode(next(lines), type=Join)
    gc.freeze()  # what was imported lives as long as the process: do not walk it in every collection
    try:
        work_for(join, lines)
    except ConnectionError:
        return EXIT_UNREACHED
    return 0


if __name__ == "__main__":
    sys.exit(main())
