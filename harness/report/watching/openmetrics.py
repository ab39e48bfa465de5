"""The state of a running run as OpenMetrics text, for Prometheus and what reads its format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from harness.observation.observation import Phase
from harness.report.watching.shown import Counted, Now
from harness.report.watching.state import RunState

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels = Mapping[str, object]
Sample = tuple[str, Labels, float]
"""What stands behind the family's name, labels, value."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name ends with its unit."""

    name: str
    kind: Literal["gauge", "counter", "info", "stateset"]
    help: str
    unit: str = ""

    def text(self, samples: Iterator[Sample]) -> Iterator[str]:
        """Its lines; none without a sample."""
        lines = [f"{self.name}{suffix}{_labels(labels)} {_number(value)}\n" for suffix, labels, value in samples]
        if lines:
            yield f"# TYPE {self.name} {self.kind}\n"
            if self.unit:
                yield f"# UNIT {self.name} {self.unit}\n"
            yield f"# HELP {self.name} {self.help}\n"
            yield from lines


RUN = Family("harness_run", "info", "What runs now: the execution is 1 for the run itself, more for what it is beside.")
LEVEL = Family("harness_level_number", "gauge", "Which of the run's levels goes on, from 1.")
LEVELS = Family("harness_levels", "gauge", "Levels of the run.")
PHASE = Family("harness_phase", "stateset", "The phase that the level is in.")
LEFT = Family("harness_phase_left_seconds", "gauge", "What is left of the phase, at most.", "seconds")
USERS = Family("harness_users", "gauge", "Users of the load generator.")
IN_FLIGHT = Family("harness_workflows_in_flight", "gauge", "Workflows that were submitted and have not ended.")
WORKFLOWS = Family("harness_workflows", "counter", "Arrivals that ended, by how; of warm-up and of the measure phase.")
LATENCY = Family(
    "harness_latency_seconds",
    "gauge",
    "Percentiles of the phase so far, from the intended start, to 1 %. The report has the exact ones.",
    "seconds",
)
CPU = Family(
    "harness_target_cpu_seconds", "counter", "CPU time of the target's process tree since the level began.", "seconds"
)
RSS = Family("harness_target_resident_memory_bytes", "gauge", "Resident memory of the target's process tree.", "bytes")
FAULTS = Family("harness_faults_active", "gauge", "Faults that act now.")
FAULT = Family("harness_fault_active", "gauge", "1 while a fault of that kind acts, 0 when it did before.")


def exposition(state: RunState) -> str:
    """Everything that is known now, in OpenMetrics 1.0."""
    now = state.now
    counted, faults = state.counted()
    where: Labels = {"scenario": now.scenario, "execution": now.execution, "level": now.level}
    going_on = bool(now.phase)
    families = [
        (RUN, iter([("_info", {**where, "seed": now.seed}, 1.0)] if now.scenario else [])),
        (LEVEL, _one(where, now.number if now.number else None)),
        (LEVELS, _one(where, now.count if now.number else None)),
        (PHASE, (("", {**where, PHASE.name: phase}, float(now.phase == phase)) for phase in Phase if now.number)),
        (LEFT, _one(where, now.left_s)),
        (USERS, _one(where, now.users if going_on else None)),
        (IN_FLIGHT, _one(where, now.in_flight if going_on else None)),
        (WORKFLOWS, _workflows(counted)),
        (LATENCY, _latency(now, where)),
        (CPU, _cpu(counted)),
        (RSS, _one(where, now.rss_bytes if going_on else None)),
        (FAULTS, _one(where, len(now.faults) if now.number else None)),
        (FAULT, (("", {**where, "fault": kind}, float(kind in now.faults)) for kind in faults)),
    ]
    return "".join(line for family, samples in families for line in family.text(samples)) + "# EOF\n"


def _one(labels: Labels, value: float | None) -> Iterator[Sample]:
    if value is not None:
        yield "", labels, value


def _workflows(counted: list[Counted]) -> Iterator[Sample]:
    for each in counted:
        where = {"scenario": each.scenario, "execution": each.execution, "level": each.level, "phase": each.phase}
        for outcome in ("ok", "failed", "unknown", "not_started"):
            yield "_total", {**where, "outcome": outcome}, getattr(each, outcome)


def _latency(now: Now, where: Labels) -> Iterator[Sample]:
    for name, value_s in (("p50", now.p50_s), ("p95", now.p95_s), ("p99", now.p99_s)):
        if now.phase and value_s is not None:
            yield "", {**where, "percentile": name}, value_s


def _cpu(counted: list[Counted]) -> Iterator[Sample]:
    """The newest of each level: its phases come one after the other."""
    newest = {(each.scenario, each.execution, each.level): each.cpu_s for each in counted}
    for (scenario, execution, level), cpu_s in newest.items():
        if cpu_s is not None:
            yield "_total", {"scenario": scenario, "execution": execution, "level": level}, cpu_s


def _labels(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(str(value))}"' for name, value in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return repr(float(value))
