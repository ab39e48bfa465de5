"""From a scenario to a run's folder: `prepare` checks everything before anything starts, `execute` does it.

The only place that wires the stages together. It prints nothing and decides no exit code; it tells a `Listener`.
"""

from __future__ import annotations

import os
import platform
import queue
import secrets
import shlex
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec
import psutil

from harness.child import Child, Children, expect_line
from harness.errors import HarnessError, TargetUnavailable, UsageError
from harness.load.control import Done, LoadConfig, LoadFailed, LoadReport, Stop
from harness.observation.manifest import LevelEnd, Machine, Manifest
from harness.observation.observation import ResourceSample
from harness.observation.resources import ResourceSampler, find_process
from harness.scenario.scenario import Level, Scenario
from harness.target import PYTHON_TARGET, TARGETS
from harness.target.target import HostConfig

HOST_READY_S = 60.0
LOAD_OVERTIME_S = 30.0  # past its last possible moment; then the load process is stuck
SOCKET_PATH_MAX = 100  # sun_path holds 107 bytes on Linux, 103 on macOS


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a person may say beside the scenario's name."""

    levels: tuple[str, ...] = ()  # labels; all of the scenario's when empty
    seed: int | None = None  # the rest, when given, instead of the scenario's own
    time_scale: float | None = None
    warmup_s: float | None = None
    measure_s: float | None = None
    allow_remote: bool = False
    baselines: Path = Path("baselines")
    reports: Path = Path("reports")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A scenario that was checked in full and can be executed."""

    scenario: Scenario
    scenario_path: Path
    limits_path: Path | None
    levels: tuple[Level, ...]
    reports: Path
    command: str


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


def prepare(path: Path, options: Options, command: str) -> Plan:
    """Load and check the scenario and its limits. Raises UsageError with every mistake; starts nothing."""
    from harness.llm.latency import MODELS
    from harness.scenario.loading import Known, load_scenario
    from harness.verdict.limits import load_limits

    known = Known(targets=TARGETS, models=MODELS)
    scenario = _with(load_scenario(path, known=known, allow_remote=options.allow_remote), options)
    levels = {level.label: level for level in scenario.load.levels}
    mistakes = [f"--level {label}: not a level of {path} (levels: {', '.join(levels)})" for label in options.levels
                if label not in levels]  # fmt: skip
    if mistakes:
        raise UsageError(mistakes)
    limits_path = options.baselines / f"{scenario.name}.toml"
    if limits_path.exists():
        load_limits(
            limits_path,
            levels=list(levels),
            agents=list(scenario.agent),
            drain_s=scenario.load.drain,
            target=scenario.target,
        )
    return Plan(
        scenario=scenario,
        scenario_path=path.resolve(),
        limits_path=limits_path if limits_path.exists() else None,
        levels=tuple(levels[label] for label in (options.levels or levels)),
        reports=options.reports,
        command=command,
    )


def _with(scenario: Scenario, options: Options) -> Scenario:
    """The scenario as the person asked for it on the command line."""
    load = replace(
        scenario.load,
        warmup=scenario.load.warmup if options.warmup_s is None else options.warmup_s,
        measure=scenario.load.measure if options.measure_s is None else options.measure_s,
    )
    return replace(
        scenario,
        load=load,
        seed=scenario.seed if options.seed is None else options.seed,
        time_scale=scenario.time_scale if options.time_scale is None else options.time_scale,
    )


def execute(plan: Plan, listener: Listener, interrupt: Interrupt) -> Path:
    """Run every level of the plan, each against a fresh target, and return the run's folder.

    Whatever happens, what was measured is in the folder and nothing that was started is left. Raises
    TargetUnavailable when the target cannot be had at all, UsageError when its host says it does not exist.
    """
    if plan.scenario.http is not None:
        _check_reachable(plan.scenario.http.submit.url)
    run_dir, manifest = _open_run(plan)
    ended: list[LevelEnd] = []
    try:
        with Children(manifest.run_id, run_dir / "logs") as children:
            sockets = Path(tempfile.mkdtemp(prefix="harness-", dir=_short_folder()))
            children.register_folder(sockets)
            for index, level in enumerate(plan.levels):
                if interrupt.asked.is_set():
                    break
                stage = _Stage(plan, level, run_dir, manifest, children, sockets / f"{index}.sock")
                end = stage.run(listener, interrupt, index)
                ended.append(end)
                msgspec.structs.replace(manifest, ended=tuple(ended)).write(run_dir)
                listener.level_ended(end)
                if end.status != "complete":
                    break
        if children.leftovers and all(end.status == "complete" for end in ended):
            ended.append(LevelEnd(level="", status="harness_failed", message=_left(children.leftovers)))
    finally:
        msgspec.structs.replace(manifest, ended=tuple(ended), finished=True).write(run_dir)
    return run_dir


def _check_reachable(url: str) -> None:
    """A black box that nobody answers for is said at once, not after a level full of failures."""
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    try:
        socket.create_connection(address, timeout=5.0).close()
    except OSError as error:
        raise TargetUnavailable(f"nothing answers at {url}: {error}; start the service, then run again") from error


def _left(leftovers: Sequence[str]) -> str:
    return "processes were left behind and had to be ended by the guardian: " + "; ".join(leftovers)


def _open_run(plan: Plan) -> tuple[Path, Manifest]:
    """Create the run's folder with everything that is known before the first workflow."""
    started_at = datetime.now(UTC)
    run_id = f"{started_at:%Y%m%d-%H%M%S}-{plan.scenario.name}-{secrets.token_hex(2)}"
    run_dir = (plan.reports / run_id).resolve()
    try:
        run_dir.mkdir(parents=True)
        shutil.copyfile(plan.scenario_path, run_dir / "scenario.toml")
        (run_dir / "scenario.json").write_bytes(msgspec.json.encode(plan.scenario))
        if plan.limits_path:
            shutil.copyfile(plan.limits_path, run_dir / "limits.toml")
        (run_dir / "journal.jsonl").touch()
        (run_dir / "resources.jsonl").touch()
        manifest = Manifest(
            run_id=run_id,
            scenario=plan.scenario.name,
            target=plan.scenario.target,
            seed=plan.scenario.seed,
            started_at=started_at.isoformat(timespec="seconds"),
            command=plan.command,
            levels=tuple(level.label for level in plan.levels),
            machine=_machine(),
            t0=time.monotonic(),
        )
        manifest.write(run_dir)
    except OSError as error:
        raise HarnessError(f"cannot write the run's folder {run_dir}: {error.strerror}") from error
    return run_dir, manifest


def _short_folder() -> str:
    """A folder for Unix sockets, whose paths must be short; the usual temporary folder may be deep."""
    usual = tempfile.gettempdir()
    return usual if len(usual) + 30 < SOCKET_PATH_MAX else "/tmp"


def _machine() -> Machine:
    packages = ("orchestration-harness", "locust", "gevent", "uvloop", "msgspec", "psutil", "numpy")
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1),
        memory_bytes=psutil.virtual_memory().total,
        python=platform.python_version(),
        versions={name: version(name) for name in packages},
    )


def _cpu_model() -> str:
    if sys.platform.startswith("linux"):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


class HostSaid(msgspec.Struct, frozen=True):
    """The one line a host says before it serves."""

    type: str
    kind: str = ""
    message: str = ""


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
        said = msgspec.json.decode(expect_line(host, HOST_READY_S), type=HostSaid)
    except HarnessError as error:
        raise TargetUnavailable(str(error)) from error
    if said.type == "ready":
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
        raise TargetUnavailable(f"[watch] names a process that is not running: {watch}")
    return pid


class _Stage:
    """One level: a fresh target, a load process, a sampler; and how it ended."""

    def __init__(
        self, plan: Plan, level: Level, run_dir: Path, manifest: Manifest, children: Children, socket: Path
    ) -> None:
        self._plan = plan
        self._level = level
        self._run_dir = run_dir
        self._manifest = manifest
        self._children = children
        self._socket = socket
        self._name = level.label.replace("/", "-per-")

    def run(self, listener: Listener, interrupt: Interrupt, index: int) -> LevelEnd:
        """Drive the level to its end; every process of it is ended when this returns."""
        scenario = self._plan.scenario
        host = self.start_target()
        listener.level_started(self._level.label, index, len(self._plan.levels))
        first_line = msgspec.json.encode(self.load_config(host))
        load = self._children.start(f"load-{self._name}", "harness.load.worker", first_line=first_line)
        sampler = ResourceSampler(
            self._run_dir / "resources.jsonl",
            level=self._level.label,
            t0=self._manifest.t0,
            target_pid=host.pid if host else watched_pid(scenario),
            load_pid=load.pid,
            socket_path=str(self._socket) if host else None,
        )
        sampler.start()
        try:
            end = self._follow(load, host, sampler, listener, interrupt)
        finally:
            sampler.stop()
            load.end(grace_s=5.0)
            if host:
                host.end(grace_s=5.0)
        if sampler.error is not None:
            return self._end("harness_failed", f"resources.jsonl cannot be written: {sampler.error.strerror}")
        return end

    def start_target(self) -> Child | None:
        """The target's host, serving; None for a black box."""
        config = host_config(
            self._plan.scenario,
            self._manifest.run_id,
            self._manifest.t0,
            self._socket,
            self._plan.scenario_path.parent,
        )
        return start_host(self._children, config, f"target-{self._name}") if config else None

    def load_config(self, host: Child | None) -> LoadConfig:
        """What the load process of this level is told."""
        return LoadConfig(
            run_dir=str(self._run_dir),
            level=self._level.label,
            t0=self._manifest.t0,
            socket=str(self._socket) if host else None,
            scenario_dir=str(self._plan.scenario_path.parent),
        )

    def _follow(
        self, load: Child, host: Child | None, sampler: ResourceSampler, listener: Listener, interrupt: Interrupt
    ) -> LevelEnd:
        """Pass on what the load process says until it is done, the target dies, or the person wants out."""
        said: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=_read_lines, args=(load, said), name="load-reports", daemon=True).start()
        shape = self._plan.scenario.load
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
                    "harness_failed", f"the load process ended (exit {code}) before it was done:\n{load.last_words()}"
                )
            report = decode(line)
            listener.report(self._level.label, report, sampler.latest)
            if isinstance(report, LoadFailed):
                return self._end("harness_failed", report.message)
            if isinstance(report, Done):
                return cut or self._cut(host, sampler, interrupt) or self._end("complete")

    def _cut(self, host: Child | None, sampler: ResourceSampler, interrupt: Interrupt) -> LevelEnd | None:
        """Why this level must end now, if it must."""
        if interrupt.asked.is_set():
            return self._end("interrupted", "interrupted by the user")
        if sampler.error is not None:
            return self._end("harness_failed", f"resources.jsonl cannot be written: {sampler.error.strerror}")
        if host is not None and (code := host.returncode()) is not None:
            return self._end(
                "target_died", f"the target's process ended (exit {code}) during the level:\n{host.last_words()}"
            )
        return None

    def _end(self, status: Any, message: str = "") -> LevelEnd:
        return LevelEnd(level=self._level.label, status=status, message=message)


def _read_lines(load: Child, said: queue.Queue[bytes]) -> None:
    """Every line of the load process; an empty one at its end."""
    for line in load.stdout:
        said.put(line)
    said.put(b"")


@contextmanager
def serving(plan: Plan) -> Iterator[str]:
    """Start the plan's target for a hand-started locust; yields the line that starts one. Ends all on leaving."""
    run_dir, manifest = _open_run(plan)
    level = plan.levels[0]
    try:
        with Children(manifest.run_id, run_dir / "logs") as children:
            sockets = Path(tempfile.mkdtemp(prefix="harness-", dir=_short_folder()))
            children.register_folder(sockets)
            stage = _Stage(plan, level, run_dir, manifest, children, sockets / "serve.sock")
            host = stage.start_target()
            served = run_dir / "serve.json"
            served.write_bytes(msgspec.json.encode(stage.load_config(host)))
            locustfile = Path(__file__).parent / "load" / "locustfile.py"
            yield f"HARNESS_SERVE={shlex.quote(str(served))} locust -f {shlex.quote(str(locustfile))}"
    finally:
        msgspec.structs.replace(manifest, finished=True).write(run_dir)
