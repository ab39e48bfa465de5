"""One level of a run: a fresh target, a load process, a sampler of resources, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from harness.child import Child, Children
from harness.errors import HarnessError
from harness.fault import FAULTS
from harness.load.control import Crew, LoadConfig
from harness.observation import faults, llm
from harness.observation.health import HealthSampler, HealthUnwritten
from harness.observation.ids import file_stem
from harness.observation.manifest import LevelEnd, Manifest
from harness.observation.resources import ResourceSampler
from harness.orchestrator.crash import CrashOrder
from harness.run.crew import Hands, free_port
from harness.run.faulting import LEASE_S, Faults, LevelBench
from harness.run.fleet import TargetFleet
from harness.run.following import Cast, Following, level_end
from harness.run.hosting import Hosting, crash_orders, watched_pids
from harness.run.listening import Interrupt, Listener
from harness.run.outages import Outages
from harness.run.provider import LlmChoice, Provider, provider, provider_config
from harness.run.provisions import Provisions
from harness.run.proxying import Proxies, proxied_services, proxies
from harness.scenario.faults import planned_faults
from harness.scenario.fleet import instances
from harness.scenario.llm_checks import needs_llm
from harness.scenario.scenario import Level, Scenario
from harness.target import PYTHON_TARGET, TARGETS
from harness.target.target import HostConfig, Services

LOAD_MODULE, MASTER_MODULE = "harness.load.worker", "harness.load.crew.master"


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
    crew: Crew | None = None  # None: one load process
    python: str | None = None  # of the target's host, when it has an environment of its own

    @property
    def _name(self) -> str:
        return file_stem(self.level.label)

    def run(self, listener: Listener, interrupt: Interrupt) -> LevelEnd:
        """Drive the level to its end; every process of it is ended when this returns."""
        with ExitStack() as ending:
            hands = Hands(self.children, self._name, self.crew)
            ending.callback(hands.end)
            # Before the target: it imports meanwhile.
            load = self.children.start(f"load-{self._name}", MASTER_MODULE if self.crew else LOAD_MODULE)
            models = ending.enter_context(self.models())
            way = ending.enter_context(self._proxies(models))
            ports = self._ports()
            fleet = self.host_target(models, way, ports)
            if fleet:
                ending.callback(fleet.end)
            listener.level_started(self.level.label, self.index, len(self.manifest.levels))
            ending.callback(load.end, grace_s=5.0)  # before the target: what is in flight is not to fail of its end
            load.tell(msgspec.json.encode(self.load_config(ports)))
            sampler = self._sampler(fleet, load, models)
            outages = Outages(self.scenario.outage, self.provisions.running, t0=self.manifest.t0)
            sampler.start()
            ending.callback(sampler.stop)
            ending.callback(outages.end)
            breaking = self._faults(fleet, way)
            ending.callback(breaking.end)
            cast = Cast(
                fleet=fleet,
                provider=models,
                sampler=sampler,
                outages=outages,
                provisions=self.provisions,
                faults=breaking,
                way=way,
                hands=hands,
            )
            following = Following(self.level, self.scenario.load, load, cast, interrupt)
            try:
                with self._health():
                    end = following.run(listener)
                    outages.end()
                    breaking.end()
                    end = self._audited(end)
            except HealthUnwritten as error:
                end = level_end(self.level, "harness_failed", str(error))
        return following.unwatched() or end

    def _proxies(self, models: Provider | None) -> AbstractContextManager[Proxies]:
        """In front of what faults reach on its way."""
        names = proxied_services(planned_faults(self.scenario.fault, FAULTS))
        name, seed = f"proxy-{self._name}", self.scenario.seed
        services, t0, folder = self._services(models), self.manifest.t0, self.run_dir
        return proxies(self.children, services, names, name=name, seed=seed, t0=t0, run_dir=folder)

    def _services(self, models: Provider | None, instance: int = 0) -> Services:
        return replace(self.provisions.services(self.index, instance), llm_url=models.url if models else None)

    def _faults(self, fleet: TargetFleet | None, way: Proxies) -> Faults:
        planned = planned_faults(self.scenario.fault, FAULTS)
        bench = LevelBench(
            seed=self.scenario.seed,
            lease_s=max((each.window.lasts for each in planned), default=0.0) + LEASE_S,
            namespace=self.provisions.services(self.index).namespace,
            children=self.children,
            running=self.provisions.running,
            proxies=way.toxics,
            hosting=fleet.first if fleet else None,
        )
        return Faults(planned, bench, self.run_dir / faults.FILE, level=self.level.label, t0=self.manifest.t0)

    def _sampler(self, fleet: TargetFleet | None, load: Child, models: Provider | None) -> ResourceSampler:
        """Of the target's process, whichever it is, of the load's, and of the one that answers calls to models."""
        sampler = ResourceSampler(
            self.run_dir / "resources.jsonl",
            level=self.level.label,
            t0=self.manifest.t0,
            target_pids=fleet.pids if fleet else watched_pids(self.scenario),
            load_pid=load.pid,
            socket_paths=self._sockets if fleet else (),
            llm_pid=models.pid if models else None,
            elsewhere=any(used.provider in ("url", "container") for used in self.provisions.used),
        )
        if fleet:
            fleet.first.on_started = sampler.follow
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

    def host_target(
        self, models: Provider | None, way: Proxies | None = None, ports: Sequence[int] = ()
    ) -> TargetFleet | None:
        """The target's hosts, serving; None for a black box, which needs none."""
        if self.scenario.target == "http":
            return None
        return TargetFleet(
            instances(self.scenario.fleet),
            lambda instance: self._hosting(instance, models, way, ports[instance] if ports else None),
        )

    def _hosting(self, instance: int, models: Provider | None, way: Proxies | None, port: int | None) -> Hosting:
        services = self._services(models, instance)
        services = services if way is None else way.before(services)
        return Hosting(
            self.children,
            f"target-{self._name}" + (f"-{instance + 1}" if instance else ""),
            level=self.level.label,
            run_dir=self.run_dir,
            t0=self.manifest.t0,
            orders=crash_orders(self.scenario.crash),
            config=lambda crash: self._host_config(services, crash, self._sockets[instance], port),
            python=self.python,
        )

    def _host_config(self, services: Services, crash: CrashOrder | None, socket: str, port: int | None) -> HostConfig:
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
            socket=socket,
            target=target,
            options=options,
            services=services,
            import_from=str(self.folder),
            listen=(self.crew.host, port) if self.crew and port is not None else None,
        )

    @property
    def _sockets(self) -> tuple[str, ...]:
        """Of the target's instances."""
        return tuple(f"{self.socket}{instance or ''}" for instance in range(instances(self.scenario.fleet)))

    def _ports(self) -> tuple[int, ...]:
        """Of the target's instances, for load processes of other machines; none where there are none."""
        if self.scenario.target == "http" or self.crew is None or not self.crew.joining:
            return ()
        return tuple(free_port(self.crew.host) for _ in self._sockets)

    def load_config(self, ports: Sequence[int] = ()) -> LoadConfig:
        """What the load process of this level is told."""
        return LoadConfig(
            run_dir=str(self.run_dir),
            level=self.level.label,
            t0=self.manifest.t0,
            sockets=() if self.scenario.target == "http" else self._sockets,
            balance=self.scenario.fleet.balance if self.scenario.fleet else "round_robin",
            scenario_dir=str(self.folder),
            crew=self.crew,
            ports=tuple(ports),
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
            found = [
                self.provisions.audit(self.index, self.level.label, instance)
                for instance in range(instances(self.scenario.fleet))
            ]
        except HarnessError as error:
            return level_end(self.level, "harness_failed", f"Redis could not be compared with PostgreSQL: {error}")
        with (self.run_dir / "audit.jsonl").open("ab") as file:
            file.writelines(msgspec.json.encode(each) + b"\n" for each in found)
        return end
