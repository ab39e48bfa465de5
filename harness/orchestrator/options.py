"""What the embedded orchestrator is told: its part of a scenario, as JSON between the CLI and the host process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from harness.errors import UsageError, unknown_name
from harness.llm.latency import MODELS
from harness.orchestrator.crash import CrashOrder
from harness.scenario.models import Llm
from harness.scenario.scenario import Agent, Orchestrator, Scenario, Shared, State, Work, Workflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where in a run this orchestrator stands: what it must know to put something on record."""

    level: str
    run_dir: str
    t0: float
    crash: CrashOrder | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The scenario's fields of the same names."""

    seed: int = 1
    time_scale: float = 1.0
    orchestrator: Orchestrator = field(default_factory=Orchestrator)
    agent: Mapping[str, Agent] = field(default_factory=dict)  # an agent that is not declared works for nothing
    workflow: tuple[Workflow, ...]
    state: State = field(default_factory=State)
    shared: Mapping[str, Shared] = field(default_factory=dict)
    llm: Llm | None = None
    placement: Placement | None = None  # None outside of a run

    @property
    def agents(self) -> frozenset[str]:
        """Every agent that a step of some workflow names."""
        return frozenset(step.agent for workflow in self.workflow for step in workflow.declared_steps)

    def declared(self, agent: str) -> Agent:
        """The agent as declared, or with everything at its default."""
        return self.agent.get(agent) or Agent()

    def work(self, workflow: Workflow, agent: str) -> Work:
        """What `agent` does in this kind of workflow."""
        return workflow.work.get(agent) or self.declared(agent).work

    @property
    def works(self) -> Iterator[tuple[str, Work]]:
        """Every work that a step of some workflow does, each with the key path it was declared at."""
        for workflow in self.workflow:
            for agent in dict.fromkeys(step.agent for step in workflow.declared_steps):
                own = agent in workflow.work
                path = f"workflow {workflow.kind!r}: work.{agent}" if own else f"agent.{agent}.work"
                yield path, self.work(workflow, agent)


def embedded_options(scenario: Scenario, placement: Placement | None = None) -> dict[str, Any]:
    """The part of a scenario that the embedded orchestrator is built from, in JSON's types."""
    options: dict[str, Any] = msgspec.to_builtins(
        Options(
            seed=scenario.seed,
            time_scale=scenario.time_scale,
            orchestrator=scenario.orchestrator,
            agent=scenario.agent,
            workflow=scenario.workflow,
            state=scenario.state,
            shared=scenario.shared,
            llm=scenario.llm,
            placement=placement,
        )
    )
    return options


def read_options(options: Mapping[str, Any]) -> Options:
    """The options, checked. Raises UsageError with every mistake, each with its place."""
    try:
        read = msgspec.convert(options, Options)
    except msgspec.ValidationError as error:
        raise UsageError(f"options of the embedded orchestrator: {error}") from None
    mistakes = [*_kind_mistakes(read), *_bound_mistakes(read)]
    for path, work in read.works:
        if work.think is not None and work.think.model not in MODELS:
            mistakes.append(f"{path}.think.model: {unknown_name('model', work.think.model, MODELS)}")
        if work.hand_over is not None and work.hand_over.to not in read.agent:
            mistakes.append(f"{path}.hand_over.to: {unknown_name('agent', work.hand_over.to, read.agent)}")
    if mistakes:
        raise UsageError(list(dict.fromkeys(mistakes)))
    return read


def _kind_mistakes(options: Options) -> Iterator[str]:
    kinds: set[str] = set()
    for workflow in options.workflow:
        place = f"workflow {workflow.kind!r}"
        if workflow.kind in kinds:
            yield f"{place}: declared twice; give each kind once, with a weight"
        kinds.add(workflow.kind)
        earlier: set[str] = set()
        for step in workflow.declared_steps:
            if step.name in earlier:
                yield f"{place}: two steps are named {step.name!r}"
            for need in step.needs:
                if need not in earlier:
                    yield f"{place}: step {step.name!r} needs {need!r}, which is no step before it"
            earlier.add(step.name)


def _bound_mistakes(options: Options) -> Iterator[str]:
    least = {
        "orchestrator.slots": (options.orchestrator.slots, 1),
        "orchestrator.queue": (options.orchestrator.queue, 0),
        "orchestrator.cpu_workers": (options.orchestrator.cpu_workers, 1),
        "orchestrator.retry_budget": (options.orchestrator.retry_budget, 0),
        "orchestrator.retry_wait": (options.orchestrator.retry_wait, 0),
        "orchestrator.shed": (options.orchestrator.shed or 0, 0),
        "time_scale": (options.time_scale, 0),
    }
    for name, agent in options.agent.items():
        least[f"agent.{name}.pool"] = (agent.pool, 1)
        least[f"agent.{name}.attempts"] = (agent.attempts, 1)
        least[f"agent.{name}.waiting"] = (agent.waiting or 0, 0)
    rules = {f"orchestrator.breaker.{name}": rule for name, rule in options.orchestrator.breaker.items()}
    rules |= {f"agent.{name}.breaker": agent.breaker for name, agent in options.agent.items() if agent.breaker}
    for path, rule in rules.items():
        least[f"{path}.calls_min"] = (rule.calls_min, 1)
        least[f"{path}.window"] = (rule.window, 1)
        least[f"{path}.half_open"] = (rule.half_open, 1)
    for path, (value, at_least) in least.items():
        if value < at_least:
            yield f"{path}: {value} is less than {at_least}"
