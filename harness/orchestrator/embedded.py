"""The embedded orchestrator as a target: what the host builds from a scenario's options."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from harness.observation.observation import HostUse
from harness.orchestrator.call import AgentFunction
from harness.orchestrator.engine import Engine
from harness.orchestrator.options import embedded_options, read_options
from harness.store.memory import MemoryStore
from harness.store.store import StateStore
from harness.target.target import Services, Watch, WorkflowRequest, WorkflowResult

__all__ = ["Embedded", "embedded_options"]


class Embedded:
    """A `Target` that is `Admitting` and `Measurable`. Raises UsageError for options that cannot be run.

    `clock` gives seconds, and runs as the loop's timers do. `agents` replaces the declared work of those it names.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        clock: Callable[[], float] = time.monotonic,
        store: StateStore | None = None,
        agents: Mapping[str, AgentFunction] | None = None,
    ) -> None:
        store = MemoryStore(clock=clock) if store is None else store
        self._engine = Engine(read_options(options), store=store, clock=clock, agents=agents)

    async def start(self, services: Services) -> None:
        """Warm up; it needs no services."""
        await self._engine.start()

    def admit(self, request: WorkflowRequest) -> None:
        """Accept the workflow, or raise `Rejected`."""
        self._engine.admit(request)

    def run(self, request: WorkflowRequest, watch: Watch) -> Coroutine[Any, Any, WorkflowResult]:
        """Run a workflow to its end, or raise `TargetError`."""
        return self._engine.run(request, watch)  # not awaited here: one coroutine less on every resume

    def use(self) -> HostUse:
        """Queue and pools right now."""
        return self._engine.use()

    async def stop(self) -> None:
        """Release everything."""
        await self._engine.stop()
