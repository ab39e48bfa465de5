"""What a scenario may get wrong about circuit breakers, bulkheads and shedding: rules that can never act."""

from __future__ import annotations

from collections.abc import Iterator

from harness.errors import unknown_name
from harness.scenario.checks import Draft, at_least, positive, share
from harness.scenario.mistakes import KeyPath, Mistake
from harness.scenario.scenario import Breaker
from harness.scenario.state_checks import services_of, works_of

DEPENDENCIES = ("redis", "postgres", "llm")
"""What the embedded orchestrator may have a breaker on, beside its agents."""


def check_breakers(draft: Draft) -> Iterator[Mistake]:
    """The breakers of agents and dependencies; how many may wait for an agent; how long for a slot."""
    for name, agent in draft.scenario.agent.items():
        path = ("agent", name)
        if agent.waiting is not None:
            yield from at_least((*path, "waiting"), agent.waiting, 0)
        if agent.breaker is not None:
            yield from _check_rule(draft, (*path, "breaker"), agent.breaker)
            yield from _check_deadline(draft, name, agent.breaker, agent.deadline)
    yield from _check_dependencies(draft)
    yield from _check_shed(draft)


def _check_rule(draft: Draft, path: tuple[str, ...], rule: Breaker) -> Iterator[Mistake]:
    for key, value in {"failures": rule.failures, "slow_share": rule.slow_share}.items():
        yield from share((*path, key), value)
        yield from positive((*path, key), value)
    for key, count in {"calls_min": rule.calls_min, "half_open": rule.half_open}.items():
        yield from at_least((*path, key), count, 1)
    for key, seconds in {"open": rule.open, "slow": rule.slow, "window_s": rule.window_s}.items():
        if seconds is not None:
            yield from positive((*path, key), seconds)
    if rule.slow is None and draft.wrote(*path, "slow_share"):
        text = "has no effect without slow: no call is slow then"
        yield Mistake((*path, "slow_share"), text, reads=((*path, "slow"),))
    if rule.window_s is not None and draft.wrote(*path, "window"):
        text = "the last calls are those of window_s; give one of the two"
        yield Mistake((*path, "window"), text, reads=((*path, "window"), (*path, "window_s")))
    if rule.window_s is None and rule.window < rule.calls_min:
        text = f"{rule.window} calls are remembered, and {rule.calls_min} must be seen before it may open"
        yield Mistake((*path, "window"), text, reads=((*path, "window"), (*path, "calls_min")))


def _check_deadline(draft: Draft, agent: str, rule: Breaker, deadline_s: float) -> Iterator[Mistake]:
    """A step that hangs must end by its own deadline: only that tells the breaker something about the agent."""
    path: KeyPath = ("agent", agent)
    here: KeyPath = (*path, "deadline")
    if rule.slow is not None and rule.slow >= deadline_s:
        text = f"a call that took {rule.slow:g} s has passed the step's deadline of {deadline_s:g} s, and failed"
        yield Mistake((*path, "breaker", "slow"), text, reads=((*path, "breaker", "slow"), here))
    longest_s = max((workflow.deadline for workflow in draft.scenario.workflow), default=0.0)
    if deadline_s >= longest_s > 0:
        text = (
            f"a step that hangs would be ended by the deadline of its workflow, {longest_s:g} s at most, before its "
            f"own of {deadline_s:g} s; that says nothing about the agent, and its breaker would stay closed: shorten it"
        )
        yield Mistake(here, text, reads=(here, (*path, "breaker"), ("workflow",)))


def _check_dependencies(draft: Draft) -> Iterator[Mistake]:
    scenario = draft.scenario
    used = set(services_of(scenario))
    if any(work.llm is not None for _, work in works_of(scenario)):
        used.add("llm")
    for name, rule in scenario.orchestrator.breaker.items():
        path = ("orchestrator", "breaker", name)
        if name not in DEPENDENCIES:
            yield Mistake(path, unknown_name("dependency", name, DEPENDENCIES))
            continue
        yield from _check_rule(draft, path, rule)
        if name not in used and draft.target_kind == "embedded":
            why = "no agent asks a model" if name == "llm" else f'store = "{scenario.state.store}"'
            text = f"{name} is not used ({why}), so nothing goes through its breaker; remove it"
            yield Mistake(path, text, reads=(path, ("state",), ("agent",), ("workflow",)))


def _check_shed(draft: Draft) -> Iterator[Mistake]:
    orchestrator, path = draft.scenario.orchestrator, ("orchestrator", "shed")
    if orchestrator.shed is None:
        return
    yield from positive(path, orchestrator.shed)
    if orchestrator.queue == 0:
        text = "nobody waits with queue = 0, so there is nothing to shed; remove one of the two"
        yield Mistake(path, text, reads=(path, ("orchestrator", "queue")))
    if draft.scenario.state.queue == "redis":
        text = "the queue in Redis is not shed by its age, only by its length; remove one of the two"
        yield Mistake(path, text, reads=(path, ("state", "queue")))
