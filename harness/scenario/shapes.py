"""The shapes a multi-agent workflow can have, as declared data: which step needs which.

Data only, so that the orchestrator (which runs a shape) and the integrity check (which knows what a shape must
produce) read the same declaration and share no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.scenario.units import Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One agent's part of a workflow. `needs` names the earlier steps whose output it reads."""

    name: str  # unlike any other's in the workflow
    agent: str  # who does it
    needs: tuple[str, ...] = ()  # earlier steps whose output it reads


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """Handing a task on to another agent, which does it in its place: delegation."""

    to: str  # an agent
    share: Share = 1.0  # of the attempts, drawn by seed


def _step(name: str, *needs: str, agent: str | None = None) -> Step:
    return Step(name=name, agent=agent or name, needs=needs)


FAN_OUT_BRANCHES = 4

SHAPES: Mapping[str, tuple[Step, ...]] = {
    # Each agent hands its finding to the next.
    "sequential": (
        _step("triage"),
        _step("data", "triage"),
        _step("optimization", "data"),
    ),
    # A supervisor plans, delegates to three agents that run side by side, and joins what they found.
    "supervisor": (
        _step("plan", agent="supervisor"),
        _step("triage", "plan"),
        _step("data", "plan"),
        _step("optimization", "plan"),
        _step("join", "triage", "data", "optimization", agent="supervisor"),
    ),
    # Five agents; later ones read several earlier ones' data.
    "enterprise": (
        _step("triage"),
        _step("data", "triage"),
        _step("optimization", "triage", "data"),
        _step("actions", "data", "optimization"),
        _step("reporting", "triage", "data", "optimization", "actions"),
    ),
    # One question, parallel branches of the same agent type, one aggregation.
    "fan-out": (
        _step("triage"),
        *(_step(f"data-{branch}", "triage", agent="data") for branch in range(1, FAN_OUT_BRANCHES + 1)),
        _step("optimization", *(f"data-{branch}" for branch in range(1, FAN_OUT_BRANCHES + 1))),
    ),
}
"""Shape name -> its steps, in an order in which every step comes after what it needs."""
