"""A circuit breaker around an agent: after too many failures its calls are refused for a while instead of made.

The state machine is interlock's (`interlock-cb`); here is only what its answers mean to the engine.
"""

from __future__ import annotations

from collections.abc import Callable

from interlock import CircuitBreaker, CircuitOpenError, Config

from harness.errors import TargetError
from harness.orchestrator.call import AgentFunction, Call
from harness.scenario.scenario import Breaker


class _Clock:
    """The engine's clock, as interlock asks for it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.monotonic = clock


class AgentBreaker:
    """The breaker of one agent type, shared by all that is done in its name.

    Every attempt that raises counts, whatever it raises; one that is cancelled (by a deadline, too) says nothing
    about the agent and does not count. A refused call is a `TargetError` and is not retried: the breaker has just
    said that it would be in vain.
    """

    def __init__(self, agent: str, rule: Breaker, *, clock: Callable[[], float]) -> None:
        config = Config(
            failure_rate_threshold=rule.failures,
            minimum_number_of_calls=rule.calls_min,
            window_size=rule.window,
            wait_duration_in_open=rule.open,
            permitted_calls_in_half_open=1,
        )
        self._agent = agent
        self._breaker = CircuitBreaker(name=agent, config=config, clock=_Clock(clock))

    def around(self, perform: AgentFunction) -> AgentFunction:
        """`perform` behind this breaker."""
        call_async, agent = self._breaker.call_async, self._agent

        async def behind_breaker(call: Call) -> bytes:
            try:
                return await call_async(perform, call)
            except CircuitOpenError as refusal:
                message = f"step {call.step.name!r}: the breaker of agent {agent!r} is open"
                raise TargetError(message, definite=True, error_class="breaker_open") from refusal

        return behind_breaker
