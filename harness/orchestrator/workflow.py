"""A kind of workflow made ready to run: everything that can be known before the first request is worked out here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter

from harness.orchestrator.agent import DeclaredAgent, Means, verified
from harness.orchestrator.breaker import Breaker, around
from harness.orchestrator.call import AgentFunction
from harness.orchestrator.options import Options
from harness.orchestrator.pool import Pool
from harness.scenario.scenario import Workflow
from harness.scenario.shapes import Step


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlannedStep:
    """One step with all that running it takes."""

    step: Step  # as declared
    name: str
    needs: tuple[str, ...]
    pick_needs: Callable[[Mapping[str, bytes]], tuple[bytes, ...]]  # the findings it needs, of a context's fields
    pool: Pool
    deadline_s: float
    attempts: int
    perform: AgentFunction


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One kind of workflow. `chain` tells that at no time two of its steps can run side by side."""

    kind: str
    label: bytes  # the value of its documents
    digested: bytes  # what the final digest is taken of: a format, to be filled with `pick_all`
    pick_all: Callable[[Mapping[str, bytes]], tuple[bytes, ...]]  # all findings, of a context's fields
    steps: tuple[PlannedStep, ...]
    last_version: int  # of the shared context: its creation and one write a step
    chain: bool


def plan(
    workflow: Workflow,
    options: Options,
    pools: Mapping[str, Pool],
    means: Means,
    agents: Mapping[str, AgentFunction],
    breakers: Mapping[str, Breaker],
) -> Plan:
    """Tie the declared steps to pools and to what is done in them: `agents` by name, else their declared work."""

    def performing(agent: str) -> AgentFunction:
        perform = agents.get(agent) or DeclaredAgent(agent, options.work(workflow, agent), means)
        perform = verified(perform) if options.declared(agent).verify else perform
        return around(agent, breakers[agent], perform) if agent in breakers else perform

    perform = {agent: performing(agent) for agent in {*options.agent, *(s.agent for s in workflow.declared_steps)}}
    means.performing |= {(workflow.kind, agent): performed for agent, performed in perform.items()}
    steps = tuple(
        PlannedStep(
            step=step,
            name=step.name,
            needs=step.needs,
            pick_needs=_picker(step.needs),
            pool=pools[step.agent],
            deadline_s=options.declared(step.agent).deadline,
            attempts=options.declared(step.agent).attempts,
            perform=perform[step.agent],
        )
        for step in workflow.declared_steps
    )
    return Plan(
        kind=workflow.kind,
        label=workflow.kind.encode(),
        digested="|".join(step.name.replace("%", "%%") + "=%b" for step in steps).encode(),
        pick_all=_picker(tuple(step.name for step in steps)),
        steps=steps,
        last_version=1 + len(steps),
        chain=is_chain(workflow.declared_steps),
    )


def _picker(names: tuple[str, ...]) -> Callable[[Mapping[str, bytes]], tuple[bytes, ...]]:
    """A function that takes these out of a mapping, or raises KeyError: `itemgetter`, but always of a tuple."""
    if len(names) == 1:
        (name,) = names
        return lambda fields: (fields[name],)
    return itemgetter(*names) if names else lambda fields: ()


def is_chain(steps: tuple[Step, ...]) -> bool:
    """Whether each step comes after the one declared before it, directly or through others."""
    before: dict[str, set[str]] = {}
    for step in steps:
        before[step.name] = set(step.needs).union(*(before[need] for need in step.needs))
    return all(earlier.name in before[later.name] for earlier, later in pairwise(steps))
