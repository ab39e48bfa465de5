"""The seam to a system that runs workflows: `Target`, and what it is handed and hands back.

A target lives in the host process (`target/host.py`), on an asyncio loop. It is built once, started once, asked to
run many workflows at the same time, and stopped once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from harness.observation.observation import HostUse

StepTuple = tuple[str, str, float, float, float, str, int, float]
"""(name, agent, queued, started, ended, outcome, attempts, llm_wait_s): a StepRecord as a plain tuple, because an
object a step would be a visible share of what an in-process orchestrator costs. Times are on the watch's clock."""


class WorkflowRequest(msgspec.Struct, frozen=True, gc=False):
    """One workflow to run. `deadline_s` runs from acceptance; `seed` is the workflow's own."""

    id: str
    kind: str
    seed: int
    deadline_s: float
    input: Any = None


class WorkflowResult(msgspec.Struct, frozen=True, gc=False):
    """A workflow that succeeded. `digest` names the final result, so that a wrong one can be told."""

    digest: str
    attempts: int = 1
    degraded: tuple[str, ...] = ()
    tokens: int = 0
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Services:
    """Addresses of the real services a target may use; None where the scenario has none.

    URLs hold credentials: they go from process to process on standard input and into no file.
    """

    llm_url: str | None = field(default=None, repr=False)
    redis_url: str | None = field(default=None, repr=False)
    postgres_url: str | None = field(default=None, repr=False)
    namespace: str = "harness"  # the run's own: a prefix of Redis keys, a PostgreSQL schema
    witness: str | None = None  # the socket of the witness, which does the agents' effects


class Watch(Protocol):
    """The host's eye on one workflow: where a target reports its steps."""

    clock: Callable[[], float]  # seconds from the run's t0
    services: Services
    steps: list[StepTuple]  # a target that times its own steps appends here

    def started(self) -> None:
        """The workflow left the admission queue. A target without a queue need not call it."""

    def step(self, agent: str, name: str | None = None) -> AbstractAsyncContextManager[None]:
        """Report the enclosed block as one step; an exception out of it marks the step failed and goes on."""


@runtime_checkable
class Target(Protocol):
    """A system that runs workflows."""

    async def start(self, services: Services) -> None:
        """Get ready; raising means the target is unavailable."""

    async def run(self, request: WorkflowRequest, watch: Watch) -> WorkflowResult:
        """Run a workflow to its end, or raise `TargetError`."""

    async def stop(self) -> None:
        """Release everything."""


@runtime_checkable
class Admitting(Protocol):
    """Optional power: a bounded admission queue of the target's own."""

    def admit(self, request: WorkflowRequest) -> None:
        """Accept the workflow, or raise `Rejected`. Called once, before its `run`, in the same loop iteration."""


@runtime_checkable
class Durable(Protocol):
    """Optional power: what was accepted outlives the target's process."""

    async def accept(self, request: WorkflowRequest) -> None:
        """Write down that the workflow was accepted; only then is its client told. Called once, before its `run`.

        Raises `TargetError` when it could not be written down.
        """


@runtime_checkable
class Measurable(Protocol):
    """Optional power: telling what the target's queue and pools look like."""

    def use(self) -> HostUse:
        """Queue and pools right now; the host fills in in-flight counts and loop lag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """What a host process is told, as JSON on its standard input."""

    run_id: str
    t0: float  # the run's zero on the monotonic clock
    socket: str  # path of the Unix socket to listen on
    target: str  # "module:attribute" of a callable that takes `options` and returns a Target
    options: Mapping[str, Any]
    services: Services = field(default_factory=Services)
    import_from: str | None = None  # a folder put first on sys.path: the scenario's
    listen: tuple[str, int] | None = None  # host and port, for load processes that cannot reach the socket


Disturbance = Literal["hang", "fail", "slow", "wrong", "hand_over"]


@runtime_checkable
class Disturbable(Protocol):
    """Optional power: agents that misbehave when they are told to."""

    def disturb(self, order: Disturb) -> int:
        """Begin, renew or end it; how many attempts it acted on so far."""


class BlockLoop(msgspec.Struct, tag_field="type", tag="block", frozen=True):
    """A line on a host's standard input: block the event loop for so long."""

    blocked_s: float


class CancelSome(msgspec.Struct, tag_field="type", tag="cancel", frozen=True):
    """Another: cancel a share of the workflows that run, drawn by this seed, wherever they stand."""

    share: float
    seed: int


class Disturb(msgspec.Struct, tag_field="type", tag="disturb", frozen=True):
    """Another: for so long, a share of the attempts of that agent hang, fail, take `factor` times as long, end wrong,
    or hand their task over `to` another agent.

    The same `key` renews it; `lasts_s` 0 ends it.
    """

    key: str
    agent: str
    how: Disturbance
    share: float
    factor: float
    lasts_s: float
    to: str = ""


class JumpClock(msgspec.Struct, tag_field="type", tag="jump", frozen=True):
    """Another: for so long the wall clock is off by `by_s`. The same again renews it; `lasts_s` 0 ends it."""

    by_s: float
    lasts_s: float


class OpenFile(msgspec.Struct, tag_field="type", tag="open", frozen=True):
    """Another: see whether a file could be opened."""


Order = BlockLoop | CancelSome | Disturb | JumpClock | OpenFile


class LoopWasBlocked(msgspec.Struct, tag_field="type", tag="blocked", frozen=True):
    """The host's answer, when it was."""

    blocked_s: float


class Answered(msgspec.Struct, tag_field="type", tag="answered", frozen=True):
    """The host's answer to the others: how many workflows were cancelled, or attempts disturbed so far; 1 where its
    clock is off as it was told to be, or where it could open no file."""

    count: int


CANCELLED = "cancelled by its client"
"""What `asyncio` is told about a task that is cancelled for that: the orchestrator may write its end down."""


class HostReady(msgspec.Struct, tag_field="type", tag="ready", frozen=True):
    """A host's one line on its standard output: it listens."""


class HostFailed(msgspec.Struct, tag_field="type", tag="failed", frozen=True):
    """Or: it cannot serve. `usage` when what was asked for does not exist, `start` when it did not start."""

    kind: Literal["usage", "start"]
    message: str
