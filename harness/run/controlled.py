"""A run and its control arm: the same load and seed once more, with nothing broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.run.listening import Interrupt, Listener
from harness.run.plan import Plan
from harness.run.run import execute
from harness.scenario.scenario import Scenario
from harness.verdict.control import CONTROL


def execute_controlled(plan: Plan, listener: Listener, interrupt: Interrupt, tell: Callable[[str], None]) -> Path:
    """As `execute`; where the scenario asks for a control arm, that is run, too, into a folder of the run's.

    Raises what `execute` raises.
    """
    run_dir = execute(plan, listener, interrupt)
    if plan.scenario.control and not interrupt.asked.is_set():
        tell("the control arm: the same once more, with nothing broken")
        whole = replace(plan, scenario=unbroken(plan.scenario), limits_path=None, reports=run_dir / CONTROL)
        execute(whole, listener, interrupt)
    return run_dir


def unbroken(scenario: Scenario) -> Scenario:
    """The scenario without anything that is broken on purpose."""
    llm = replace(scenario.llm, fault=()) if scenario.llm is not None else None
    return replace(scenario, crash=None, outage=(), fault=(), llm=llm, control=False, sometimes=())
