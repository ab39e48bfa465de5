"""Sizes of a scenario that can be asked for: `agent.data.pool = 24`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from harness.errors import UsageError, unknown_name
from harness.scenario.fleet import Fleet, instances
from harness.scenario.scenario import Scenario
from harness.verdict.what_if import Sizes

_SIZE = re.compile(r"\s*([\w.-]+)\s*=\s*([0-9]+)\s*")


@dataclass(frozen=True, slots=True)
class Change:
    """One size of a scenario, made another."""

    name: str
    value: int

    def __str__(self) -> str:
        return f"{self.name} = {self.value}"

    def of(self, scenario: Scenario) -> Scenario:
        """The scenario with it."""
        if self.name in SIZES:
            return SIZES[self.name](scenario, self.value)
        agent = self.name.split(".")[1]
        return replace(scenario, agent={**scenario.agent, agent: replace(scenario.agent[agent], pool=self.value)})


SIZES: Mapping[str, Callable[[Scenario, int], Scenario]] = {
    "fleet.size": lambda scenario, size: replace(
        scenario, fleet=replace(scenario.fleet, size=size) if scenario.fleet else Fleet(size=size)
    ),
    "orchestrator.slots": lambda scenario, size: replace(
        scenario, orchestrator=replace(scenario.orchestrator, slots=size)
    ),
    "orchestrator.queue": lambda scenario, size: replace(
        scenario, orchestrator=replace(scenario.orchestrator, queue=size)
    ),
    "orchestrator.cpu_workers": lambda scenario, size: replace(
        scenario, orchestrator=replace(scenario.orchestrator, cpu_workers=size)
    ),
    "state.pool": lambda scenario, size: replace(scenario, state=replace(scenario.state, pool=size)),
}


def read_changes(texts: tuple[str, ...], scenario: Scenario) -> tuple[Change, ...]:
    """What `--what-if` asks for. Raises UsageError with every mistake."""
    known = [*(f"agent.{name}.pool" for name in scenario.agent), *SIZES]
    changes, mistakes = [], []
    if texts and scenario.target == "http":
        mistakes.append("--what-if: a black box's sizes are its own; change them there, and sweep again")
    for text in texts:
        match = _SIZE.fullmatch(text)
        if match is None or not int(match[2]):
            mistakes.append(f'--what-if {text}: write a size and a number from 1, like "{known[0]} = 8"')
        elif match[1] not in known:
            mistakes.append(f"--what-if {text}: {unknown_name('size', match[1], known)}")
        elif match[1] == "state.pool" and scenario.state.store not in ("postgres", "both"):
            mistakes.append(
                f'--what-if {text}: is of connections to PostgreSQL, and the store is "{scenario.state.store}"'
            )
        else:
            changes.append(Change(match[1], int(match[2])))
    if mistakes:
        raise UsageError(mistakes)
    return tuple(changes)


def sizes_of(scenario: Scenario) -> Sizes:
    """What a model knows of, over the whole fleet."""
    size, bounds = instances(scenario.fleet), scenario.orchestrator
    pools = {name: agent.pool * size for name, agent in scenario.agent.items()}
    return Sizes(pools, bounds.slots * size, bounds.queue * size)
