"""What a run needs beside its target and its load: real servers, and the witness. Started once, for all levels."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from harness.child import Child, Children, expect_line
from harness.errors import HarnessError, UsageError
from harness.fault import FAULTS
from harness.llm.prices import Price
from harness.observation.ledger import FILE
from harness.observation.manifest import Manifest, ServiceUsed
from harness.observation.observation import AuditResult
from harness.observation.witness import WitnessConfig, WitnessFailed, WitnessReady
from harness.run.provider import LlmChoice, prices_for
from harness.scenario.faults import planned_faults
from harness.scenario.llm_checks import needs_llm
from harness.scenario.scenario import Scenario
from harness.scenario.state_checks import services_of, works_of
from harness.service.process import ProcessServer
from harness.service.service import Mortal, Pausable, Running, provide, settings_from
from harness.target.target import Services

WITNESS_READY_S = 20.0
AUDIT_S = 60.0
LEVELS_MAX = 1000  # of one run: the namespaces of a fleet's instances lie so far apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisions:
    """The servers and the witness of one run."""

    base: str  # of the namespaces of its levels
    running: Mapping[str, Running] = field(default_factory=dict)
    witness: Child | None = None
    witness_socket: Path | None = None
    prices: Mapping[str, Price] = field(default_factory=dict)  # of calls to models, by model

    @property
    def used(self) -> tuple[ServiceUsed, ...]:
        """Where each server came from, for the manifest."""
        return tuple(running.used for running in self.running.values())

    @property
    def urls(self) -> dict[str, str]:
        """Service -> URL, with credentials."""
        return {name: running.url for name, running in self.running.items()}

    def died(self) -> str | None:
        """Why the run cannot go on: the witness, or a server that we started, ended. None while all live."""
        if self.witness is not None and (code := self.witness.returncode()) is not None:
            return self.witness.with_last_words(f"the witness ended (exit {code})")
        for server in self.running.values():
            if isinstance(server, Mortal) and (why := server.died()) is not None:
                return why
        return None

    def services(self, level: int, instance: int = 0) -> Services:
        """What the target of the level with this number is told: each level, and each instance of a fleet, has a
        namespace of its own."""
        return Services(
            redis_url=self.urls.get("redis"),
            postgres_url=self.urls.get("postgres"),
            namespace=f"{self.base}_{level + LEVELS_MAX * instance}",
            witness=str(self.witness_socket) if self.witness_socket else None,
        )

    def audit(self, level: int, label: str, instance: int = 0) -> AuditResult:
        """Compare Redis with PostgreSQL, document by document, after a level. Raises HarnessError when it cannot."""
        from harness.store.audit import audit_services

        async def compare() -> AuditResult:
            async with asyncio.timeout(AUDIT_S):
                return await audit_services(self.services(level, instance), label)

        try:
            return asyncio.run(compare())
        except TimeoutError:
            raise HarnessError(f"not within {AUDIT_S:g} s") from None


def namespace_of(run_id: str) -> str:
    """A name that a Redis prefix and a PostgreSQL schema may have, unique to the run."""
    date, time, *_, unique = run_id.split("-")
    return re.sub(r"\W", "_", f"harness_{date}_{time}_{unique}")


@contextmanager
def provisioned(
    scenario: Scenario,
    manifest: Manifest,
    children: Children,
    *,
    run_dir: Path,
    sockets: Path,
    redis_url: str | None,
    postgres_url: str | None,
    llm: LlmChoice,
) -> Iterator[Provisions]:
    """Start what the scenario needs; all of it is ended on leaving. Raises ServiceUnavailable, HarnessError."""
    base = namespace_of(manifest.run_id)
    settings = settings_from(redis_url=redis_url, postgres_url=postgres_url, fsync=scenario.state.fsync, namespace=base)
    with ExitStack() as stack:
        running = {name: stack.enter_context(provide(name, settings, children)) for name in services_of(scenario)}
        _check_pausable(scenario, running)
        _check_ours(scenario, running)
        witness = socket = None
        if any(work.effect for _, work in works_of(scenario)) or scenario.target.startswith("python:"):
            socket = sockets / "witness.sock"
            witness = _start_witness(children, manifest, socket, run_dir)
            stack.callback(witness.end, grace_s=5.0)
        prices = prices_for(scenario, llm) if needs_llm(scenario) else {}
        yield Provisions(base=base, running=running, witness=witness, witness_socket=socket, prices=prices)


def _check_pausable(scenario: Scenario, running: Mapping[str, Running]) -> None:
    for outage in scenario.outage:
        server = running[outage.service]
        if not isinstance(server, Pausable):
            raise UsageError(
                f"{scenario.name} has an outage of {outage.service}, and the server at {server.used.address} was "
                f"given, not started by us, so it is not ours to stop; leave out its URL and one is started"
            )


def _check_ours(scenario: Scenario, running: Mapping[str, Running]) -> None:
    """Faults by a server's own means, or of its processes, need one that we started. Raises UsageError with all."""
    mistakes = []
    for planned in planned_faults(scenario.fault, FAULTS):
        for need in planned.fault.needs:
            what, _, service = need.partition(":")
            server = running.get(service)
            if server is None or what == "proxy":
                continue
            is_ours = isinstance(server, ProcessServer) or (what == "server" and server.used.provider != "url")
            if not is_ours:
                mistakes.append(
                    f"{scenario.name} has the fault {planned.window.kind}, and the server at {server.used.address} is "
                    "not a process of ours, so it is not ours to break; leave out its URL and one is started"
                )
    if mistakes:
        raise UsageError(mistakes)


def _start_witness(children: Children, manifest: Manifest, socket: Path, run_dir: Path) -> Child:
    config = WitnessConfig(run_id=manifest.run_id, t0=manifest.t0, socket=str(socket), path=str(run_dir / FILE))
    witness = children.start("witness", "harness.observation.witness", first_line=msgspec.json.encode(config))
    said = msgspec.json.decode(expect_line(witness, WITNESS_READY_S), type=WitnessReady | WitnessFailed)
    if isinstance(said, WitnessFailed):
        raise HarnessError(f"the witness did not start: {said.message}")
    return witness
