"""What can be broken, and by whom: `Fault`, the `Bench` that it acts on, and the `Bite` that proves that it acted."""

from __future__ import annotations

import signal
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol

from harness.child import Child
from harness.errors import HarnessError


class FaultFailed(HarnessError):
    """A fault could not be begun or lifted."""


class Toxics(Protocol):
    """The fault proxy in front of one service."""

    async def add(self, toxic: dict[str, Any]) -> None:
        """Add a toxic, in the words of Toxiproxy's API. It lifts by itself when its lease ends."""

    async def remove(self, name: str) -> int:
        """Remove it; how often it acted: connections, requests or chunks, as its kind counts."""

    async def fired(self, name: str) -> int:
        """How often it acted so far."""

    async def enable(self, *, enabled: bool, lease_s: float = 0.0) -> None:
        """Whether connections are taken; those that there are are cut when not, and `fired("down")` counts them. With
        a lease they are taken again after so long."""

    async def move(self, upstream: str) -> None:
        """In front of another server, of this host:port; connections are cut."""


class Server(Protocol):
    """A server of our own that can be killed. Blocking. Raises ServiceUnavailable."""

    def kill(self, signum: signal.Signals = signal.SIGKILL) -> None:
        """End it by this signal; its port stays its own, and refuses connections."""

    def start_again(self, *, empty: bool = False) -> None:
        """On the same port, `empty` or with what it kept on disk; it answers then. Nothing to do while it lives."""


class Bench(Protocol):
    """What a fault may lay hands on, of one level. Everything here is ours: nobody else's is ever broken."""

    @property
    def seed(self) -> int:
        """Of the fault's own draws; the same in every run of a scenario."""

    @property
    def lease_s(self) -> float:
        """How long what is broken may stay so when nobody is left to lift it."""

    def proxy(self, service: str) -> Toxics:
        """The proxy in front of `redis`, `postgres` or `llm`."""

    def url(self, service: str) -> str:
        """Of the service itself, past the proxy; with credentials."""

    @property
    def namespace(self) -> str:
        """The level's own, in whichever stores: a key prefix and a schema."""

    def pids(self, what: str) -> list[int]:
        """The processes of `target`, `redis` or `postgres` that live now, the oldest first; only of our own."""

    def server(self, service: str) -> Server:
        """`redis` or `postgres`, where it is a process of our own."""

    def spare(self) -> AbstractContextManager[str]:
        """The URL of an empty Redis of the same kind and password beside ours. Blocking. Raises ServiceUnavailable."""

    def ask_target(self, order: bytes, timeout_s: float) -> bytes:
        """The line that the target's host answers to a line. Blocking. Raises HarnessError."""

    def note_kill(self, pid: int) -> bool:
        """Write down that this process of the target is about to be killed, so that it has a successor.

        False: it is not the one that serves any more.
        """

    def start(self, module: str, first_line: bytes) -> Child:
        """Run `python -m module` beside the run, ended with it at the latest."""


class Bite(Protocol):
    """What a fault hands back while it acts."""

    async def count(self) -> int:
        """How often it acted so far; 0: it has not, and what was to be shown was not shown."""


class Fault(Protocol):
    """One kind of fault, with its parameters: a frozen dataclass whose documentation `harness faults` prints.

    The fields are the parameters, with units where they have some; the docstring's first line says what is broken,
    the rest what the orchestrator is expected to do.
    """

    def inject(self, bench: Bench) -> AbstractAsyncContextManager[Bite]:
        """Entering breaks, leaving heals, also when entering failed half-way. Raises FaultFailed."""

    @property
    def needs(self) -> tuple[str, ...]:
        """What has to be there: `proxy:redis`, `server:redis` (one that we started), `process:redis` (by ourselves, in
        no container), `target`, `store` (what outlives the target), `agent:data` (of the embedded orchestrator)."""
