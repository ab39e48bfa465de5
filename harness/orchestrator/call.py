"""What an agent is to the orchestrator: an async function from a `Call` to a finding.

Declared work (`agent.py`) is the usual one; tests and benches hand the engine functions of their own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from harness.errors import HarnessError


class AgentFailed(HarnessError):
    """One attempt failed and may be tried again. Any other exception out of an agent is final.

    `error_class` is what the workflow's failure is counted by, should no attempt succeed.
    """

    def __init__(self, message: str, *, error_class: str = "agent_failed") -> None:
        super().__init__(message)
        self.error_class = error_class


class Held(Protocol):
    """Something an agent holds until its step ends, whatever the number of attempts."""

    async def release(self) -> None:
        """Give it back. Called once."""


class Call:
    """One step of one workflow, as its agent sees it. The same object for all attempts of the step."""

    __slots__ = (
        "agent", "attempt", "findings", "held", "index", "kind", "llm_wait_s", "seed", "step", "tokens", "workflow",
    )  # fmt: skip

    def __init__(self, workflow: str, kind: str, seed: int, step: str, agent: str, index: int) -> None:
        self.workflow = workflow  # its id
        self.kind = kind
        self.seed = seed  # the workflow's own
        self.step = step
        self.agent = agent
        self.index = index  # of the step, in declared order
        self.findings: tuple[bytes, ...] = ()  # of the steps it needs, in declared order
        self.attempt = 0  # from 1 while the agent runs
        self.llm_wait_s = 0.0  # counted up by the agent
        self.tokens = 0  # counted up by the agent
        self.held: Held | None = None


AgentFunction = Callable[[Call], Awaitable[bytes]]
"""Does a step's work and returns its finding, or raises `AgentFailed`."""
