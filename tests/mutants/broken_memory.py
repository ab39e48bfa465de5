"""Broken orchestrators whose state is in memory: see broken.py."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from harness.orchestrator import asking, breakers
from harness.orchestrator.breaker import Permit, WindowedBreaker
from harness.orchestrator.call import AgentFailed, AgentFunction, Call
from harness.orchestrator.embedded import Embedded
from harness.orchestrator.pool import Pool
from harness.orchestrator.retry import RetryBudget

LEAK_BYTES = 300_000
FORGOTTEN_OF = 20
CROSSED_OF = 40
Wrap = Callable[[AgentFunction], AgentFunction]


def around_agents(target: Embedded, wrap: Wrap) -> Embedded:
    """The same, with every agent's work wrapped."""
    target._plans = {
        kind: replace(plan, steps=tuple(replace(step, perform=wrap(step.perform)) for step in plan.steps))
        for kind, plan in target._plans.items()
    }
    return target


class NoBudget(RetryBudget):
    """Every failure is tried again, at once, for as long as there is time."""

    def wait_s(self, failure: AgentFailed, what: str, *, is_last: bool, back_off_s: float, left_s: float) -> float:
        self.retries += 1
        return 0.002


def unbounded_retry(options: Mapping[str, Any]) -> Embedded:
    target = Embedded(options)
    target._budget = NoBudget(1.0, clock=target._clock)
    return target


def swallowed_failure(options: Mapping[str, Any]) -> Embedded:
    """A step that failed for good is told as one that found nothing."""

    def swallowing(perform: AgentFunction) -> AgentFunction:
        async def swallowed(call: Call) -> bytes:
            try:
                return await perform(call)
            except AgentFailed:
                return b""

        return swallowed

    return around_agents(Embedded(options), swallowing)


def cross_talk(options: Mapping[str, Any]) -> Embedded:
    """An agent keeps its finding where the next workflow's call puts its own, and now and then takes it up too late."""

    def sharing(perform: AgentFunction) -> AgentFunction:
        latest, calls = b"", 0

        async def shared(call: Call) -> bytes:
            nonlocal latest, calls
            latest, calls = await perform(call), calls + 1
            if calls % CROSSED_OF == 0:
                await asyncio.sleep(0.005)
                return latest
            return latest

        return shared

    return around_agents(Embedded(options), sharing)


def slow_leak(options: Mapping[str, Any]) -> Embedded:
    """What a step was told is kept for ever."""
    kept: list[bytes] = []

    def keeping(perform: AgentFunction) -> AgentFunction:
        def leaking(call: Call) -> Awaitable[bytes]:
            kept.append(b"x" * LEAK_BYTES)
            return perform(call)

        return leaking

    return around_agents(Embedded(options), keeping)


class Forgetful(Pool):
    """One in so many places that are given back goes to a waiter who is not told."""

    __slots__ = ("_given",)

    def release(self, now: float) -> None:
        self._given = getattr(self, "_given", 0) + bool(self._waiters)
        if self._waiters and self._given % FORGOTTEN_OF == 0:
            self._waiters.popleft()
            self._wait_s += now
        super().release(now)


def lost_wakeup(options: Mapping[str, Any]) -> Embedded:
    target = Embedded(options)
    pools = {agent: Forgetful(pool.size, clock=target._clock) for agent, pool in target._pools.items()}
    target._pools = pools  # type: ignore[assignment]
    target._plans = {
        kind: replace(plan, steps=tuple(replace(step, pool=pools[step.step.agent]) for step in plan.steps))
        for kind, plan in target._plans.items()
    }
    return target


class Stampeding(WindowedBreaker):
    """Half-open is open to everybody."""

    def admit(self) -> Permit | None:
        permit = super().admit()
        if permit is None and self.state == "half_open":
            self._refused -= 1
            self._probes += 1
            return self._era, self._clock()
        return permit


def stampede(options: Mapping[str, Any]) -> Embedded:
    breakers.WindowedBreaker = Stampeding  # type: ignore[misc]
    return Embedded(options)


_HALF = re.compile(rb'"finding"\s*:\s*"([0-9a-f]*)')


def accepts_truncated(options: Mapping[str, Any]) -> Embedded:
    """Whatever of an answer can be read is taken for all of it."""
    strict = asking.report_of

    def lenient(ask: Any, answer: Any) -> asking.Report:
        try:
            return strict(ask, answer)
        except asking.LlmFailed:
            found = _HALF.search(answer.text.encode())
            return asking.Report(finding=(found[1] if found else b"").decode(), summary="")

    asking.report_of = lenient
    return Embedded(options)
