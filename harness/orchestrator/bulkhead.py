"""A bulkhead: how many steps may wait for one agent type, so that one that is slow does not hold everybody's slots.

A workflow keeps its slot while a step of it waits for an instance. Pools alone bound what runs; without a bound on
what waits, workflows that need a saturated agent end up in all slots, and those that need others find none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from harness.errors import TargetError
from harness.orchestrator.pool import Pool
from harness.scenario.scenario import Agent


class BulkheadFull(TargetError):
    """A step was refused at once, because as many as may wait for its agent did. It was not tried."""

    def __init__(self, agent: str, waiting: int) -> None:
        message = f"agent {agent!r} is saturated: all instances are busy and {waiting} steps wait, as many as may"
        super().__init__(message, definite=True, error_class="bulkhead_full")


class Bulkhead(Pool):
    """A `Pool` of `size` instances for which at most `waiting_max` steps wait."""

    __slots__ = ("_agent", "_waiting_max")

    def __init__(self, agent: str, size: int, waiting_max: int, *, clock: Callable[[], float]) -> None:
        super().__init__(size, clock=clock)
        self._agent = agent
        self._waiting_max = waiting_max

    def take(self, now: float) -> asyncio.Future[None] | None:
        """As a pool's. Raises `BulkheadFull`; then nothing was taken."""
        if self.busy >= self.size and self.waiting >= self._waiting_max:
            raise BulkheadFull(self._agent, self.waiting)
        return super().take(now)


def pool_of(agent: str, declared: Agent, clock: Callable[[], float]) -> Pool:
    """The instances of an agent type."""
    if declared.waiting is None:
        return Pool(declared.pool, clock=clock)
    return Bulkhead(agent, declared.pool, declared.waiting, clock=clock)
