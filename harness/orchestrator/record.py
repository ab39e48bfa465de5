"""What the durable orchestrator writes down of a workflow beside its findings, and what it knows of one it took up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec

from harness.errors import TargetError
from harness.target.serving import WorkflowWatch
from harness.target.target import WorkflowResult


class Accepted(msgspec.Struct, frozen=True):
    """The value of a workflow's document: its request. `accepted_at` is on the machine's monotonic clock, in s."""

    kind: str
    seed: int
    deadline_s: float
    accepted_at: float
    input: Any = None


class End(msgspec.Struct, omit_defaults=True):
    """How it ended: with a digest, or with the class of an error."""

    digest: str = ""
    attempts: int = 1
    degraded: tuple[str, ...] = ()
    tokens: int = 0
    error_class: str = ""
    message: str = ""
    definite: bool = True

    @classmethod
    def of(cls, result: WorkflowResult) -> End:
        """The end of a workflow that succeeded."""
        return cls(digest=result.digest, attempts=result.attempts, degraded=result.degraded, tokens=result.tokens)

    def result(self) -> WorkflowResult:
        """The result. Raises `TargetError` when there is none."""
        if self.error_class:
            raise TargetError(self.message, definite=self.definite, error_class=self.error_class)
        return WorkflowResult(self.digest, self.attempts, self.degraded, self.tokens)


@dataclass(frozen=True, slots=True)
class Flight:
    """A workflow that was taken up, under way or ended."""

    task: asyncio.Task[End]
    watch: WorkflowWatch
