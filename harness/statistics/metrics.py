"""The metrics a limit can be set on: their names, units and meaning, each defined once.

No numpy here: limits are checked against these names before a run starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec

from harness.scenario.units import Kind, render

PERCENTILES: Mapping[str, float] = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
TOO_FEW_BELOW: Mapping[str, int] = {"p95": 72, "p99": 368}
"""Samples below which a percentile has no two-sided 95 % interval (quantile.n_for_interval); p50 needs only 6."""

SERVICES = ("redis", "postgres")


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


STATE_METRICS: Mapping[str, MetricType] = {
    "effects": MetricType("count", "neither", "acts that the witness performed"),
    "effects_replayed": MetricType("count", "neither", "acts that the witness had performed before"),
    "effects_refused": MetricType("count", "neither", "acts that the witness refused, because a newer owner had acted"),
    "dup_effects": MetricType("count", "less", "steps whose effect the witness performed more than once"),
    "zombie_effects": MetricType("count", "less", "acts done for an owner after a newer one had acted"),
    "effects_missing": MetricType("count", "less", "workflows that ended ok without all of their declared effects"),
    "lost_updates": MetricType("count", "less", "operations on shared documents that cannot have happened so"),
    "store_differences": MetricType("count", "less", "documents on which Redis and PostgreSQL disagreed at the end"),
    "taken_up": MetricType("count", "neither", "workflows of an earlier owner that a later one went on with"),
    "repairs": MetricType("count", "neither", "documents of Redis that were brought up to PostgreSQL's"),
    "requeued": MetricType("count", "neither", "accepted workflows that the queue had lost"),
    "promotions": MetricType("count", "neither", "times that Redis came back and was given what memory held"),
    "diverged": MetricType("count", "less", "documents whose provisional writes could not be taken over"),
    "conflicts": MetricType("count", "less", "compare-and-set writes of shared documents that were refused"),
    "fenced": MetricType("count", "neither", "writes that were refused, because another owner had taken over"),
    "provisional_writes": MetricType("count", "less", "writes to memory while Redis was away"),
    "provisional": MetricType("share", "less", "samples of the target's host in which it served from memory / all"),
}
"""Of state, effects and recovery: counts are of the whole level, and exist only where there is something to count."""

_CALL_METRICS: Mapping[str, MetricType] = {
    **_percentiles("answered streams, from the request to the first token,", "ttft_"),
    **_percentiles("answered streams, for each token after the first,", "tpot_"),
    **_percentiles("answered calls, from the request to the last byte,", "llm_"),
    "calls": MetricType(
        "count", "neither", "calls that were meant: steps that called a model, however often they tried"
    ),
    "amplification": MetricType("count", "less", "attempts / calls: 1 is none"),
    "rate_limited": MetricType("share", "less", "attempts refused with 429 / attempts", bounded=True),
    "llm_errors": MetricType("share", "less", "attempts neither answered whole nor 429 / attempts", bounded=True),
    "input_tokens": MetricType("count", "less", "tokens asked, of all attempts"),
    "output_tokens": MetricType("count", "less", "tokens answered, of all attempts"),
    "cost": MetricType("cost", "less", "of all attempts, failed ones included"),
}

LLM_METRICS: Mapping[str, MetricType] = {
    **_CALL_METRICS,
    "attempts": MetricType("count", "less", "requests to models by the arrivals of measure"),
    "attempts_per_workflow": MetricType("count", "less", "attempts / arrivals that were started"),
    "call_rate": MetricType("rate", "neither", "attempts / seconds of measure"),
    "unread_tokens": MetricType("count", "less", "tokens generated for a client that had gone, or behind a cut"),
    "cost_per_workflow": MetricType("cost", "less", "cost / arrivals that were started"),
    "cost_per_success": MetricType("cost", "less", "cost / arrivals that succeeded"),
    "calls_missing": MetricType("count", "less", "workflows that ended ok without an answer to each declared call"),
    "calls_doubled": MetricType("count", "less", "steps whose call was answered more than once, in the whole level"),
    "llm_queued_p95": MetricType(
        "duration", "less", "95% of attempts waited no longer for the cap on concurrent calls", bounded=True
    ),
    "llm_lateness_p99": MetricType(
        "duration",
        "less",
        "99% of answers ended no later than that after the moment the simulator had drawn",
        bounded=True,
    ),
    "llm_cpu": MetricType(
        "share", "less", "CPU seconds of the provider's tree / seconds of measure: 100 % is one core"
    ),
    "llm_rss_peak": MetricType("size", "less", "largest resident memory of the provider's tree in the whole level"),
    "sdk_cpu": MetricType("share", "less", "CPU seconds inside the SDKs / seconds of measure: 100 % is one core"),
    "sdk_share": MetricType("share", "less", "CPU seconds inside the SDKs / those of the process that calls them"),
    "sdk_cpu_per_call": MetricType("duration", "less", "CPU seconds inside the SDKs / attempts that ended"),
    **_percentiles(
        "workflows had an overhead (their time less the longest path of their models' times) that", "overhead_"
    ),
    "overhead_share": MetricType("share", "less", "median of overhead / time of a workflow", bounded=True),
}
"""Of calls to models, where there were any; a call belongs to measure if its workflow does."""

FAULT_METRICS: Mapping[str, MetricType] = {
    "ttd": MetricType(
        "duration", "less", "from a fault's first bite to the first breaker that opened or fallback, the slowest fault"
    ),
    "ttr": MetricType(
        "duration",
        "less",
        "from the lift of a fault to the end of the first of three windows with goodput and p95 as before it",
    ),
    "drain": MetricType(
        "duration", "less", "from the lift of a fault until all that was due before it and in flight had ended"
    ),
    "blast_radius": MetricType(
        "share", "less", "failed or slow workflows that never needed what was broken / failed or slow ones"
    ),
    "burn": MetricType("count", "less", "arrivals of measure that were not ok / those that the objective allows"),
    "cascade": MetricType("count", "less", "agents and breakers that failed and were not aimed at / those that were"),
    "false_takeovers": MetricType(
        "count", "less", "successors of an owner that was neither dead nor silent for as long as its lease"
    ),
    "goodput_share": MetricType("count", "more", "ok ends within measure / arrivals due within it"),
    "wake_spread": MetricType(
        "duration", "more", "distance of the quartiles of how long after a 429's Retry-After retries came"
    ),
    "wakes_early": MetricType("count", "less", "retries before a 429's Retry-After had passed"),
    "faulted_calls": MetricType("count", "neither", "attempts to call a model into which a fault was injected"),
    "wasted_tokens": MetricType("count", "less", "tokens of calls that nothing came of"),
    "wasted_cost": MetricType("cost", "less", "of calls that nothing came of"),
    "breaker_opened": MetricType("count", "neither", "times that a circuit breaker opened"),
    "breaker_closed": MetricType("count", "neither", "times that a circuit breaker closed again"),
    "breaker_refused": MetricType("count", "less", "calls that a circuit breaker refused"),
    "breaker_probes": MetricType("count", "neither", "calls that half-open breakers let through"),
    "breaker_over": MetricType("count", "less", "of those, more than are permitted at a time"),
}
"""Of faults, and of what there is against them: only where there is something to tell. FAULTS.md, section 1."""

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
    **_percentiles(
        "workflows spent, from acceptance to the end and beyond the longest path of their steps and waits for agents,",
        "orchestration_",
    ),
    "throughput": MetricType("rate", "more", "ok ends within measure / its length"),
    "cpu": MetricType("share", "less", "CPU seconds of the target's tree / seconds of measure: 100 % is one core"),
    "cpu_per_workflow": MetricType("duration", "less", "CPU seconds of the target's tree / workflows ended in measure"),
    "rss_peak": MetricType("size", "less", "largest resident memory of the target's tree in the whole level"),
    "rss_end": MetricType("size", "less", "resident memory of the target's tree in the level's last sample"),
    "rss_slope": MetricType("size", "less", "growth of resident memory in a minute of measure, single steps left out"),
    "rss_spread": MetricType("size", "less", "largest - smallest resident memory after warm-up"),
    "uss_peak": MetricType("size", "less", "largest memory that only the target's tree holds"),
    "fds_peak": MetricType("count", "less", "most open file descriptors of the target's tree"),
    "threads_peak": MetricType("count", "less", "most threads of the target's tree"),
    "switches": MetricType("rate", "less", "context switches of the target's tree a second of measure"),
    "loop_lag_p99": MetricType(
        "duration", "less", "99 % of the target's event-loop ticks in measure were late by less"
    ),
    "queue_depth_peak": MetricType("count", "less", "most workflows in the target's admission queue"),
    "offered": MetricType("share", "more", "arrivals that were sent, the target's rejections included / arrivals"),
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
    "lost": MetricType(
        "count", "less", "accepted by the target and never ended (durable state: or end never told), in the whole level"
    ),
    "duplicates": MetricType("count", "less", "further ends of a workflow that had ended, in the whole level"),
    "unfinished": MetricType("count", "less", "in flight when the run was cut short, in the whole level"),
    "retries": MetricType("count", "less", "attempts of steps beyond the first"),
    **STATE_METRICS,
    **FAULT_METRICS,
    **LLM_METRICS,
}

AGENT_METRICS: Mapping[str, MetricType] = {
    **_percentiles("steps, from getting an instance to the end,"),
    **_percentiles("steps, waiting for an instance of the agent's pool,", "wait_"),
    "busy": MetricType("duration", "less", "time in its steps / workflows, of all kinds"),
    "waiting": MetricType("duration", "less", "time waiting for an instance of it / workflows, of all kinds"),
    "pool_use": MetricType("share", "neither", "busy instance seconds / (pool size x seconds of measure)"),
    "steps": MetricType("count", "neither", "steps of the arrivals of measure"),
    "failed": MetricType("count", "less", "steps that did not end ok"),
    "retries": MetricType("count", "less", "attempts beyond the first"),
    **_CALL_METRICS,
    **_percentiles(
        "steps had an overhead (from asking for an instance to the end, less their model's time) that", "overhead_"
    ),
}
"""Of one agent; a limit names them `agent.<name>.<metric>`."""


SERVICE_METRICS: Mapping[str, MetricType] = {
    "response_p50": MetricType("duration", "less", "50% of the samples took no longer"),
    "response_p95": MetricType("duration", "less", "95% of the samples took no longer"),
    "response_p99": MetricType("duration", "less", "99% of the samples took no longer"),
    "down": MetricType("share", "less", "time from samples without an answer to the next sample / all time"),
    "outage": MetricType("duration", "less", "longest time from a sample without an answer to the next with one"),
    "commands": MetricType(
        "count", "less", "commands (Redis) or transactions (PostgreSQL) that the server carried out / workflows ended"
    ),
}
"""Of one service over the whole level; a limit names them `service.<name>.<metric>`."""

PARTS: Mapping[str, Mapping[str, MetricType]] = {"agent": AGENT_METRICS, "service": SERVICE_METRICS}
"""What a level has several of, each with metrics of its own."""


class PartName(NamedTuple):
    """The name of a metric of a part: `agent.<name>.<metric>` or `service.<name>.<metric>`."""

    part: str
    name: str
    metric: str


def split_part(name: str) -> PartName | None:
    """The name taken apart; None for a metric of the level."""
    part, dot, rest = name.partition(".")
    if not dot or part not in PARTS:
        return None
    owner, _, metric = rest.rpartition(".")
    return PartName(part, owner, metric)


def metric_type(name: str) -> MetricType | None:
    """What `name` measures; None when there is no such metric."""
    split = split_part(name)
    if split is None:
        return METRICS.get(name)
    return PARTS[split.part].get(split.metric) if split.name else None


def render_value(metric: Metric | None, unit: Kind) -> str:
    """The value for a sentence: `-` when nothing was measured, `>=` before a lower bound."""
    if metric is None or metric.value is None:
        return "-"
    return f"{'>= ' if metric.at_least else ''}{render(metric.value, unit)}"


def render_metric(metric: Metric | None, unit: Kind) -> str:
    """The value for a table: as in a sentence, with `*` after a percentile of too few samples."""
    return f"{render_value(metric, unit)}{'*' if metric and metric.too_few else ''}"
