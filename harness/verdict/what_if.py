"""What another size would hold: predicted from a sweep's measured service times, to be set beside a measurement. Pure.

A workflow is taken to visit its agents one after the other, each a queue before so many instances (M/M/c), while it
holds one of the orchestrator's slots; others wait in its queue, and one that finds that full is refused. Of the
response time only the mean can be predicted, so the limit is taken to lie where the mean is what it was at the measured
limit, or where too many are refused; and what the model says of the measured system scales what it says of the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from harness.statistics.capacity import Capacity, Condition
from harness.statistics.point import Point
from harness.statistics.quantile import Floats
from harness.statistics.queueing import Station, closed_throughputs, held

USE_MIN, USE_MAX = 0.02, 0.9
"""Of a pool: between them its service time can be told from its use."""
OFF_MAX = 0.25
"""A model that is further off for the system that was measured says nothing of another."""
PARALLEL = 1.1
"""Service times that add up to so much more than the response time were spent side by side."""
LOAD_MAX = 5000
"""Workflows in the model: beyond them it takes longer than a measurement."""
REFUSING = ("success", "rejected")
"""Metrics that a refused workflow makes worse."""


class Sizes(NamedTuple):
    """Of a system, in all its instances together."""

    pools: Mapping[str, int]  # instances of each agent
    slots: int  # workflows that run at once
    queue: int  # that may wait for a slot


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """Of one change: the predicted limit, or why there is none; and the measured one beside it."""

    change: str  # as it was written
    load: float | None = None
    why_not: str = ""
    model_load: float | None = None  # what the model says of the system as it was measured
    measured: Capacity | None = None

    @property
    def off(self) -> float | None:
        """How far the prediction is from the measurement, as a share of that; None where one has no single value."""
        if self.load is None or self.measured is None or self.measured.load is None or self.measured.at_least:
            return None
        return self.load / self.measured.load - 1


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A system as a sweep saw it: its sizes, `demands_s` of a workflow at each agent, `delay_s` elsewhere, and the mean
    response time at its limit."""

    closed: bool
    sizes: Sizes
    demands_s: dict[str, float]
    delay_s: float
    limit: float
    mean_at_limit_s: float | None  # None: it was not time that gave out
    refused_max: float | None = None  # share of arrivals that may be refused; None: the objective does not say

    def throughputs(self, sizes: Sizes) -> Floats:
        """With these sizes, of 1, 2, … workflows in slots."""
        stations = [Station(demand_s, sizes.pools[agent]) for agent, demand_s in self.demands_s.items()]
        return closed_throughputs(min(LOAD_MAX, sizes.slots), stations, self.delay_s)


def measured_system(
    points: Sequence[Point],
    sizes: Sizes,
    found: Capacity | None,
    *,
    closed: bool,
    objective: Sequence[Condition] = (),
) -> Measured | str:
    """From a sweep's points; a sentence that says why a model does not apply."""
    believed = [point for point in points if not point.refused and point.mean_s and point.rate]
    if found is None or found.load is None or found.at_least or len(believed) < 2:
        return "the sweep found no limit"
    demands_s = _demands_s(believed, sizes.pools)
    if not demands_s:
        return "no agent's service time could be told from the use of its instances"
    smallest = min(point.load for point in believed)
    alone_s = float(np.mean([point.mean_s for point in believed if point.load == smallest]))
    busy_s = sum(demands_s.values())
    if busy_s > PARALLEL * alone_s:
        return (
            f"a workflow's agents work side by side ({busy_s:.3g} s of work in {alone_s:.3g} s), which it cannot take"
        )
    loads = sorted({point.load for point in believed})
    means = [float(np.mean([point.mean_s for point in believed if point.load == load])) for load in loads]
    at_limit_s = float(np.exp(np.interp(math.log(found.load), np.log(loads), np.log(means))))
    return Measured(
        closed=closed,
        sizes=sizes,
        demands_s=demands_s,
        delay_s=max(0.0, alone_s - busy_s),
        limit=found.load,
        mean_at_limit_s=None if found.limited_by in REFUSING else at_limit_s,
        refused_max=_refused_max(objective),
    )


def _demands_s(points: Sequence[Point], pools: Mapping[str, int]) -> dict[str, float]:
    """Of each agent whose use tells it: what a workflow keeps one of its instances busy for."""
    found = {}
    for agent, size in pools.items():
        told = [point.pools[agent] * size / point.rate for point in points
                if USE_MIN <= point.pools.get(agent, 0.0) <= USE_MAX]  # fmt: skip
        if told:
            found[agent] = float(np.mean(told))
    return found


def _refused_max(objective: Sequence[Condition]) -> float | None:
    """The share of arrivals that an objective lets be refused."""
    allowed = {"success": lambda bound: 1.0 - bound, "rejected": lambda bound: bound}
    return min((allowed[each.metric](each.bound) for each in objective if each.metric in allowed), default=None)


def predict(system: Measured, sizes: Sizes, change: str) -> Prediction:
    """The limit with other sizes."""
    before, after = _limit(system, system.sizes), _limit(system, sizes)
    if before is None or after is None:
        return Prediction(change=change, why_not="the model knows no load at which the objective would be missed")
    if abs(before / system.limit - 1) > OFF_MAX:
        why = f"the model is off for what was measured: it says {before:.3g}, which was {system.limit:.3g}"
        return Prediction(change=change, why_not=why, model_load=before)
    return Prediction(change=change, load=system.limit * after / before, model_load=before)


def _limit(system: Measured, sizes: Sizes) -> float | None:
    """The load at which the mean response time is what it was at the measured limit, or too many are refused."""
    limits = _closed_limits(system, sizes) if system.closed else _open_limits(system, sizes)
    return min((limit for limit in limits if limit is not None), default=None)


def _closed_limits(system: Measured, sizes: Sizes) -> list[float | None]:
    """By time, and by refusals, of which there are none until every place is taken."""
    throughputs, wanted_s = system.throughputs(sizes), system.mean_at_limit_s
    by_time = None
    if wanted_s is not None:
        by_time = _crossing(lambda load: load / throughputs[min(load, len(throughputs)) - 1], wanted_s)
    return [by_time, None if system.refused_max is None else float(sizes.slots + sizes.queue)]


def _open_limits(system: Measured, sizes: Sizes) -> list[float | None]:
    """By time, and by refusals; of arrivals at random some always find it full, so that none refused has no limit."""
    throughputs, waiting = system.throughputs(sizes), min(LOAD_MAX, sizes.queue)
    wanted_s, refused_max = system.mean_at_limit_s, system.refused_max
    most = 2.0 * float(throughputs[-1])
    limits = []
    if wanted_s is not None:
        limits.append(_largest(lambda rate: held(rate, throughputs, waiting).response_s <= wanted_s, most))
    if refused_max:
        limits.append(_largest(lambda rate: held(rate, throughputs, waiting).refused <= refused_max, most))
    return limits


def _largest(holds: Callable[[float], bool], most: float) -> float | None:
    """The largest rate at which it holds; None: it does at `most`, or nowhere."""
    low, high = most * 1e-6, most
    if holds(high) or not holds(low):
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _crossing(response_s: Callable[[int], float], wanted_s: float) -> float | None:
    """Between the two whole loads where the response time passes it."""
    low, high = 1, 2
    if response_s(low) > wanted_s:
        return None
    while response_s(high) <= wanted_s:
        low, high = high, 2 * high
        if high > LOAD_MAX:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if response_s(middle) <= wanted_s else (low, middle)
    below_s, above_s = response_s(low), response_s(high)
    return low + (wanted_s - below_s) / (above_s - below_s)
