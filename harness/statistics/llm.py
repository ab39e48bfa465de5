"""Metrics of calls to models, of a level and of its agents, from what the provider wrote of every attempt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harness.observation.observation import LlmUse, ResourceSample
from harness.scenario.shapes import Step
from harness.statistics.calls import ANSWERED, ATTRIBUTED, NAMED, STREAM, Calls, LevelCalls, having
from harness.statistics.latency import percentiles, share_metric
from harness.statistics.metrics import Metric
from harness.statistics.overhead import overheads
from harness.statistics.resources import NOTHING, Window, cpu_share, growth
from harness.statistics.tally import NOT_STARTED, OK, LevelTally, Rows, outcome

REFUSED = 429


class LlmMetrics(NamedTuple):
    """Both are empty when the level has no calls."""

    level: dict[str, Metric]
    agents: dict[str, dict[str, Metric]]


def llm_metrics(
    calls: LevelCalls | None,
    found: Sequence[ResourceSample],
    by_kind: Mapping[str, Rows],
    graphs: Mapping[str, Sequence[Step]],
    tally: LevelTally,
    window: Window | None,
) -> LlmMetrics:
    """`by_kind` are the arrivals of measure: a call counts if its workflow is one of them, whatever became of the
    call; one that names no workflow counts if it came within measure. `graphs`: by kind, where they are known."""
    if calls is None or not len(calls):
        return LlmMetrics({}, {})
    arrivals = [rows for rows in by_kind.values() if len(rows)]
    rows = _of_measure(calls.rows, arrivals, window)
    time = overheads(rows, by_kind, graphs, tally)
    level = {
        **_call_metrics(rows),
        **_totals(rows, arrivals, window),
        **_lateness(rows),
        **percentiles(time.workflows, prefix="overhead_"),
        "overhead_share": percentiles(time.shares)["p50"],
        **_sdk_metrics(found, window),
        **_provider_metrics(found, window),
    }
    agents = {
        name: {
            **_call_metrics(rows[rows["agent"] == number]),
            **percentiles(time.steps.get(name, np.empty(0)), prefix="overhead_"),
        }
        for name, number in calls.agents.items()
    }
    return LlmMetrics(level, agents)


def _of_measure(rows: Calls, arrivals: Sequence[Rows], window: Window | None) -> Calls:
    is_attributed = having(rows, ATTRIBUTED)
    ids = np.concatenate([some["id_hash"] for some in arrivals] or [np.empty(0, dtype=np.int64)])
    chosen = is_attributed & np.isin(rows["workflow"], ids)
    if window is not None:
        chosen |= ~is_attributed & (rows["at"] >= window.start) & (rows["at"] < window.end)
    return rows[chosen]


def _logical(rows: Calls) -> int:
    """How many calls were meant: a step asks once, however often it tries; of other calls the SDK says which repeat."""
    is_named = having(rows, NAMED)
    return len(np.unique(rows["step"][is_named])) + int(np.sum(rows["attempt"][~is_named] == 0))


def _call_metrics(rows: Calls) -> dict[str, Metric]:
    """What a level and an agent both have."""
    n, logical = len(rows), _logical(rows)
    is_answered = having(rows, ANSWERED)
    answered = rows[is_answered]
    streamed = answered[having(answered, STREAM) & ~np.isnan(answered["ttft"])]
    several = streamed[streamed["output"] >= 2]
    refused = int(np.sum(rows["status"] == REFUSED))
    return {
        **percentiles(streamed["ttft"], prefix="ttft_"),
        **percentiles((several["ended"] - several["ttft"]) / (several["output"] - 1), prefix="tpot_"),
        **percentiles(answered["ended"], prefix="llm_"),
        "calls": Metric(value=logical, n=n),
        "amplification": Metric(value=n / logical, n=logical) if logical else NOTHING,
        "rate_limited": share_metric(refused, n),
        "llm_errors": share_metric(n - len(answered) - refused, n),
        "input_tokens": _sum(rows, "input"),
        "output_tokens": _sum(rows, "output"),
        "cost": _cost(rows),
    }


def _sum(rows: Calls, column: str) -> Metric:
    return Metric(value=int(np.sum(rows[column])), n=len(rows))


def _cost(rows: Calls) -> Metric:
    """Of all attempts, the failed ones, too: they are paid. Not known when one of them has no price."""
    cost = float(np.sum(rows["cost"]))
    return NOTHING if math.isnan(cost) else Metric(value=cost, n=len(rows))


def _totals(rows: Calls, arrivals: Sequence[Rows], window: Window | None) -> dict[str, Metric]:
    n = len(rows)
    ended_as = np.concatenate([outcome(some) for some in arrivals] or [np.empty(0, dtype=np.int64)])
    started, ok = int(np.sum(ended_as != NOT_STARTED)), int(np.sum(ended_as == OK))
    cost = _cost(rows).value
    return {
        "attempts": Metric(value=n, n=n),
        "attempts_per_workflow": Metric(value=n / started, n=started) if started else NOTHING,
        "call_rate": Metric(value=n / window.length_s, n=n) if window else NOTHING,
        "unread_tokens": _sum(rows, "unread"),
        "cost_per_workflow": _over(cost, started),
        "cost_per_success": _over(cost, ok),
    }


def _over(cost: float | None, n: int) -> Metric:
    return NOTHING if cost is None or not n else Metric(value=cost / n, n=n)


def _lateness(rows: Calls) -> dict[str, Metric]:
    """How late the provider itself was: to let calls go to the real API, and to end what it had planned."""
    answered = rows[having(rows, ANSWERED)]
    late = percentiles(answered["ended"] - answered["ended_planned"])["p99"]
    return {"llm_queued_p95": percentiles(rows["queued"])["p95"], "llm_lateness_p99": late}


def _sdk_metrics(found: Sequence[ResourceSample], window: Window | None) -> dict[str, Metric]:
    """What the SDKs took of the target's CPU, as its host told."""
    uses: list[tuple[float, LlmUse]] = [
        (sample.at, sample.host.llm) for sample in found if sample.host is not None and sample.host.llm is not None
    ]
    metrics = {"sdk_cpu": NOTHING, "sdk_share": NOTHING, "sdk_cpu_per_call": NOTHING}
    grown = growth([(at, use.sdk_cpu_s) for at, use in uses], window) if window else None
    if window is None or grown is None:
        return metrics
    share, n = grown[0] / grown[1], sum(window.holds(at) for at, _ in uses)
    metrics["sdk_cpu"] = Metric(value=share, n=n)
    process = growth([(at, use.process_cpu_s) for at, use in uses], window)
    if process is not None and process[0]:
        metrics["sdk_share"] = Metric(value=grown[0] / process[0], n=n)
    ended = growth([(at, use.calls) for at, use in uses], window)
    if ended is not None and ended[0]:
        metrics["sdk_cpu_per_call"] = Metric(value=grown[0] / ended[0], n=round(ended[0]))
    return metrics


def _provider_metrics(found: Sequence[ResourceSample], window: Window | None) -> dict[str, Metric]:
    uses = [(sample.at, sample.llm) for sample in found if sample.llm is not None]
    peak = max((use.rss_bytes for _, use in uses), default=None)
    return {
        "llm_cpu": cpu_share(uses, window) if window else NOTHING,
        "llm_rss_peak": Metric(value=peak, n=len(uses)),
    }
