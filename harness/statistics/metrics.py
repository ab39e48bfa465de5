"""The metrics a limit can be set on: their names, units and meaning, each defined once.

No numpy here: limits are checked against these names before a run starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from harness.scenario.units import Kind, render

PERCENTILES: Mapping[str, float] = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
TOO_FEW_BELOW: Mapping[str, int] = {"p95": 72, "p99": 368}
"""Samples below which a percentile has no two-sided 95 % interval (quantile.n_for_interval); p50 needs only 6."""

AGENT_PREFIX = "agent."


@dataclass(frozen=True, slots=True)
class MetricType:
    """What a metric's number is. `meaning` is its definition, as documentation prints it."""

    unit: Kind
    better: Literal["less", "more", "neither"]
    meaning: str
    bounded: bool = False  # has exact 95 % bounds: a percentile or a share of independent workflows or steps


class Metric(msgspec.Struct, frozen=True, omit_defaults=True):
    """One measured number.

    `lower` and `upper` are exact one-sided 95 % bounds of the true value, where the metric has them: each alone errs
    in at most 5 % of runs.
    """

    value: float | None  # in the unit of its MetricType; None: no sample reached it
    n: int = 0  # workflows, steps or resource samples behind it
    lower: float | None = None
    upper: float | None = None
    too_few: bool = False  # a percentile of fewer samples than a two-sided 95 % interval needs
    at_least: bool = False  # the true value may be larger: workflows at this rank had not ended when we stopped waiting


def _percentiles(of: str, prefix: str = "") -> dict[str, MetricType]:
    return {
        f"{prefix}{name}": MetricType("duration", "less", f"{share:.0%} of {of} took no longer", bounded=True)
        for name, share in PERCENTILES.items()
    }


METRICS: Mapping[str, MetricType] = {
    "success": MetricType("share", "more", "ok / arrivals of measure", bounded=True),
    "error": MetricType("share", "less", "(failed + unknown, censored included) / arrivals of measure", bounded=True),
    "rejected": MetricType("share", "less", "rejected by the target's queue / arrivals of measure", bounded=True),
    "degraded": MetricType("share", "less", "degraded successes / all successes", bounded=True),
    **_percentiles("workflows, from the intended start to the end,"),
    **_percentiles("workflows, from the real start to the end,", "service_"),
    **_percentiles("workflows whose end the target told, from acceptance to the end,", "target_"),
    **_percentiles("workflows whose end the target told, from acceptance to the start,", "admission_"),
    **_percentiles("starts, after the intended moment,", "lateness_"),
    "throughput": MetricType("rate", "more", "ok ends within measure / its length"),
    "cpu": MetricType("share", "less", "CPU seconds of the target's tree / seconds of measure: 100 % is one core"),
    "cpu_per_workflow": MetricType("duration", "less", "CPU seconds of the target's tree / workflows ended in measure"),
    "rss_peak": MetricType("size", "less", "largest resident memory of the target's tree in the whole level"),
    "rss_end": MetricType("size", "less", "resident memory of the target's tree in the level's last sample"),
    "rss_spread": MetricType("size", "less", "largest - smallest resident memory after warm-up"),
    "uss_peak": MetricType("size", "less", "largest memory that only the target's tree holds"),
    "fds_peak": MetricType("count", "less", "most open file descriptors of the target's tree"),
    "threads_peak": MetricType("count", "less", "most threads of the target's tree"),
    "switches": MetricType("rate", "less", "context switches of the target's tree a second of measure"),
    "loop_lag_p99": MetricType(
        "duration", "less", "99 % of the target's event-loop ticks in measure were late by less"
    ),
    "queue_depth_peak": MetricType("count", "less", "most workflows in the target's admission queue"),
    "arrivals": MetricType("count", "neither", "workflows whose intended start lies in measure"),
    "ok": MetricType("count", "more", "arrivals that succeeded"),
    "failed": MetricType("count", "less", "arrivals that definitely were not done"),
    "unknown": MetricType(
        "count", "less", "arrivals that may have been done: timeouts, cut connections, censored ones"
    ),
    "not_started": MetricType("count", "less", "arrivals shed by us or rejected by the target"),
    "rejected_count": MetricType("count", "neither", "arrivals rejected by the target's queue"),
    "censored": MetricType("count", "less", "arrivals still unfinished when the drain ended"),
    "corrupted": MetricType("count", "less", "wrong results, in the whole level"),
    "lost": MetricType("count", "less", "accepted by the target and never ended, in the whole level"),
    "duplicates": MetricType("count", "less", "further ends of a workflow that had ended, in the whole level"),
    "unfinished": MetricType("count", "less", "in flight when the run was cut short, in the whole level"),
}

AGENT_METRICS: Mapping[str, MetricType] = {
    **_percentiles("steps, from getting an instance to the end,"),
    **_percentiles("steps, waiting for an instance of the agent's pool,", "wait_"),
    "pool_use": MetricType("share", "neither", "busy instance seconds / (pool size x seconds of measure)"),
    "steps": MetricType("count", "neither", "steps of the arrivals of measure"),
    "failed": MetricType("count", "less", "steps that did not end ok"),
    "retries": MetricType("count", "less", "attempts beyond the first"),
}
"""Of one agent; a limit names them `agent.<name>.<metric>`."""


def split_agent(name: str) -> tuple[str, str] | None:
    """The agent and the metric of `agent.<name>.<metric>`; None for a metric of the level."""
    if not name.startswith(AGENT_PREFIX):
        return None
    agent, _, metric = name.removeprefix(AGENT_PREFIX).rpartition(".")
    return agent, metric


def metric_type(name: str) -> MetricType | None:
    """What `name` measures; None when there is no such metric."""
    split = split_agent(name)
    if split is None:
        return METRICS.get(name)
    agent, metric = split
    return AGENT_METRICS.get(metric) if agent else None


def render_value(metric: Metric | None, unit: Kind) -> str:
    """The value for a sentence: `-` when nothing was measured, `>=` before a lower bound."""
    if metric is None or metric.value is None:
        return "-"
    return f"{'>= ' if metric.at_least else ''}{render(metric.value, unit)}"


def render_metric(metric: Metric | None, unit: Kind) -> str:
    """The value for a table: as in a sentence, with `*` after a percentile of too few samples."""
    return f"{render_value(metric, unit)}{'*' if metric and metric.too_few else ''}"
