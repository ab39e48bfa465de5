"""One level's summary: every metric of it, once, with n and bounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.observation.manifest import LevelStatus, Manifest
from harness.observation.observation import ResourceSample
from harness.statistics.breakers import BreakerUse
from harness.statistics.breaking import breaking
from harness.statistics.crashes import Recovery, recoveries
from harness.statistics.disturbance import disturbed_shares
from harness.statistics.evidence import Evidence
from harness.statistics.generator import Generator, check_generator, contamination
from harness.statistics.health import ServiceSeries, service_metrics, service_series
from harness.statistics.latency import (
    Block,
    block_edges,
    blocks,
    deciles,
    latency_percentiles,
    other_percentiles,
    percentiles,
    share_metric,
    step_blocks,
)
from harness.statistics.llm import llm_metrics
from harness.statistics.metrics import Metric, split_part
from harness.statistics.overhead import orchestration
from harness.statistics.promises import RunFacts, count_promises
from harness.statistics.quantile import Floats
from harness.statistics.resilience import FaultRow
from harness.statistics.resources import Window, host_metrics, pool_use, process_metrics, state_metrics
from harness.statistics.tally import (
    CENSORED,
    DEGRADED,
    FAILED,
    MEASURE,
    NOT_STARTED,
    OK,
    REJECTED,
    UNKNOWN,
    WORKFLOW_ROW,
    LevelTally,
    Rows,
    flagged,
    outcome,
)

Status = LevelStatus | Literal["unfinished", "not_run"]
"""How a level ended; `unfinished`: the run was killed within it, `not_run`: it never began."""

REFUSED_BY_US: tuple[Status, ...] = ("budget_spent", "replay_ended")
"""Ends at which we refused calls to models ourselves, so that what failed last may have failed of that."""

CUT: tuple[Status, ...] = ("interrupted", "harness_failed", "unfinished", *REFUSED_BY_US)
"""Ends that are our doing: what was in flight is `unfinished` then, and speaks for no outcome."""


class LevelSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured in one level. Metrics are named and defined in `statistics/metrics.py`."""

    level: str
    status: Status
    message: str = ""  # why, when the status is not `complete`
    ended: bool  # the journal holds the mark after which nothing of the level is missing
    measure_s: float | None  # length of the measure phase; None when it was never reached
    metrics: dict[str, Metric]
    agents: dict[str, dict[str, Metric]]
    services: dict[str, dict[str, Metric]] = {}
    service_series: dict[str, ServiceSeries] = {}
    kinds: dict[str, dict[str, Metric]]
    errors: dict[str, int]  # by error class, most frequent first
    degraded: dict[str, int]  # by reason, most frequent first
    blocks: tuple[Block, ...]
    quantiles: dict[str, float] = {}  # p10, p20 … p90, p95, p99 of the time from the intended start, s
    agent_blocks: dict[str, tuple[Block, ...]] = {}  # of its steps; percentiles of the time from start to end
    generator: Generator
    contaminated: tuple[str, ...]  # why the latencies may be the generator's own
    crashes: tuple[Recovery, ...] = ()
    faults: tuple[FaultRow, ...] = ()
    breakers: tuple[BreakerUse, ...] = ()
    offenders: dict[str, tuple[str, ...]] = {}  # by metric of what must never happen: the first of who did it
    missing: tuple[str, ...] = ()  # what the run's files should hold and do not
    not_fired: tuple[str, ...] = ()  # faults that were declared and did not take place
    undeclared: tuple[str, ...] = ()  # services that were away, and nobody had asked for it

    def metric(self, name: str) -> Metric:
        """The metric of that name, those of agents and services included; without a value when nothing reached it."""
        split = split_part(name)
        if split is None:
            return self.metrics.get(name, Metric(value=None))
        parts = self.agents if split.part == "agent" else self.services
        return parts.get(split.name, {}).get(split.metric, Metric(value=None))


def summarise_level(
    label: str, run: RunFacts, tally: LevelTally, evidence: Evidence, in_flight_max: int | None
) -> LevelSummary:
    """`evidence` is what the level left beside the journal; `in_flight_max` the cap on users, None for closed load."""
    found = evidence.samples
    status, message = _status(label, run.manifest, tally)
    window = _window(tally, found)
    by_kind, duplicates = tally.ended_once()
    everything = np.concatenate(list(by_kind.values())) if by_kind else np.empty(0, dtype=WORKFLOW_ROW)
    arrivals = _of_measure(everything, status)
    final, complete = "end" in tally.marks and status not in CUT, status == "complete"
    promises = count_promises(tally, by_kind, duplicates, evidence, run, final=final, complete=complete)
    kinds = {kind: _of_measure(rows, status) for kind, rows in by_kind.items()}
    metrics = {
        **_arrival_metrics(arrivals),
        **other_percentiles(arrivals),
        **percentiles(orchestration(kinds, run.graphs, tally), prefix="orchestration_"),
        **promises.metrics,
        "unfinished": _unfinished(tally, everything, status, final=final),
        **_work_done(tally, everything, window),
        **_resource_metrics(found, window, int(np.sum(_ended_within(everything, window)))),
        **(broken := breaking(run, tally, evidence, by_kind, everything, window)).metrics,
        **(models := llm_metrics(evidence.calls, found, kinds, run.graphs, tally, window)).level,
    }
    return LevelSummary(
        level=label,
        status=status,
        message=message,
        ended="end" in tally.marks,
        measure_s=window.length_s if window else None,
        metrics=metrics,
        agents=_agents(tally, pool_use(found, window), models.agents, len(arrivals)),
        services=service_metrics(evidence.health, len(everything)),
        service_series=service_series(evidence.health),
        kinds={kind: _arrival_metrics(rows) for kind, rows in kinds.items()},
        errors=_ranked(tally.errors),
        degraded=_ranked(tally.degraded),
        blocks=blocks(arrivals, window, disturbed_shares(found, block_edges(window))) if window else (),
        quantiles=deciles(arrivals),
        agent_blocks=_agent_blocks(tally, window),
        generator=(generator := check_generator(found, tally, window, metrics, in_flight_max)),
        contaminated=contamination(generator, metrics),
        crashes=recoveries(evidence.crashes, everything, len(tally.open), found),
        faults=broken.faults,
        breakers=broken.breakers,
        offenders=promises.offenders,
        missing=tuple(promises.missing),
        not_fired=broken.not_fired,
        undeclared=broken.undeclared,
    )


def _resource_metrics(found: Sequence[ResourceSample], window: Window | None, ended: int) -> dict[str, Metric]:
    """What the samples tell; `ended` workflows ended within measure."""
    return {**process_metrics(found, window, ended), **host_metrics(found, window), **state_metrics(found)}


def _agent_blocks(tally: LevelTally, window: Window | None) -> dict[str, tuple[Block, ...]]:
    if window is None:
        return {}
    return {agent: step_blocks(tally.step_rows(agent), window) for agent in sorted(tally.steps)}


def _status(label: str, manifest: Manifest, tally: LevelTally) -> tuple[Status, str]:
    for end in manifest.ended:
        if end.level == label:
            return end.status, end.message
    if tally.marks or tally.workflows or tally.open:
        return "unfinished", "the run was cut short within this level"
    return "not_run", "the run ended before this level began"


def _window(tally: LevelTally, found: Sequence[ResourceSample]) -> Window | None:
    """The measure phase; one that was cut ends with the last that is known of it."""
    start = tally.marks.get("measure")
    if start is None:
        return None
    last = max(tally.last_at, found[-1].at if found else 0.0)
    end = tally.marks.get("drain", tally.marks.get("end", last))
    return Window(start, end) if end > start else None


def _counts(rows: Rows, status: Status) -> NDArray[np.bool_]:
    """Which workflows speak for an outcome: all, but those that we cut off ourselves."""
    if status in CUT:
        return ~flagged(rows, CENSORED)
    return np.ones(len(rows), dtype=np.bool_)


def _of_measure(rows: Rows, status: Status) -> Rows:
    """The workflows of measure that speak for an outcome."""
    chosen = flagged(rows, MEASURE) & _counts(rows, status)
    return rows if chosen.all() else rows[chosen]


def _arrival_metrics(arrivals: Rows) -> dict[str, Metric]:
    """Shares, counts and latency of workflows whose intended start lies in measure."""
    n = len(arrivals)
    ended_as = outcome(arrivals)
    ok, failed, unknown, not_started = (int(np.sum(ended_as == code)) for code in (OK, FAILED, UNKNOWN, NOT_STARTED))
    rejected = int(np.sum(flagged(arrivals, REJECTED)))
    counts = {
        "arrivals": n,
        "ok": ok,
        "failed": failed,
        "unknown": unknown,
        "not_started": not_started,
        "rejected_count": rejected,
        "censored": int(np.sum(flagged(arrivals, CENSORED))),
    }
    return {
        "success": share_metric(ok, n),
        "error": share_metric(failed + unknown, n),
        "offered": Metric(value=1 - (not_started - rejected) / n, n=n) if n else Metric(value=None),
        "rejected": share_metric(rejected, n),
        "degraded": share_metric(int(np.sum(flagged(arrivals, DEGRADED))), ok),
        **latency_percentiles(arrivals),
        **{name: Metric(value=count, n=n) for name, count in counts.items()},
    }


def _unfinished(tally: LevelTally, everything: Rows, status: Status, *, final: bool) -> Metric:
    """What was cut off, and what was sent, promised by nobody, and has no end. Lost is what was promised."""
    promised = sum(tally.open.values()) if final else 0
    cut_off = int(np.sum(~_counts(everything, status)))
    return Metric(value=len(tally.open) - promised + cut_off, n=len(everything) + len(tally.open))


def _ended_within(everything: Rows, window: Window | None) -> NDArray[np.bool_]:
    """Workflows of any phase whose end lies in the window; an `unknown` one had no end."""
    if window is None:
        return np.zeros(len(everything), dtype=np.bool_)
    ended_as, ended = outcome(everything), everything["ended"]
    did_end = (ended_as == OK) | (ended_as == FAILED)
    chosen: NDArray[np.bool_] = did_end & (ended >= window.start) & (ended < window.end)
    return chosen


def _work_done(tally: LevelTally, everything: Rows, window: Window | None) -> dict[str, Metric]:
    """Workflows a second, and how often steps of theirs were tried again, where there are steps."""
    found = {"throughput": _throughput(everything, window)}
    if tally.steps:
        steps = sum(len(tally.step_rows(agent)) for agent in tally.steps)
        found["retries"] = Metric(value=tally.steps_retries.total(), n=steps)
    return found


def _throughput(everything: Rows, window: Window | None) -> Metric:
    if window is None:
        return Metric(value=None)
    ok = int(np.sum(_ended_within(everything, window) & (outcome(everything) == OK)))
    return Metric(value=ok / window.length_s, n=ok)


def _agents(
    tally: LevelTally, use: Mapping[str, Metric], calls: Mapping[str, Mapping[str, Metric]], workflows: int
) -> dict[str, dict[str, Metric]]:
    """By agent: its steps' times and waits, how busy its pool was, and its calls to models."""
    table: dict[str, dict[str, Metric]] = {}
    for agent in sorted({*tally.steps, *use, *calls}):
        steps = tally.step_rows(agent)
        n = len(steps)
        table[agent] = {
            **percentiles(steps["ended"] - steps["started"]),
            **percentiles(steps["started"] - steps["queued"], prefix="wait_"),
            "busy": _a_workflow(steps["ended"] - steps["started"], workflows),
            "waiting": _a_workflow(steps["started"] - steps["queued"], workflows),
            "pool_use": use.get(agent, Metric(value=None)),
            "steps": Metric(value=n, n=n),
            "failed": Metric(value=tally.steps_failed[agent], n=n),
            "retries": Metric(value=tally.steps_retries[agent], n=n),
            **calls.get(agent, {}),
        }
    return table


def _a_workflow(times: Floats, workflows: int) -> Metric:
    """Seconds of all steps together, a workflow."""
    return Metric(value=float(np.nansum(times)) / workflows, n=len(times)) if workflows else Metric(value=None)


def _ranked(counted: Counter[str]) -> dict[str, int]:
    """Most frequent first, by name where equal."""
    return dict(sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])))
