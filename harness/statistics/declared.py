"""The part of a run's `scenario.json` that says what must be in its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import RunInvalid
from harness.scenario.models import Llm
from harness.scenario.scenario import Agent, Crash, Load, Outage, State, Work, Workflow
from harness.scenario.shapes import Step


class Declared(msgspec.Struct, frozen=True):
    """How load was applied, what agents do outside, and which faults were to happen."""

    load: Load
    workflow: tuple[Workflow, ...] = ()
    agent: Mapping[str, Agent] = {}
    shared: Mapping[str, Any] = {}
    crash: Crash | None = None
    outage: tuple[Outage, ...] = ()
    fault: tuple[Mapping[str, Any], ...] = ()
    state: State = State()
    llm: Llm | None = None
    objective: float | None = None

    def effects(self) -> dict[str, frozenset[str]]:
        """By kind of workflow, the steps with an effect in the outside world; kinds without one are left out."""
        return self._steps_that(lambda work: work.effect)

    def calls(self) -> dict[str, frozenset[str]]:
        """By kind of workflow, the steps that call a model; kinds without one are left out."""
        return self._steps_that(lambda work: work.llm is not None)

    def graphs(self) -> dict[str, tuple[Step, ...]]:
        """By kind of workflow, the steps that our own agents run."""
        return {workflow.kind: workflow.declared_steps for workflow in self._working}

    @property
    def updates_shared(self) -> bool:
        """Whether any workflow writes to a shared document."""
        return any(
            self._work(workflow, step.agent).update for workflow in self._working for step in workflow.declared_steps
        )

    @property
    def _working(self) -> tuple[Workflow, ...]:
        """Workflows that our own agents run: those of other targets declare no agents."""
        return self.workflow if self.agent else ()

    def _steps_that(self, applies: Callable[[Work], bool]) -> dict[str, frozenset[str]]:
        found = {
            workflow.kind: frozenset(
                step.name for step in workflow.declared_steps if applies(self._work(workflow, step.agent))
            )
            for workflow in self._working
        }
        return {kind: steps for kind, steps in found.items() if steps}

    def _work(self, workflow: Workflow, agent: str) -> Work:
        if agent in workflow.work:
            return workflow.work[agent]
        return self.agent[agent].work if agent in self.agent else Work()


def read_declared(run_dir: Path) -> Declared:
    """Read it. Raises RunInvalid when it is not a scenario's."""
    try:
        return msgspec.json.decode((run_dir / "scenario.json").read_bytes(), type=Declared)
    except (OSError, msgspec.DecodeError) as error:
        raise RunInvalid(f"{run_dir / 'scenario.json'} cannot be read: {error}") from None
