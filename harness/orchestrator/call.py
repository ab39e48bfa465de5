"""What an agent is to the orchestrator: an async function from a `Call` to a finding.

Declared work (`agent.py`) is the usual one; tests and benches hand the engine functions of their own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from harness.errors import HarnessError
from harness.orchestrator.deadline import Alarm
from harness.scenario.shapes import Step
from harness.target.target import WorkflowRequest


class AgentFailed(HarnessError):
    """One attempt failed and may be tried again. Any other exception out of an agent is final.

    `error_class` is what the workflow's failure is counted by, should no attempt succeed. `retry_after_s`: whoever
    failed it asked for so long a wait before the next one. `final`: another attempt would fail, too.
    """

    def __init__(
        self, message: str, *, error_class: str = "agent_failed", retry_after_s: float = 0.0, final: bool = False
    ) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.retry_after_s = retry_after_s
        self.final = final


class Held(Protocol):
    """Something an agent holds until its step ends, over all its attempts."""

    async def release(self) -> None:
        """Give it back. Called once."""


class Call(msgspec.Struct, eq=False):
    """One step of one workflow, as its agent sees it: the same object for all attempts of the step."""

    request: WorkflowRequest
    step: Step
    findings: tuple[bytes, ...] = ()  # of the steps it needs, in declared order
    attempt: int = 0  # from 1 while the agent runs
    llm_wait_s: float = 0.0  # counted up by the agent
    tokens: int = 0  # counted up by the agent
    hand_overs: int = 0  # so deep in delegation is it now
    held: Held | None = None  # set by the agent, released when the step ends
    alarm: Alarm | None = None  # the deadlines that it runs under
    degraded: set[str] = msgspec.field(default_factory=set)  # of the workflow: added to by the agent


AgentFunction = Callable[[Call], Awaitable[bytes]]
"""Does a step's work and returns its finding, or raises `AgentFailed`."""
