"""The fault proxies of a level: one process in front of the services that a scenario's faults reach on their way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from harness.child import Children
from harness.fault.fault import Toxics
from harness.fault.proxy.config import PROTOCOLS, Protocol, ProxyConfig, Upstream
from harness.fault.proxy.process import ProxyProcess, proxy_process
from harness.scenario.faults import PlannedFault
from harness.target.target import Services

FILE = "proxies.jsonl"
PROTOCOL_OF = {"llm": "http"}


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies that serve: where each is, and how it is told to break."""

    addresses: Mapping[str, str] = field(default_factory=dict)  # service -> host:port
    toxics: Mapping[str, Toxics] = field(default_factory=dict)
    process: ProxyProcess | None = None

    def died(self) -> str | None:
        """Why nothing gets through any more; None while they serve, or when there are none."""
        return None if self.process is None else self.process.died()

    def before(self, services: Services) -> Services:
        """The same services, by way of their proxies."""
        urls = {f"{name}_url": _by_way_of(getattr(services, f"{name}_url"), at) for name, at in self.addresses.items()}
        return replace(services, **urls)


def proxied_services(planned: Sequence[PlannedFault]) -> list[str]:
    """The services that faults want a proxy in front of."""
    needs = [need.partition(":") for each in planned for need in each.fault.needs]
    return sorted({service for what, _, service in needs if what == "proxy"})


@contextmanager
def proxies(
    children: Children, services: Services, names: Sequence[str], *, name: str, seed: int, t0: float, run_dir: Path
) -> Iterator[Proxies]:
    """Proxies in front of these services, ended on leaving. Raises FaultFailed, UsageError."""
    if not names:
        yield Proxies()
        return
    upstreams = tuple(_upstream(service, getattr(services, f"{service}_url")) for service in names)
    config = ProxyConfig(proxies=upstreams, seed=seed, t0=t0, journal=str(run_dir / FILE))
    with proxy_process(children, config, name) as process:
        yield Proxies(process.addresses, {service: process.control(service) for service in names}, process)


def _upstream(service: str, url: str) -> Upstream:
    parts = urlsplit(url)
    spoken = PROTOCOL_OF.get(service, service)
    assert spoken in PROTOCOLS
    return Upstream(name=service, upstream=f"{parts.hostname}:{parts.port}", protocol=cast(Protocol, spoken))


def _by_way_of(url: str, address: str) -> str:
    """The URL with another host and port."""
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{credentials}{at}{address}").geturl()
