"""What another size would hold: predicted from a sweep's measured service times, to be set beside a measurement. Pure.

A workflow is taken to visit its agents one after the other, each a queue before so many instances (M/M/c; closed load:
a closed network of them). Of the response time only the mean can be predicted, so the limit is taken to lie where the
mean is what it was at the measured limit; and what the model says of the measured system scales what it says of the
other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from harness.statistics.capacity import Capacity
from harness.statistics.point import Point
from harness.statistics.queueing import Station, closed_response_s, open_response_s

USE_MIN, USE_MAX = 0.02, 0.9
"""Of a pool: between them its service time can be told from its use."""
OFF_MAX = 0.25
"""A model that is further off for the system that was measured says nothing of another."""
PARALLEL = 1.1
"""Service times that add up to so much more than the response time were spent side by side."""
LOAD_MAX = 5000
"""Of closed load: beyond it the model takes longer than a measurement."""


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
    """A system as a sweep saw it: `pools` instances of each agent, `demands_s` of a workflow at each, `delay_s`
    elsewhere, and the mean response time at its limit."""

    closed: bool
    pools: dict[str, int]
    demands_s: dict[str, float]
    delay_s: float
    limit: float
    mean_at_limit_s: float

    def stations(self, pools: Mapping[str, int]) -> list[Station]:
        """With these many instances."""
        return [Station(demand_s, pools[agent]) for agent, demand_s in self.demands_s.items()]


def measured_system(
    points: Sequence[Point], pools: Mapping[str, int], found: Capacity | None, *, closed: bool
) -> Measured | str:
    """From a sweep's points; a sentence that says why a model does not apply."""
    believed = [point for point in points if not point.refused and point.mean_s and point.rate]
    if found is None or found.load is None or found.at_least or len(believed) < 2:
        return "the sweep found no limit"
    demands_s = {}
    for agent, size in pools.items():
        told = [point.pools[agent] * size / point.rate for point in believed
                if USE_MIN <= point.pools.get(agent, 0.0) <= USE_MAX]  # fmt: skip
        if told:
            demands_s[agent] = float(np.mean(told))
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
    return Measured(
        closed=closed,
        pools={agent: pools[agent] for agent in demands_s},
        demands_s=demands_s,
        delay_s=max(0.0, alone_s - busy_s),
        limit=found.load,
        mean_at_limit_s=float(np.exp(np.interp(math.log(found.load), np.log(loads), np.log(means)))),
    )


def predict(system: Measured, pools: Mapping[str, int], change: str) -> Prediction:
    """The limit with other numbers of instances."""
    before, after = _limit(system, system.pools), _limit(system, pools)
    if before is None or after is None:
        return Prediction(change=change, why_not="the model knows no load at which the response would be as slow")
    if abs(before / system.limit - 1) > OFF_MAX:
        why = f"the model is off for what was measured: it says {before:.3g}, which was {system.limit:.3g}"
        return Prediction(change=change, why_not=why, model_load=before)
    return Prediction(change=change, load=system.limit * after / before, model_load=before)


def _limit(system: Measured, pools: Mapping[str, int]) -> float | None:
    """The load at which the mean response time is what it was at the measured limit."""
    stations, delay_s, wanted_s = system.stations(pools), system.delay_s, system.mean_at_limit_s
    if system.closed:
        return _crossing(lambda load: closed_response_s(load, stations, delay_s), wanted_s)
    most = min(station.servers / station.demand_s for station in stations)
    low, high = 0.0, most
    if open_response_s(low, stations, delay_s) > wanted_s:
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if open_response_s(middle, stations, delay_s) <= wanted_s else (low, middle)
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
