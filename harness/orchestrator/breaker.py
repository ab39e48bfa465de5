"""A circuit breaker around an agent: after too many failures its calls are refused for a while instead of made.

The state machine is interlock's (`interlock-cb`); here is only what its answers mean to the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from interlock import CircuitBreaker, CircuitOpenError, Config

from harness.errors import TargetError
from harness.orchestrator.call import AgentFunction, Call


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRule:
    """When a breaker opens, and for how long."""

    failures: float = 0.5  # share of the last `window` attempts
    calls_min: int = 10  # attempts before it may open
    window: int = 100
    open_s: float = 10.0  # refused; after it one call probes, and closes or opens it again


class _Clock:
    """The engine's clock, as interlock asks for it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.monotonic = clock


def guarded(perform: AgentFunction, agent: str, rule: BreakerRule, *, clock: Callable[[], float]) -> AgentFunction:
    """`perform` behind a breaker of its own; wrap an agent once, so that all workflows share it.

    Every attempt that raises counts, whatever it raises; one that is cancelled (by a deadline, too) says nothing
    about the agent and does not count. A refused call is a `TargetError` and is not retried: the breaker has just
    said that it would be in vain.
    """
    config = Config(
        failure_rate_threshold=rule.failures,
        minimum_number_of_calls=rule.calls_min,
        window_size=rule.window,
        wait_duration_in_open=rule.open_s,
        permitted_calls_in_half_open=1,
    )
    breaker = CircuitBreaker(name=agent, config=config, clock=_Clock(clock))

    async def behind_breaker(call: Call) -> bytes:
        try:
            return await breaker.call_async(perform, call)
        except CircuitOpenError as refusal:
            message = f"step {call.step.name!r}: the breaker of agent {agent!r} is open"
            raise TargetError(message, definite=True, error_class="breaker_open") from refusal

    return behind_breaker
