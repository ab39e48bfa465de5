"""Agents that misbehave because they were told to: what a fault of an agent does to the attempts that it meets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import blake2b

from harness.llm.draws import uniforms
from harness.orchestrator.call import AgentFailed, AgentFunction, Call
from harness.target.target import Disturb

HandsOver = Callable[[Call, str], Awaitable[bytes]]
"""Lets another agent do it."""


class Disturbances:
    """The orders in force, by agent. `clock` gives seconds; draws are by `seed`, workflow, step and attempt."""

    def __init__(self, *, seed: int, clock: Callable[[], float]) -> None:
        self._seed = seed
        self._clock = clock
        self._by_agent: dict[str, dict[str, tuple[Disturb, float]]] = {}  # order and when it ends, by its key
        self._bites: dict[str, int] = {}

    def __bool__(self) -> bool:
        """Whether any may be in force."""
        return bool(self._by_agent)

    def take(self, order: Disturb) -> int:
        """Begin, renew or (`lasts_s` 0) end it; how many attempts it acted on so far."""
        orders = self._by_agent.setdefault(order.agent, {})
        if order.lasts_s > 0:
            orders[order.key] = (order, self._clock() + order.lasts_s)
        else:
            orders.pop(order.key, None)
        if not orders:
            del self._by_agent[order.agent]
        return self._bites.get(order.key, 0)

    async def through(self, agent: str, call: Call, perform: AgentFunction, hand_over: HandsOver) -> bytes:
        """The attempt's finding, as the order that meets it lets it come about; raises what the attempt raises."""
        order = self._met_by(agent, call)
        if order is None:
            return await perform(call)
        self._bites[order.key] = self._bites.get(order.key, 0) + 1
        if order.how == "hang":
            await asyncio.get_running_loop().create_future()  # nobody ever sets it: only a deadline ends this
        if order.how == "fail":
            raise AgentFailed(f"agent {agent!r} fails, as a fault wants it to")
        began = self._clock()
        found = await perform(call)
        if order.how == "slow":
            await asyncio.sleep((order.factor - 1) * (self._clock() - began))
        elif order.how == "hand_over":
            found = await hand_over(call, order.to)
        elif order.how == "wrong":
            found = blake2b(found, digest_size=16).hexdigest().encode()
        return found

    def _met_by(self, agent: str, call: Call) -> Disturb | None:
        """The first order in force that draws this attempt."""
        now = self._clock()
        for order, ends in self._by_agent.get(agent, {}).values():
            drawn = uniforms("disturbed", self._seed, order.key, call.request.id, call.step.name, call.attempt)[0]
            if now < ends and drawn < order.share:
                return order
        return None
