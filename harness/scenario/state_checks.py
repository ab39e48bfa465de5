"""What a scenario may get wrong about state that outlives a step: where it is kept, what is shared, what breaks.

`state_mistakes` speaks of a scenario's values alone, so it is asked again when the command line chose another store.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.errors import unknown_name
from harness.scenario.checks import Draft, at_least, positive
from harness.scenario.mistakes import KeyPath, Mistake
from harness.scenario.scenario import Scenario, Work

EFFECT_POINTS = ("before_effect", "after_effect")


def check_state(draft: Draft) -> Iterator[Mistake]:
    """State, shared documents, crashes and outages."""
    if draft.target_kind is None:
        return
    if draft.target_kind != "embedded":
        yield from _check_only_embedded(draft)
        return
    yield from state_mistakes(draft.scenario)
    yield from _check_shared(draft.scenario)


def services_of(scenario: Scenario) -> tuple[str, ...]:
    """The services that the scenario needs, by name."""
    redis = scenario.state.store in ("redis", "both") or scenario.state.queue == "redis"
    postgres = scenario.state.store in ("postgres", "both")
    return (*(("redis",) if redis else ()), *(("postgres",) if postgres else ()))


def works_of(scenario: Scenario) -> Iterator[tuple[KeyPath, Work]]:
    """Every declared work, with its place."""
    for name, agent in scenario.agent.items():
        yield ("agent", name, "work"), agent.work
    for position, workflow in enumerate(scenario.workflow):
        for name, work in workflow.work.items():
            yield ("workflow", position, "work", name), work


def state_mistakes(scenario: Scenario) -> Iterator[Mistake]:
    """What does not go together, or is out of bounds, about state, crashes and outages."""
    state = scenario.state
    store: KeyPath = ("state", "store")
    yield from positive(("state", "lease"), state.lease)
    yield from at_least(("state", "fallback_max"), state.fallback_max, 1)
    if state.ttl is not None:
        yield from positive(("state", "ttl"), state.ttl)
    if state.pool is not None:
        yield from at_least(("state", "pool"), state.pool, 1)
        if "postgres" not in services_of(scenario):
            text = f'is of connections to PostgreSQL, and the store is "{state.store}"; remove it'
            yield Mistake(("state", "pool"), text, reads=(("state", "pool"), store))
    if state.fallback and state.store != "redis":
        text = f'is what happens while Redis is away, and the store is "{state.store}"; remove it'
        yield Mistake(("state", "fallback"), text, reads=(("state", "fallback"), store))
    if state.queue == "redis" and state.store == "memory":
        text = 'a durable queue of workflows that only memory knows of holds nothing; set store = "postgres"'
        yield Mistake(("state", "queue"), text, reads=(("state", "queue"), store))
    yield from _check_crash(scenario)
    for position, outage in enumerate(scenario.outage):
        path: KeyPath = ("outage", position)
        yield from positive((*path, "lasts"), outage.lasts)
        if outage.service not in services_of(scenario):
            text = f'{outage.service} is not used with store = "{state.store}"'
            yield Mistake((*path, "service"), text, reads=((*path, "service"), store))
        if outage.at + outage.lasts > scenario.load.measure:
            text = f"ends {outage.at + outage.lasts:g} s into a measure of {scenario.load.measure:g} s"
            yield Mistake(path, text, reads=(path, ("load", "measure")))
        for number, before in enumerate(scenario.outage[:position]):
            apart = outage.at >= before.at + before.lasts or before.at >= outage.at + outage.lasts
            if outage.service == before.service and not apart:
                text = f"overlaps outage[{number}], with which {outage.service} is away already; make it one"
                yield Mistake(path, text, reads=(path, ("outage", number)))


def _check_crash(scenario: Scenario) -> Iterator[Mistake]:
    crash = scenario.crash
    if crash is None:
        return
    points = (*crash.kill, *crash.pause)
    yield from positive(("crash", "every"), crash.every)
    if not points:
        yield Mistake(("crash",), "names no point; add kill or pause", reads=(("crash", "kill"), ("crash", "pause")))
    if scenario.state.store == "memory":
        text = "what only memory knows is lost with its process; set [state] store, or say --state redis"
        yield Mistake(("crash",), text, reads=(("crash",), ("state", "store")))
    if "between_stores" in points and scenario.state.store not in ("both", "memory"):
        text = f'there is nothing between stores with store = "{scenario.state.store}"'
        yield Mistake(("crash",), text, reads=(("crash",), ("state", "store")))
    if set(points) & set(EFFECT_POINTS) and not any(work.effect for _, work in works_of(scenario)):
        yield Mistake(
            ("crash",), "no agent has an effect, so that point is never passed", reads=(("crash",), ("agent",))
        )
    if scenario.load.burst:
        yield Mistake(("crash",), "needs load that goes on: closed or open", reads=(("crash",), ("load",)))


def _check_shared(scenario: Scenario) -> Iterator[Mistake]:
    updated: set[str] = set()
    for path, work in works_of(scenario):
        updated.update(work.update)
        for position, name in enumerate(work.update):
            if name not in scenario.shared:
                here: KeyPath = (*path, "update", position)
                text = f"{unknown_name('shared document', name, scenario.shared)}; add [shared.{name}]"
                yield Mistake(here, text, reads=(here, ("shared",)))
    for name, shared in scenario.shared.items():
        yield from at_least(("shared", name, "attempts"), shared.attempts, 1)
        if name not in updated:
            yield Mistake(("shared", name), "is declared, but no agent's work updates it", reads=(("agent",),))


def _check_only_embedded(draft: Draft) -> Iterator[Mistake]:
    """A Python target may ask for services (`state.store`); everything else is the embedded orchestrator's."""
    scenario = draft.scenario
    text = f"only the embedded target reads this, and the target is {scenario.target!r}; remove it"
    for table in ("shared", "crash", "outage"):
        if draft.wrote(table):
            yield Mistake((table,), text, reads=(("target",),))
    written = draft.written.get("state")
    for key in written if isinstance(written, dict) else ():
        if key != "store" or draft.target_kind != "python":
            yield Mistake(("state", key), text, reads=(("target",),))
