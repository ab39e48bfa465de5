"""One level of a run: a fresh target, a load process, a sampler of resources, and how it ended."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec

from harness.child import Child, Children, expect_line
from harness.errors import HarnessError, TargetUnavailable, UsageError
from harness.load.control import Done, LoadConfig, LoadFailed, LoadReport, Stop
from harness.observation.manifest import LevelEnd, LevelStatus, Manifest
from harness.observation.observation import ResourceSample
from harness.observation.resources import ResourceSampler, find_process
from harness.scenario.scenario import Level, Scenario
from harness.target import PYTHON_TARGET, TARGETS
from harness.target.target import HostConfig, HostFailed, HostReady

HOST_READY_S = 60.0
LOAD_OVERTIME_S = 30.0  # past its last possible moment; then the load process is stuck


class Listener(Protocol):
    """Told what happens while a run goes on."""

    def level_started(self, level: str, index: int, count: int) -> None:
        """The target of this level is up; load begins."""

    def report(self, level: str, report: LoadReport, sample: ResourceSample | None) -> None:
        """The load process said something; `sample` is the newest resource sample."""

    def level_ended(self, end: LevelEnd) -> None:
        """The level is over and all of its files are written."""


@dataclass(slots=True)
class Interrupt:
    """Set when the person wants out: the level ends early and no further one starts."""

    asked: threading.Event = field(default_factory=threading.Event)


def host_config(scenario: Scenario, run_id: str, t0: float, socket_path: Path, import_from: Path) -> HostConfig | None:
    """How to serve the scenario's target; None for a black box, which needs no host."""
    if scenario.target == "http":
        return None
    if scenario.target == "embedded":
        from harness.orchestrator.embedded import embedded_options

        target, options = TARGETS["embedded"], embedded_options(scenario)
    else:
        attribute = scenario.target.removeprefix("python:")
        target, options = PYTHON_TARGET, {"attribute": attribute, "expect": scenario.python.expect}
    return HostConfig(
        run_id=run_id, t0=t0, socket=str(socket_path), target=target, options=options, import_from=str(import_from)
    )


def start_host(children: Children, config: HostConfig, name: str) -> Child:
    """Start a target host and wait until it serves. Raises UsageError or TargetUnavailable with its own words."""
    host = children.start(name, "harness.target.host", first_line=msgspec.json.encode(config))
    try:
        said = msgspec.json.decode(expect_line(host, HOST_READY_S), type=HostReady | HostFailed)
    except HarnessError as error:
        raise TargetUnavailable(str(error)) from error
    if isinstance(said, HostReady):
        return host
    if said.kind == "usage":
        raise UsageError(said.message)
    raise TargetUnavailable(f"the target did not start: {said.message}\n(its log: {host.log})")


def watched_pid(scenario: Scenario) -> int | None:
    """The process of a black-box target, as its `[watch]` names it; None when it names none."""
    watch = scenario.watch
    if watch is None:
        return None
    pid = find_process(pid=watch.pid, port=watch.port, command=watch.command)
    if pid is None:
        named = [f"{key} {value}" for key, value in asdict(watch).items() if value is not None]
        raise TargetUnavailable(f"[watch] names a process that is not running: {', '.join(named)}")
    return pid


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One level: a fresh target, a load process, a sampler; and how it ended."""

    scenario: Scenario
    folder: Path  # the scenario's, from which its Python is imported
    level: Level
    run_dir: Path
    manifest: Manifest
    children: Children
    socket: Path

    @property
    def _name(self) -> str:
        return self.level.label.replace("/", "-per-")

    def run(self, listener: Listener, interrupt: Interrupt, index: int) -> LevelEnd:
        """Drive the level to its end; every process of it is ended when this returns."""
        host = self.start_target()
        listener.level_started(self.level.label, index, len(self.manifest.levels))
        first_line = msgspec.json.encode(self.load_config(host))
        load = self.children.start(f"load-{self._name}", "harness.load.worker", first_line=first_line)
        sampler = ResourceSampler(
            self.run_dir / "resources.jsonl",
            level=self.level.label,
            t0=self.manifest.t0,
            target_pid=host.pid if host else watched_pid(self.scenario),
            load_pid=load.pid,
            socket_path=str(self.socket) if host else None,
        )
        sampler.start()
        try:
            end = self._follow(load, host, sampler, listener, interrupt)
        finally:
            sampler.stop()
            load.end(grace_s=5.0)
            if host:
                host.end(grace_s=5.0)
        return self._unwatched(sampler) or end

    def start_target(self) -> Child | None:
        """The target's host, serving; None for a black box."""
        config = host_config(
            self.scenario,
            self.manifest.run_id,
            self.manifest.t0,
            self.socket,
            self.folder,
        )
        return start_host(self.children, config, f"target-{self._name}") if config else None

    def load_config(self, host: Child | None) -> LoadConfig:
        """What the load process of this level is told."""
        return LoadConfig(
            run_dir=str(self.run_dir),
            level=self.level.label,
            t0=self.manifest.t0,
            socket=str(self.socket) if host else None,
            scenario_dir=str(self.folder),
        )

    def _follow(
        self, load: Child, host: Child | None, sampler: ResourceSampler, listener: Listener, interrupt: Interrupt
    ) -> LevelEnd:
        """Pass on what the load process says until it is done, the target dies, or the person wants out."""
        said: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=_read_lines, args=(load, said), name="load-reports", daemon=True).start()
        shape = self.scenario.load
        latest = time.monotonic() + shape.warmup + shape.measure + shape.drain + LOAD_OVERTIME_S
        decode = msgspec.json.Decoder(LoadReport).decode
        cut: LevelEnd | None = None
        while True:
            if cut is None and (cut := self._cut(host, sampler, interrupt)) is not None:
                load.tell(msgspec.json.encode(Stop()))
                latest = time.monotonic() + LOAD_OVERTIME_S
            if time.monotonic() > latest:
                return self._end("harness_failed", f"the load process is stuck; its log: {load.log}")
            try:
                line = said.get(timeout=0.1)
            except queue.Empty:
                continue
            if not line:
                code = load.wait(5.0)
                return cut or self._end(
                    "harness_failed", load.with_last_words(f"the load process ended (exit {code}) before it was done")
                )
            report = decode(line)
            listener.report(self.level.label, report, sampler.latest)
            if isinstance(report, LoadFailed):
                return self._end("harness_failed", report.message)
            if isinstance(report, Done):
                return cut or self._cut(host, sampler, interrupt) or self._end("complete")

    def _cut(self, host: Child | None, sampler: ResourceSampler, interrupt: Interrupt) -> LevelEnd | None:
        """Why this level must end now, if it must."""
        if interrupt.asked.is_set():
            return self._end("interrupted", "interrupted by the user")
        if (unwatched := self._unwatched(sampler)) is not None:
            return unwatched
        if host is not None and (code := host.returncode()) is not None:
            what = f"the target's process ended (exit {code}) during the level"
            return self._end("target_died", host.with_last_words(what))
        return None

    def _unwatched(self, sampler: ResourceSampler) -> LevelEnd | None:
        """The level's end, if its resources cannot be recorded."""
        if sampler.error is None:
            return None
        return self._end("harness_failed", f"resources.jsonl cannot be written: {sampler.error.strerror}")

    def _end(self, status: LevelStatus, message: str = "") -> LevelEnd:
        return LevelEnd(level=self.level.label, status=status, message=message)


def _read_lines(load: Child, said: queue.Queue[bytes]) -> None:
    """Every line of the load process; an empty one at its end."""
    for line in load.stdout:
        said.put(line)
    said.put(b"")
