"""One level of a run: a fresh target, a load process, a sampler of resources, and how it ended."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from harness.child import Child, Children
from harness.errors import HarnessError, TargetUnavailable
from harness.fault import FAULTS
from harness.load.control import Done, LoadConfig, LoadFailed, LoadReport, PhaseChanged, Stop
from harness.observation import faults, llm
from harness.observation.health import HealthSampler, HealthUnwritten
from harness.observation.ids import file_stem
from harness.observation.manifest import LevelEnd, LevelStatus, Manifest
from harness.observation.resources import ResourceSampler
from harness.orchestrator.crash import CrashOrder
from harness.run.faulting import LEASE_S, Faults, LevelBench
from harness.run.hosting import Hosting, crash_orders, watched_pid
from harness.run.listening import Interrupt, Listener
from harness.run.outages import Outages
from harness.run.provider import LlmChoice, Provider, provider, provider_config
from harness.run.provisions import Provisions
from harness.run.proxying import Proxies, proxied_services, proxies
from harness.scenario.faults import planned_faults
from harness.scenario.llm_checks import needs_llm
from harness.scenario.scenario import Level, Scenario
from harness.target import PYTHON_TARGET, TARGETS
from harness.target.target import HostConfig, Services

LOAD_OVERTIME_S = 30.0  # past its last possible moment; then the load process is stuck


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cast:
    """What works beside the load process while a level runs, and may be why it ends."""

    hosting: Hosting | None
    provider: Provider | None
    sampler: ResourceSampler
    outages: Outages
    faults: Faults
    way: Proxies

    def measure_began(self, at: float) -> None:
        """What was declared to happen is timed from here (s from t0)."""
        self.outages.begin(at)
        self.faults.begin(at)
        if self.provider is not None:
            self.provider.measure_began(at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One level: a fresh target, a load process, samplers; and how it ended."""

    scenario: Scenario
    folder: Path  # from which the target's Python is imported
    level: Level
    index: int  # of the level, in the order they run
    run_dir: Path
    manifest: Manifest
    children: Children
    provisions: Provisions
    llm: LlmChoice
    socket: Path
    python: str | None = None  # of the target's host, when it has an environment of its own

    @property
    def _name(self) -> str:
        return file_stem(self.level.label)

    def run(self, listener: Listener, interrupt: Interrupt) -> LevelEnd:
        """Drive the level to its end; every process of it is ended when this returns."""
        with ExitStack() as ending:
            load = self.children.start(f"load-{self._name}", "harness.load.worker")  # imports while the target starts
            models = ending.enter_context(self.models())
            way = ending.enter_context(self._proxies(models))
            hosting = self.host_target(models, way)
            if hosting:
                ending.callback(hosting.end)
            listener.level_started(self.level.label, self.index, len(self.manifest.levels))
            ending.callback(load.end, grace_s=5.0)  # before the target: what is in flight is not to fail of its end
            load.tell(msgspec.json.encode(self.load_config()))
            sampler = self._sampler(hosting, load, models)
            outages = Outages(self.scenario.outage, self.provisions.running, t0=self.manifest.t0)
            sampler.start()
            ending.callback(sampler.stop)
            ending.callback(outages.end)
            breaking = self._faults(hosting, way)
            ending.callback(breaking.end)
            cast = _Cast(hosting=hosting, provider=models, sampler=sampler, outages=outages, faults=breaking, way=way)
            try:
                with self._health():
                    end = self._follow(load, cast, listener, interrupt)
                    outages.end()
                    breaking.end()
                    end = self._audited(end)
            except HealthUnwritten as error:
                end = self._end("harness_failed", str(error))
        return self._unwatched(sampler) or end

    def _proxies(self, models: Provider | None) -> AbstractContextManager[Proxies]:
        """In front of what faults reach on its way."""
        names = proxied_services(planned_faults(self.scenario.fault, FAULTS))
        name, seed = f"proxy-{self._name}", self.scenario.seed
        services, t0, folder = self._services(models), self.manifest.t0, self.run_dir
        return proxies(self.children, services, names, name=name, seed=seed, t0=t0, run_dir=folder)

    def _services(self, models: Provider | None) -> Services:
        return replace(self.provisions.services(self.index), llm_url=models.url if models else None)

    def _faults(self, hosting: Hosting | None, way: Proxies) -> Faults:
        planned = planned_faults(self.scenario.fault, FAULTS)
        bench = LevelBench(
            seed=self.scenario.seed,
            lease_s=max((each.window.lasts for each in planned), default=0.0) + LEASE_S,
            namespace=self.provisions.services(self.index).namespace,
            children=self.children,
            running=self.provisions.running,
            proxies=way.toxics,
            hosting=hosting,
        )
        return Faults(planned, bench, self.run_dir / faults.FILE, level=self.level.label, t0=self.manifest.t0)

    def _sampler(self, hosting: Hosting | None, load: Child, models: Provider | None) -> ResourceSampler:
        """Of the target's process, whichever it is, of the load's, and of the one that answers calls to models."""
        sampler = ResourceSampler(
            self.run_dir / "resources.jsonl",
            level=self.level.label,
            t0=self.manifest.t0,
            target_pid=hosting.host.pid if hosting else watched_pid(self.scenario),
            load_pid=load.pid,
            socket_path=str(self.socket) if hosting else None,
            llm_pid=models.pid if models else None,
            elsewhere=any(used.provider in ("url", "container") for used in self.provisions.used),
        )
        if hosting:
            hosting.on_started = sampler.follow
        return sampler

    @contextmanager
    def models(self) -> Iterator[Provider | None]:
        """What answers calls to models, serving until the context is left; None when the scenario makes none."""
        if not needs_llm(self.scenario):
            yield None
            return
        config = provider_config(
            self.scenario,
            self.llm,
            self.provisions.prices,
            run_id=self.manifest.run_id,
            level=self.level.label,
            t0=self.manifest.t0,
            log=self.run_dir / llm.FILE,
        )
        with provider(self.children, config, f"llm-{self._name}") as serving:
            yield serving

    def host_target(self, models: Provider | None, way: Proxies | None = None) -> Hosting | None:
        """The target's host, serving; None for a black box, which needs no host."""
        if self.scenario.target == "http":
            return None
        services = self._services(models) if way is None else way.before(self._services(models))
        return Hosting(
            self.children,
            f"target-{self._name}",
            level=self.level.label,
            run_dir=self.run_dir,
            t0=self.manifest.t0,
            orders=crash_orders(self.scenario.crash),
            config=lambda crash: self._host_config(services, crash),
            python=self.python,
        )

    def _host_config(self, services: Services, crash: CrashOrder | None) -> HostConfig:
        """How to serve the scenario's target in one process, which is to suffer `crash`."""
        if self.scenario.target == "embedded":
            from harness.orchestrator.options import Placement, embedded_options

            place = Placement(level=self.level.label, run_dir=str(self.run_dir), t0=self.manifest.t0, crash=crash)
            target, options = TARGETS["embedded"], embedded_options(self.scenario, place)
        else:
            attribute = self.scenario.target.removeprefix("python:")
            target, options = PYTHON_TARGET, {"attribute": attribute, "expect": self.scenario.python.expect}
        return HostConfig(
            run_id=self.manifest.run_id,
            t0=self.manifest.t0,
            socket=str(self.socket),
            target=target,
            options=options,
            services=services,
            import_from=str(self.folder),
        )

    def load_config(self) -> LoadConfig:
        """What the load process of this level is told."""
        return LoadConfig(
            run_dir=str(self.run_dir),
            level=self.level.label,
            t0=self.manifest.t0,
            socket=None if self.scenario.target == "http" else str(self.socket),
            scenario_dir=str(self.folder),
        )

    def _health(self) -> AbstractContextManager[object]:
        """Samples the services while the level runs."""
        if not self.provisions.running:
            return nullcontext()
        return HealthSampler(
            self.run_dir / "health.jsonl", self.provisions.urls, t0=self.manifest.t0, level=self.level.label
        )

    def _audited(self, end: LevelEnd) -> LevelEnd:
        """After a level that is whole: is Redis what PostgreSQL is? When nobody can tell, it is not whole."""
        if end.status != "complete" or self.scenario.state.store != "both" or self.scenario.target != "embedded":
            return end
        try:
            found = self.provisions.audit(self.index, self.level.label)
        except HarnessError as error:
            return self._end("harness_failed", f"Redis could not be compared with PostgreSQL: {error}")
        with (self.run_dir / "audit.jsonl").open("ab") as file:
            file.write(msgspec.json.encode(found) + b"\n")
        return end

    def _follow(self, load: Child, cast: _Cast, listener: Listener, interrupt: Interrupt) -> LevelEnd:
        """Pass on what the load process says until it is done, the target dies, or the person wants out."""
        said: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=_read_lines, args=(load, said), name="load-reports", daemon=True).start()
        shape = self.scenario.load
        latest = time.monotonic() + shape.warmup + shape.measure + shape.drain + LOAD_OVERTIME_S
        decode = msgspec.json.Decoder(LoadReport).decode
        cut: LevelEnd | None = None
        while True:
            cast.outages.look()
            cast.faults.look()
            if cut is None and (cut := self._cut(cast, interrupt)) is not None:
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
            listener.report(self.level.label, report, cast.sampler.latest)
            if isinstance(report, PhaseChanged) and report.phase == "measure":
                cast.measure_began(report.at)
            if isinstance(report, LoadFailed):
                return self._end("harness_failed", report.message)
            if isinstance(report, Done):
                return cut or self._cut(cast, interrupt) or self._end("complete")

    def _cut(self, cast: _Cast, interrupt: Interrupt) -> LevelEnd | None:
        """Why this level must end now, if it must."""
        if interrupt.asked.is_set():
            return self._end("interrupted", "interrupted by the user")
        if (unwatched := self._unwatched(cast.sampler)) is not None:
            return unwatched
        died = (self.provisions.died(), cast.provider.died() if cast.provider else None, cast.way.died())
        if (why := next((each for each in died if each is not None), None)) is not None:
            return self._end("harness_failed", why)
        if cast.provider is not None and cast.provider.stopped is not None:
            return self._end(*cast.provider.stopped)
        try:
            ended = cast.hosting.look() if cast.hosting is not None else None
        except (TargetUnavailable, HarnessError) as error:
            ended = f"the target could not be started again: {error}"
        return self._end("target_died", ended) if ended else None

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
