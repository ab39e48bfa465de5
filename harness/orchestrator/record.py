"""What the durable orchestrator writes down of a workflow beside its findings, and what it knows of one it took up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec

from harness.errors import TargetError
from harness.orchestrator.context import state_error
from harness.orchestrator.owned import Owned
from harness.scenario.scenario import State
from harness.store.store import Versioned
from harness.target.serving import WorkflowWatch
from harness.target.target import WorkflowRequest, WorkflowResult


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

    @classmethod
    def late(cls, request: WorkflowRequest, where: str) -> End:
        """The end of a workflow that passed its deadline before anything of it ran."""
        return cls(error_class="workflow_deadline", message=f"workflow {request.id!r} passed its deadline {where}")

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


async def written_down(store: Owned, request: WorkflowRequest, *, accepted_at: float, state: State) -> Versioned:
    """The workflow's document, which says that it was accepted: just now, or before.

    Before means by an earlier call, or by an owner that did not know yet that it had been replaced: what that one
    did is in the document. Raises `TargetError` when it cannot be had within the workflow's deadline, and `Replaced`.
    """
    key, deadline_s = request.id, request.deadline_s
    value = msgspec.json.encode(Accepted(request.kind, request.seed, deadline_s, accepted_at, request.input))
    ttl_s = state.ttl or deadline_s + state.kept
    try:
        async with asyncio.timeout(deadline_s):
            created = await store.write(key, value, if_version=0, op_id=f"{key}/create", ttl_s=ttl_s)
            found = await store.claim(key) if created.replayed else Versioned(1, value, {})
    except TimeoutError:
        what = f"could not be created within {deadline_s:g} s: {store.trouble or 'no answer'}"
        raise state_error("state_unavailable", key, what) from None
    if not created.ok or not isinstance(found, Versioned):
        raise state_error("version_conflict", key, f"exists already, at version {created.version}")
    return found
