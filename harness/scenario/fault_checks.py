"""What a scenario may get wrong about its faults: their form, their time, what they need and are to bring about."""

from __future__ import annotations

from collections.abc import Iterator

from harness.errors import unknown_name
from harness.scenario.checks import Draft
from harness.scenario.faults import fault_mistakes, planned_faults
from harness.scenario.llm_checks import needs_llm
from harness.scenario.mistakes import KeyPath, Mistake
from harness.scenario.scenario import Scenario
from harness.scenario.state_checks import services_of

ERROR = "error."
"""What stands before the class of an error in `sometimes`."""


def check_sometimes(draft: Draft) -> Iterator[Mistake]:
    """`sometimes`: names of metrics, those of agents that there are, and of classes of errors."""
    known, agents = draft.known.metrics, draft.scenario.agent
    for position, name in enumerate(draft.scenario.sometimes):
        path: KeyPath = ("sometimes", position)
        part, _, rest = name.partition(".")
        owner, _, metric = rest.rpartition(".")
        if name.startswith(ERROR) and rest:
            continue
        if not owner or not part or part not in known:
            if name not in known.get("", ()):
                yield Mistake(path, unknown_name("metric", name, [*known.get("", ()), f"{ERROR}CLASS"]))
        elif metric not in known[part]:
            yield Mistake(path, unknown_name("metric", name, [f"{part}.{owner}.{each}" for each in known[part]]))
        elif part == "agent" and agents and owner not in agents:
            yield Mistake(path, unknown_name("agent", owner, agents), reads=(path, ("agent",)))


def check_faults(draft: Draft) -> Iterator[Mistake]:
    """The `[[fault]]` tables."""
    written, kinds = draft.scenario.fault, draft.known.faults
    mistakes = list(fault_mistakes(written, kinds, measure_s=draft.scenario.load.measure))
    yield from mistakes
    if not mistakes:
        yield from _needs(draft.scenario, draft)
    scenario = draft.scenario
    if scenario.objective is not None and scenario.objective >= 1:
        yield Mistake(("objective",), "leaves no error budget; ask for less than 100 %")
    llm_faults = scenario.llm.fault if scenario.llm is not None else ()
    if scenario.control and not (scenario.crash or scenario.outage or written or llm_faults):
        text = "is the same run without its faults, and there are none; remove it, or add [[fault]]"
        yield Mistake(("control",), text, reads=(("control",), ("fault",)))


def _needs_agent(scenario: Scenario, agent: str, path: KeyPath) -> Iterator[Mistake]:
    """Only the embedded orchestrator's agents can be told to misbehave."""
    agents = sorted({step.agent for workflow in scenario.workflow for step in workflow.declared_steps})
    if scenario.target != "embedded":
        yield Mistake(path, "only agents of the embedded orchestrator can be told to", reads=(path, ("target",)))
    elif scenario.crash or any(table.get("kind") == "target.kill" for table in scenario.fault):
        text = "an orchestrator that is killed and starts again knows of no such order; use one of the two"
        yield Mistake(path, text, reads=(path, ("crash",), ("fault",)))
    elif agent not in agents:
        yield Mistake(path, unknown_name("agent", agent, agents), reads=(path, ("workflow",)))


def _needs(scenario: Scenario, draft: Draft) -> Iterator[Mistake]:
    used = {*services_of(scenario), *(("llm",) if needs_llm(scenario) else ())}
    for position, planned in enumerate(planned_faults(scenario.fault, draft.known.faults)):
        path: KeyPath = ("fault", position, "kind")
        for need in planned.fault.needs:
            what, _, service = need.partition(":")
            if what == "agent":
                yield from _needs_agent(scenario, service, (*path[:-1], "agent"))
            elif need == "target" and scenario.target == "http":
                yield Mistake(path, "a black box is not ours to break", reads=(path, ("target",)))
            elif need == "store" and (scenario.target != "embedded" or scenario.state.store == "memory"):
                text = "what only memory knows is lost with its process; set [state] store, or say --state redis"
                yield Mistake(path, text, reads=(path, ("state", "store")))
            elif service and service not in used:
                text = f"{service} is not used by this scenario; say which [state] store, or which agents ask models"
                yield Mistake(path, text, reads=(path, ("state", "store")))
