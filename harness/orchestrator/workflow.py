"""A kind of workflow made ready to run: everything that can be known before the first request is worked out here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.orchestrator.call import AgentFunction
from harness.orchestrator.pool import Pool
from harness.scenario.scenario import Agent
from harness.scenario.shapes import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One step with all that running it takes."""

    name: str
    agent: str
    needs: tuple[str, ...]
    index: int  # in declared order
    pool: Pool
    deadline_s: float
    attempts: int
    perform: AgentFunction


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One kind of workflow. `chain` tells that at no time two of its steps can run side by side."""

    kind: str
    steps: tuple[PlannedStep, ...]
    chain: bool


def plan(
    kind: str,
    steps: tuple[Step, ...],
    *,
    agents: Mapping[str, Agent],
    pools: Mapping[str, Pool],
    perform: Mapping[str, AgentFunction],
) -> Plan:
    """Tie declared steps to their agents' pools and functions; all three mappings are by agent name."""
    planned = tuple(
        PlannedStep(
            name=step.name,
            agent=step.agent,
            needs=step.needs,
            index=index,
            pool=pools[step.agent],
            deadline_s=agents[step.agent].deadline,
            attempts=agents[step.agent].attempts,
            perform=perform[step.agent],
        )
        for index, step in enumerate(steps)
    )
    return Plan(kind=kind, steps=planned, chain=is_chain(steps))


def is_chain(steps: tuple[Step, ...]) -> bool:
    """Whether each step comes after the one declared before it, directly or through others."""
    before: dict[str, set[str]] = {}
    for step in steps:
        before[step.name] = set(step.needs).union(*(before[need] for need in step.needs))
    return all(earlier.name in before[later.name] for earlier, later in zip(steps, steps[1:], strict=False))
