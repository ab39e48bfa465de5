"""Where a workflow's time went: its latency taken apart, part by part, so that the parts add up to it.

Between the target's own stamps time belongs to the steps on the critical path: from the last step to end, back to the
one whose end came last before it was asked for, and so on. What lies between them is the orchestrator's, with the
state it keeps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.observation.observation import Observation, StepRecord
from harness.report.svg import Ink

NATURES: Mapping[str, Ink] = {
    "late start": "rose",
    "queue": "margin",
    "waiting for agents": "worse",
    "waiting for models": "same",
    "agents": "better",
    "orchestrator and state": "violet",
    "on the way": "dot",
}
"""Of what kind a part of the time is, in the order in which it is told."""
SLACK_S = 1e-4
"""A step may be stamped as ended so much after the next one was asked for."""
TYPICAL = (0.4, 0.6)
SLOW = 0.95
SHARE_MIN = 0.005


@dataclass(frozen=True, slots=True)
class Group:
    """Some of a level's workflows, and their mean times."""

    name: str
    count: int
    latency_s: float
    parts: Mapping[tuple[str, str], float]  # (nature, part) -> s a workflow

    def by_nature(self) -> dict[str, float]:
        """Nature -> s a workflow, in the order of NATURES."""
        found = dict.fromkeys(NATURES, 0.0)
        for (nature, _), seconds in self.parts.items():
            found[nature] += seconds
        return {nature: seconds for nature, seconds in found.items() if seconds > 0}


def groups(sampled: Sequence[Observation]) -> list[Group]:
    """All of them, those around the median, and the slowest twentieth."""
    ended = [each for each in sampled if each.ended is not None and each.started is not None and not each.censored]
    if not ended:
        return []
    ordered = sorted(ended, key=_latency)
    n = len(ordered)
    middle = ordered[int(n * TYPICAL[0]) : max(int(n * TYPICAL[1]), int(n * TYPICAL[0]) + 1)]
    slow = ordered[min(int(n * SLOW), n - 1) :]
    return [_group("all", ordered), _group("around the median", middle), _group("the slowest 5 %", slow)]


def telling(found: Sequence[Group]) -> list[tuple[str, str]]:
    """The parts that are at least SHARE_MIN of the latency of some group, in the order of their natures."""
    parts = dict.fromkeys(part for group in found for part in group.parts)
    order = list(NATURES)
    return [
        part
        for part in sorted(parts, key=lambda part: order.index(part[0]))
        if any(group.parts.get(part, 0.0) >= SHARE_MIN * group.latency_s for group in found)
    ]


def critical_path(steps: Sequence[StepRecord]) -> list[StepRecord]:
    """The steps that the end waited for, first to last."""
    left, path = list(steps), list[StepRecord]()
    while left:
        last = max(left, key=lambda step: step.ended)
        path.append(last)
        left = [step for step in left if step is not last and step.ended <= last.queued + SLACK_S]
    return path[::-1]


def _latency(each: Observation) -> float:
    return (each.ended or 0.0) - each.intended


def _group(name: str, workflows: Sequence[Observation]) -> Group:
    parts: defaultdict[tuple[str, str], float] = defaultdict(float)
    for workflow in workflows:
        for part, seconds in parts_of(workflow).items():
            parts[part] += seconds / len(workflows)
    latency_s = float(np.mean([_latency(workflow) for workflow in workflows]))
    order = list(NATURES)
    told = sorted(parts.items(), key=lambda item: (order.index(item[0][0]), -item[1]))
    return Group(name, len(workflows), latency_s, {part: seconds for part, seconds in told if seconds > 0})


def parts_of(workflow: Observation) -> dict[tuple[str, str], float]:
    """(nature, part) -> s. Their sum is the workflow's latency, to a rounding error of its clocks."""
    assert workflow.started is not None
    assert workflow.ended is not None
    parts: defaultdict[tuple[str, str], float] = defaultdict(float)
    parts["late start", "late start"] = max(0.0, workflow.started - workflow.intended)
    accepted, begun, over = workflow.target_accepted, workflow.target_started, workflow.target_ended
    path = critical_path(workflow.steps)
    if accepted is None or over is None:  # a black box: what is not a step of it is on the way or within it
        inside_s = workflow.ended - workflow.started
        parts["orchestrator and state", "the target, beyond its steps"] = inside_s - sum(_spent(parts, path))
        return dict(parts)
    parts["on the way", "on the way"] = max(0.0, workflow.ended - workflow.started - (over - accepted))
    queued_s = max(0.0, (begun or accepted) - accepted)
    parts["queue", "the admission queue"] = queued_s
    within_s = over - accepted - queued_s
    parts["orchestrator and state", "between steps"] = max(0.0, within_s - sum(_spent(parts, path)))
    return dict(parts)


def _spent(parts: defaultdict[tuple[str, str], float], path: Sequence[StepRecord]) -> list[float]:
    """Adds the steps to the parts; how long each took."""
    for step in path:
        took_s = max(0.0, step.ended - step.started)
        models_s = min(step.llm_wait_s, took_s)
        parts["waiting for agents", f"waiting for {step.agent}"] += max(0.0, step.started - step.queued)
        parts["waiting for models", f"models, asked by {step.agent}"] += models_s
        parts["agents", step.agent] += took_s - models_s
    return [max(0.0, step.ended - step.queued) for step in path]
