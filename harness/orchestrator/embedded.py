"""The embedded orchestrator as a target: what the host builds from a scenario's options."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from harness.orchestrator.breakers import Breakers
from harness.orchestrator.call import AgentFunction
from harness.orchestrator.crash import CrashPoints
from harness.orchestrator.engine import Engine
from harness.orchestrator.options import embedded_options, read_options
from harness.orchestrator.outside import open_outside
from harness.store.memory import MemoryStore
from harness.store.store import StateStore
from harness.target.target import Services, Target

__all__ = ["Embedded", "embedded", "embedded_options"]


def embedded(options: Mapping[str, Any]) -> Target:
    """The orchestrator that the options ask for: with state in memory, or durable. Raises UsageError."""
    read = read_options(options)
    if read.state.store == "memory":
        return Embedded(options)
    # The drivers' 20 MiB would be measured as the memory of an orchestrator that needs none of them.
    from harness.orchestrator.durable import DurableOrchestrator

    return DurableOrchestrator(read)


class Embedded(Engine):
    """The engine as a `Target` that is `Admitting` and `Measurable`, with its state in memory.

    Raises UsageError for options that cannot be run. `clock` gives seconds, and runs as the loop's timers do;
    `agents` replaces the declared work of the agents it names.
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
        self._read = read_options(options)
        self._recorded = ExitStack()
        breakers = Breakers(self._read, clock=clock)
        super().__init__(self._read, store=store, clock=clock, agents=agents, breakers=breakers)

    async def start(self, services: Services) -> None:
        """Open what agents reach for outside and the record of the breakers, and warm up."""
        self._recorded.enter_context(self._breakers)
        disarmed = CrashPoints(None, path=None, level="", t0=0.0, clock=self._clock)
        self._means.outside = await open_outside(
            self._read, services, self._store, token=0, points=disarmed, clock=self._clock
        )
        await super().start(services)

    async def stop(self) -> None:
        """Release everything."""
        await super().stop()
        self._recorded.close()
        if self._means.outside is not None:
            await self._means.outside.close()
