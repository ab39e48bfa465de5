"""One level of a sweep as one point of its curve: what it held, what it used, and whether it can be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from harness.statistics.capacity import LITTLE_OFF_MAX, Condition, little
from harness.statistics.level import LevelSummary
from harness.statistics.resources import Window
from harness.statistics.summary import summarise
from harness.statistics.tally import FAILED, OK, WORKFLOW_ROW, Tally, outcome

USED = ("cpu", "rss_peak", "loop_lag_p99", "queue_depth_peak", "cost_per_workflow")
"""Metrics of a level that tell what gives out, beside pools and services."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One sitting of one level. Rates are a second, times s."""

    load: float
    sitting: int
    run: str
    ended: int  # workflows that ended within measure, ok or failed
    rate: float  # of those
    mean_s: float | None  # from their intended start
    metrics: dict[str, float]  # those of the objective that were measured, and of USED, throughput included
    pools: dict[str, float] = {}  # use of each agent's pool
    services: dict[str, float] = {}  # p95 of each service's answers
    refused: tuple[str, ...] = ()  # why it says nothing about the system
    stopped: str = ""  # why it was hopeless, and ended early

    def holds(self, objective: Sequence[Condition]) -> bool:
        """Whether every condition does; what was not measured, or not to its end, does not hold."""
        return not self.refused and all(_holds(each, self.metrics) for each in objective)


def _holds(condition: Condition, metrics: Mapping[str, float]) -> bool:
    if condition.metric not in metrics:
        return False
    value, bound = metrics[condition.metric], condition.bound
    by = {"<": value < bound, "<=": value <= bound, ">": value > bound, ">=": value >= bound}
    return by[condition.operator]


def point_of(run_dir: Path, objective: Sequence[Condition], *, load: float, sitting: int, closed: bool) -> Point:
    """The only level of that run. Raises RunInvalid when the folder is no run's."""
    [level] = summarise(run_dir).levels
    tally = Tally()
    tally.read(run_dir / "journal.jsonl")
    window = _window(level)
    kinds, _ = tally.levels[level.level].ended_once() if level.level in tally.levels else ({}, 0)
    rows = np.concatenate(list(kinds.values())) if kinds else np.empty(0, dtype=WORKFLOW_ROW)
    did_end = (outcome(rows) == OK) | (outcome(rows) == FAILED)
    rows = rows[did_end & (rows["ended"] >= window.start) & (rows["ended"] < window.end)]
    rate = len(rows) / window.length_s if window.length_s else 0.0
    mean_s = float(np.mean(rows["ended"] - rows["intended"])) if len(rows) else None
    names = [*(each.metric for each in objective), *USED, "throughput"]
    values = {name: level.metric(name).value for name in names}
    return Point(
        load=load,
        sitting=sitting,
        run=run_dir.name,
        ended=len(rows),
        rate=rate,
        mean_s=mean_s,
        metrics={name: float(value) for name, value in values.items() if value is not None},
        pools=_of_parts(level.agents, "pool_use"),
        services=_of_parts(level.services, "response_p95"),
        refused=tuple(_refusals(level, objective, load if closed else None, rate, mean_s)),
    )


def _window(level: LevelSummary) -> Window:
    """The measure phase, which its time blocks begin with; empty when there was none."""
    if level.measure_s is None or not level.blocks:
        return Window(0.0, 0.0)
    return Window(level.blocks[0].start, level.blocks[0].start + level.measure_s)


def _of_parts(parts: Mapping[str, Mapping[str, object]], metric: str) -> dict[str, float]:
    values = {name: getattr(metrics.get(metric), "value", None) for name, metrics in parts.items()}
    return {name: float(value) for name, value in values.items() if value is not None}


def _refusals(
    level: LevelSummary, objective: Sequence[Condition], at_once: float | None, rate: float, mean_s: float | None
) -> list[str]:
    """Why the level says nothing; `at_once` is its concurrency, where that was held."""
    if level.status != "complete":
        return [f"it ended as {level.status.replace('_', ' ')}: {level.message}"]
    found = [*level.contaminated, *level.missing]
    for condition in objective:
        metric = level.metric(condition.metric)
        if metric.value is None:
            found.append(f"{condition.metric} was not measured")
        elif metric.too_few:
            found.append(f"{condition.metric} is of {metric.n} workflows, which are too few; measure for longer")
    if at_once is not None and mean_s is not None:
        off = little(at_once, rate, mean_s)
        # Users who were refused, or of whom nothing was heard, spent time that is in no response.
        spent_otherwise = any(level.metric(name).value for name in ("rejected_count", "unknown", "not_started"))
        if off > LITTLE_OFF_MAX or (off < -LITTLE_OFF_MAX and not spent_otherwise):
            said = f"{rate:.3g}/s of {mean_s:.3g} s each are not {at_once:g} at once (Little's law, {abs(off):.0%} off)"
            found.append(f"{said}; warm up and measure for longer")
    return found
