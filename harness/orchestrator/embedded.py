"""The embedded orchestrator as a target: what the host builds from a scenario's options."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from harness.orchestrator.call import AgentFunction
from harness.orchestrator.engine import Engine
from harness.orchestrator.options import embedded_options, read_options
from harness.store.memory import MemoryStore
from harness.store.store import StateStore

__all__ = ["Embedded", "embedded_options"]


class Embedded(Engine):
    """A `Target` that is `Admitting` and `Measurable`: the engine, built from JSON (`embedded_options` makes it).

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
        super().__init__(read_options(options), store=store, clock=clock, agents=agents)
