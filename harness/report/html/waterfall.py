"""One workflow, step by step: when each was asked for, began and ended, and whether the end waited for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.observation.observation import Observation
from harness.report.html.times import critical_path
from harness.report.rows import plain
from harness.scenario.units import render

STEPS_MAX = 40


@dataclass(frozen=True, slots=True)
class Bar:
    """A row: shares of the workflow's latency, in percent from its intended start."""

    name: str
    agent: str
    queued: float
    started: float
    ended: float
    critical: bool
    outcome: str
    says: str


@dataclass(frozen=True, slots=True)
class Waterfall:
    """A workflow and its steps, in the order in which they were asked for."""

    title: str
    says: str
    bars: tuple[Bar, ...]
    left_out: int


def waterfalls(shown: Sequence[Observation]) -> Iterator[Waterfall]:
    """The first is the typical one, the others the slowest."""
    for n, workflow in enumerate(shown):
        title = "A typical workflow" if n == 0 else f"The slowest ({n})" if len(shown) > 2 else "The slowest"
        yield _waterfall(title, workflow)


def _waterfall(title: str, workflow: Observation) -> Waterfall:
    ended = workflow.ended if workflow.ended is not None else workflow.intended
    length_s = max(ended - workflow.intended, 1e-9)
    path = {id(step) for step in critical_path(workflow.steps)}
    steps = sorted(workflow.steps, key=lambda step: step.queued)
    bars = []
    for step in steps[:STEPS_MAX]:
        queued, started, over = (
            min(100.0, max(0.0, (at - workflow.intended) / length_s * 100.0))
            for at in (step.queued, step.started, step.ended)
        )
        waited, took = render(max(0.0, step.started - step.queued), "duration"), step.ended - step.started
        says = f"waited {waited}, took {render(max(0.0, took), 'duration')}"
        if step.llm_wait_s:
            says += f", of it models {render(step.llm_wait_s, 'duration')}"
        if step.attempts > 1:
            says += f", {step.attempts} attempts"
        bars.append(
            Bar(plain(step.name), plain(step.agent), queued, started, over, id(step) in path, step.outcome.value, says)
        )
    least = "at least " if workflow.censored else ""
    ending = f"{workflow.outcome.value} {plain(workflow.error_class)}".strip()
    says = f"{plain(workflow.id)} ({plain(workflow.kind)}): {ending} after {least}{render(length_s, 'duration')}"
    return Waterfall(title, says, tuple(bars), max(0, len(steps) - STEPS_MAX))
