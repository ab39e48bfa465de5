"""The process that serves a level's target, and those that come after it when the scenario ends it on purpose."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import msgspec

from harness.child import Child, Children, expect_line
from harness.errors import HarnessError, TargetUnavailable, UsageError
from harness.observation.observation import CrashFired
from harness.observation.resources import find_process
from harness.orchestrator.crash import FILE, CrashOrder
from harness.scenario.scenario import Crash, Scenario
from harness.target.target import HostConfig, HostFailed, HostReady

HOST_READY_S = 60.0


def crash_orders(crash: Crash | None) -> tuple[CrashOrder, ...]:
    """One order for each process in turn: the kills, then the pauses."""
    if crash is None:
        return ()
    kills = [CrashOrder(point=point, how="kill", after_s=crash.every) for point in crash.kill]
    pauses = [CrashOrder(point=point, how="pause", after_s=crash.every) for point in crash.pause]
    return (*kills, *pauses)


def watched_pids(scenario: Scenario) -> tuple[int, ...]:
    """The process of a black-box target, as its `[watch]` names it; none when it names none."""
    watch = scenario.watch
    if watch is None:
        return ()
    pid = find_process(pid=watch.pid, port=watch.port, command=watch.command)
    if pid is None:
        named = [f"{key} {value}" for key, value in asdict(watch).items() if value is not None]
        raise TargetUnavailable(f"[watch] names a process that is not running: {', '.join(named)}")
    return (pid,)


def start_host(children: Children, config: HostConfig, name: str, python: str | None = None) -> Child:
    """Start a target host and wait until it serves. Raises UsageError or TargetUnavailable with its own words."""
    host = children.start(name, "harness.target.host", first_line=msgspec.json.encode(config), python=python)
    try:
        said = msgspec.json.decode(expect_line(host, HOST_READY_S), type=HostReady | HostFailed)
    except HarnessError as error:
        raise TargetUnavailable(str(error)) from error
    if isinstance(said, HostReady):
        return host
    if said.kind == "usage":
        raise UsageError(said.message)
    raise TargetUnavailable(f"the target did not start: {said.message}\n(its log: {host.log})")


class Hosting:
    """The target's process of one level.

    `config` makes the configuration of the next process, given the crash it is to suffer. A process that fired its
    order has a successor on the same socket: a killed one at once; a paused one is continued after its successor
    took over, so that it wakes up as an owner that was replaced. `on_started` is told the pid of each. `python` is the
    interpreter of a build that has an environment of its own.
    """

    def __init__(
        self,
        children: Children,
        name: str,
        *,
        level: str,
        run_dir: Path,
        t0: float,
        orders: tuple[CrashOrder, ...],
        config: Callable[[CrashOrder | None], HostConfig],
        python: str | None = None,
        on_started: Callable[[int], None] = lambda _pid: None,
    ) -> None:
        self._children = children
        self._name = name
        self._level = level
        self._t0 = t0
        self._orders = list(orders)
        self._config = config
        self._python = python
        self.on_started = on_started
        self._crashes: BinaryIO | None = None
        self._path = run_dir / FILE
        self._replaced: list[Child] = []
        self.host = self._start()

    def look(self) -> str | None:
        """To be called often: sees to it that a process that fired its order is succeeded, which takes a moment.

        Returns why the process died, if nobody asked it to. Raises TargetUnavailable when a successor does not start.
        """
        code = self.host.returncode()  # before the file: what died of its order had written its line
        fired = self._fired()
        if fired is not None:
            if fired.how == "kill":
                self._succeed()
            else:
                self._take_over()
            self.on_started(self.host.pid)
        elif code is not None:
            return self.host.with_last_words(f"the target's process ended (exit {code}) during the level")
        return None

    def note_kill(self, pid: int) -> bool:
        """The process `pid` is about to be killed from outside, at no point in particular: it will have a successor.

        False when another process serves by now.
        """
        if pid != self.host.pid or self.host.returncode() is not None:
            return False
        fired = CrashFired(self._level, time.monotonic() - self._t0, "kill", "anywhere", pid)
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(fired) + b"\n")
        return True

    def end(self) -> None:
        """End the process, and whatever it replaced. One that paused itself since the last look goes on to its end."""
        for host in (*self._replaced, self.host):
            if host.returncode() is None:
                os.kill(host.pid, signal.SIGCONT)
            host.end(grace_s=5.0)
        if self._crashes is not None:
            self._crashes.close()

    def _start(self) -> Child:
        """One that serves. Taking up what was unfinished passes crash points, too: one that was killed at its own there
        has its successor at once."""
        while True:
            order = self._orders.pop(0) if self._orders else None
            began = time.monotonic() - self._t0
            try:
                return start_host(self._children, self._config(order), self._name, self._python)
            except TargetUnavailable:
                if order is None or order.how != "kill" or not self._fired_since(order, began):
                    raise

    def _fired_since(self, order: CrashOrder, began: float) -> bool:
        """Whether the process that was started then (s from t0) fired its order."""
        lines = self._path.read_bytes().splitlines() if self._path.exists() else []
        found = [msgspec.json.decode(line, type=CrashFired) for line in lines]
        return any(
            (each.level, each.how, each.point) == (self._level, order.how, order.point) and each.at >= began
            for each in found
        )

    def _succeed(self) -> None:
        """A killed process is reaped, and the next one started."""
        self.host.wait(5.0)
        self._replaced.append(self.host)
        self.host = self._start()

    def _take_over(self) -> None:
        """The next one is started beside a paused process, which then goes on."""
        paused = self.host
        self._replaced.append(paused)
        try:
            self.host = self._start()
        finally:
            os.kill(paused.pid, signal.SIGCONT)

    def _fired(self) -> CrashFired | None:
        """The order that the present process fired, if it did since the last look."""
        if self._crashes is None:
            if not self._path.exists():
                return None
            self._crashes = self._path.open("rb")
        for line in self._crashes:
            fired = msgspec.json.decode(line, type=CrashFired)
            if fired.pid == self.host.pid and fired.level == self._level:
                return fired
        return None
