"""What a scenario may get wrong about the embedded target: workflows, their steps, agents and their work.

`breaker_checks` holds what it may get wrong about breakers, bulkheads and shedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.errors import unknown_name
from harness.scenario.breaker_checks import check_breakers
from harness.scenario.checks import Draft, at_least, positive, share
from harness.scenario.mistakes import KeyPath, Mistake, nearest
from harness.scenario.scenario import Work, Workflow
from harness.scenario.shapes import SHAPES, Step


def check_agents(draft: Draft) -> Iterator[Mistake]:
    """Everything that only the embedded target reads; for another target, that none of it is written."""
    if draft.target_kind == "embedded":
        for position in range(len(draft.scenario.workflow)):
            yield from _check_workflow(draft, position)
        yield from _check_unused(draft)
    elif draft.target_kind is not None:
        yield from _check_only_embedded(draft)
    for name, agent in draft.scenario.agent.items():
        path: KeyPath = ("agent", name)
        yield from at_least((*path, "pool"), agent.pool, 1)
        yield from at_least((*path, "attempts"), agent.attempts, 1)
        yield from positive((*path, "deadline"), agent.deadline)
        yield from _check_work(draft, (*path, "work"), agent.work)
    yield from check_breakers(draft)
    orchestrator = draft.scenario.orchestrator
    yield from at_least(("orchestrator", "slots"), orchestrator.slots, 1)
    yield from at_least(("orchestrator", "queue"), orchestrator.queue, 0)
    yield from at_least(("orchestrator", "cpu_workers"), orchestrator.cpu_workers, 1)
    yield from share(("orchestrator", "retry_budget"), orchestrator.retry_budget)
    yield from at_least(("orchestrator", "hand_overs"), orchestrator.hand_overs, 0)


def _steps(workflow: Workflow) -> tuple[Step, ...]:
    """The steps as far as they are known: none for a shape that does not exist."""
    return workflow.steps or SHAPES.get(workflow.shape or "", ())


def _check_workflow(draft: Draft, position: int) -> Iterator[Mistake]:
    workflow = draft.scenario.workflow[position]
    path: KeyPath = ("workflow", position)
    shape, steps = (*path, "shape"), (*path, "steps")
    if (workflow.shape is None) == (not workflow.steps):
        text = "should have exactly one of shape and steps (shapes: " + ", ".join(sorted(SHAPES)) + ")"
        yield Mistake(path, text, reads=(shape, steps))
    if workflow.shape is not None and workflow.shape not in SHAPES:
        yield Mistake(shape, unknown_name("shape", workflow.shape, SHAPES))
    if workflow.input:
        yield Mistake((*path, "input"), "the embedded target reads no input; remove it", reads=((*path, "input"),))
    yield from _check_steps(steps, workflow.steps)
    yield from _check_declared(draft, path, workflow)
    agents = {step.agent for step in _steps(workflow)}
    for agent, work in workflow.work.items():
        if agents and agent not in agents:
            reads = ((*path, "work", agent), shape, steps)
            yield Mistake((*path, "work", agent), unknown_name("agent of this workflow", agent, agents), reads=reads)
        yield from _check_work(draft, (*path, "work", agent), work)


def _check_steps(path: KeyPath, steps: tuple[Step, ...]) -> Iterator[Mistake]:
    earlier: list[str] = []
    later = {step.name for step in steps}
    for position, step in enumerate(steps):
        here: KeyPath = (*path, position)
        if not step.name:
            yield Mistake((*here, "name"), "should not be empty")
        if step.name in earlier:
            yield Mistake((*here, "name"), f"{step.name!r} is the name of an earlier step too")
        for place, need in enumerate(step.needs):
            if need not in earlier:
                late = " comes later or is this step itself; a step needs earlier ones" if need in later else ""
                text = f"{need!r}{late}" if late else unknown_name("earlier step", need, earlier)
                yield Mistake((*here, "needs", place), text, reads=((*here, "needs"), path))
            elif need in step.needs[:place]:
                yield Mistake((*here, "needs", place), f"{need!r} is named twice")
        earlier.append(step.name)


def _check_declared(draft: Draft, path: KeyPath, workflow: Workflow) -> Iterator[Mistake]:
    declared: Mapping[str, object] = draft.scenario.agent
    for position, step in enumerate(workflow.steps):
        if step.agent not in declared:
            near = nearest(step.agent, declared)
            hint = f"did you mean {near!r}, or " if near else ""
            text = f"agent {step.agent!r} is not declared; {hint}add [agent.{step.agent}]"
            here = (*path, "steps", position, "agent")
            yield Mistake(here, text, reads=(here, ("agent", step.agent)))
    if not workflow.steps:
        missing = sorted({step.agent for step in _steps(workflow)} - set(declared))
        if missing:
            tables = " and ".join(f"[agent.{agent}]" for agent in missing)
            here = (*path, "shape")
            text = f"shape {workflow.shape!r} has agents that are not declared; add {tables}"
            yield Mistake(here, text, reads=(here, (*path, "steps"), *(("agent", agent) for agent in missing)))


def _check_unused(draft: Draft) -> Iterator[Mistake]:
    workflows = draft.scenario.workflow
    if not all(_steps(workflow) for workflow in workflows):
        return  # which agents are used is not known
    used = {step.agent for workflow in workflows for step in _steps(workflow)}
    for name in draft.scenario.agent:
        if name not in used:
            text = "is declared, but no workflow has a step for it"
            yield Mistake(("agent", name), text, reads=(("workflow",), ("target",)))


def _check_only_embedded(draft: Draft) -> Iterator[Mistake]:
    text = f"only the embedded target reads this, and the target is {draft.scenario.target!r}; remove it"
    for table in ("agent", "orchestrator"):
        if draft.wrote(table):
            yield Mistake((table,), text, reads=(("target",),))
    for position, workflow in enumerate(draft.scenario.workflow):
        written = {"shape": workflow.shape, "steps": workflow.steps, "work": workflow.work}
        for key, value in written.items():
            if value:
                path: KeyPath = ("workflow", position, key)
                yield Mistake(path, text, reads=(path, ("target",)))


def _check_work(draft: Draft, path: KeyPath, work: Work) -> Iterator[Mistake]:
    yield from share((*path, "failure"), work.failure)
    if work.hand_over is not None:
        to: KeyPath = (*path, "hand_over", "to")
        yield from share((*path, "hand_over", "share"), work.hand_over.share)
        if work.hand_over.to not in draft.scenario.agent:
            yield Mistake(to, unknown_name("agent", work.hand_over.to, draft.scenario.agent), reads=(to, ("agent",)))
    if work.think is None:
        return
    if work.think.model not in draft.known.models:
        text = unknown_name("model", work.think.model, draft.known.models)
        yield Mistake((*path, "think", "model"), text)
    yield from at_least((*path, "think", "output_tokens"), work.think.output_tokens, 1)
