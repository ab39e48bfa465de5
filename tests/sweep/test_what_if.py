"""Sizes that can be asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import UsageError
from harness.scenario.fleet import Fleet
from harness.scenario.scenario import Agent, Load, Scenario, State, Workflow
from harness.sweep.what_if import read_changes, sizes_of

SCENARIO = Scenario(
    name="s",
    description="",
    load=Load(closed=(1,)),
    workflow=(Workflow(kind="a"),),
    agent={"data": Agent(pool=4), "triage": Agent(pool=2)},
)


def test_a_size_becomes_another() -> None:
    """Only that one."""
    texts = ("agent.data.pool = 9", "fleet.size=3", "orchestrator.slots = 7", "orchestrator.queue = 8",
             "orchestrator.cpu_workers = 2")  # fmt: skip
    pool, fleet, slots, queue, workers = (change.of(SCENARIO) for change in read_changes(texts, SCENARIO))
    assert sizes_of(pool).pools == {"data": 9, "triage": 2}
    assert replace(pool, agent=SCENARIO.agent) == SCENARIO
    assert sizes_of(fleet).pools == {"data": 12, "triage": 6}
    balanced = replace(SCENARIO, fleet=Fleet(size=2, balance="least_loaded"))
    assert read_changes(("fleet.size = 3",), SCENARIO)[0].of(balanced).fleet == Fleet(size=3, balance="least_loaded")
    assert sizes_of(fleet)[1:] == (3000, 3000)
    assert (sizes_of(slots).slots, sizes_of(queue).queue) == (7, 8)
    assert sizes_of(workers) == sizes_of(SCENARIO)
    assert (slots.orchestrator.slots, queue.orchestrator.queue, workers.orchestrator.cpu_workers) == (7, 8, 2)
    stored = replace(SCENARIO, state=State(store="postgres"))
    [pooled] = read_changes(("state.pool = 5",), stored)
    assert pooled.of(stored).state.pool == 5


def test_all_mistakes_are_told_at_once() -> None:
    """With the names that there are."""
    with pytest.raises(UsageError) as told:
        read_changes(("agent.data.pool", "agent.date.pool = 4", "fleet.size = 0", "state.pool = 3"), SCENARIO)
    form, name, zero, store = told.value.mistakes
    assert 'write a size and a number from 1, like "agent.data.pool = 8"' in form
    assert "did you mean 'agent.data.pool'?" in name
    assert "a number from 1" in zero
    assert 'the store is "memory"' in store
