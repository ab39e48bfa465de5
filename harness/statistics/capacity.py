"""What a system holds within an objective: the largest load at which every condition of it still holds.

Between two measured levels the metric is interpolated, times by their logarithm, along the logarithm of the load; over
levels it may only get worse (what gets better again is noise, and is averaged away). Nothing is told beyond the last
measured level: who never reached the bound is told as `at least`. The interval is a bootstrap over sittings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from harness.statistics.metrics import metric_type
from harness.statistics.quantile import Floats
from harness.statistics.students_t import t_quantile

INTERVAL = 0.90
RESAMPLES = 1000
SITTINGS_MIN = 2
"""One says nothing of the next: there is no interval then."""
LITTLE_OFF_MAX = 0.05
"""N = X (R + Z) holds for whatever was really measured; a level that misses it by more was not in balance."""

Operator = Literal["<", "<=", ">", ">="]


class Condition(NamedTuple):
    """One part of an objective: a metric of a level, and what it must be."""

    metric: str
    operator: Operator
    bound: float

    @property
    def is_upper(self) -> bool:
        """Whether more of the metric is worse."""
        return self.operator in ("<", "<=")


class Measured(NamedTuple):
    """One sitting of one level: its load (workflows at once, or arrivals a second) and its metrics."""

    load: float
    metrics: Mapping[str, float]


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """The largest load within the objective.

    `load` None: even the smallest level is beyond it. `at_least`: no level reached the bound, and the sweep ended at
    that load. `lower` and `upper` are a 90 % interval; an end that lies outside of what was measured is None, as are
    both where any level has one sitting only.
    """

    load: float | None
    at_least: bool = False
    lower: float | None = None
    upper: float | None = None
    limited_by: str | None = None  # the metric that reaches its bound first
    throughput: float | None = None  # workflows a second at that load


def capacity(measured: Sequence[Measured], objective: Sequence[Condition], *, seed: int = 1) -> Capacity:
    """From every sitting of every level. Raises ValueError without an objective or a level, and where a metric of the
    objective was not measured."""
    levels = _by_level(measured, objective)
    loads = np.array(sorted(levels))
    values = {each: [_values(levels[load], each) for load in loads] for each in objective}
    found, by = _limit(loads, {each: np.array([v.mean() for v in values[each]]) for each in objective})
    rng = np.random.default_rng(seed)
    curves = {each: _resampled(values[each], rng, pooled=_is_time(each)) for each in objective}
    drawn = [_limit(loads, {each: curves[each][nth] for each in objective})[0] for nth in range(RESAMPLES)]
    low, high = float(loads[0]), float(loads[-1])
    if found is None:
        return Capacity(load=None, upper=low, limited_by=by)
    at_least, interval = by is None, _interval(drawn, low, high)
    if any(len(sittings) < SITTINGS_MIN for sittings in levels.values()):
        interval = None, None
    return Capacity(
        load=found,
        at_least=at_least,
        lower=interval[0],
        upper=None if at_least else interval[1],
        limited_by=by,
        throughput=_throughput_at(found, loads, levels),
    )


def _interval(drawn: Sequence[float | None], low: float, high: float) -> tuple[float | None, float | None]:
    """Where the middle of what was drawn lies; an end that is that of the sweep itself is not known."""
    ordered = sorted(low if load is None else load for load in drawn)
    lower, upper = (ordered[round(share * (RESAMPLES - 1))] for share in ((1 - INTERVAL) / 2, (1 + INTERVAL) / 2))
    return None if lower in (low, high) else lower, None if upper >= high else upper


def little(load: float, throughput: float, response_s: float, pause_s: float = 0.0) -> float:
    """By how much X (R + Z) is more than N, as a share of it. `response_s` is the mean. Little (1961)."""
    return (throughput * (response_s + pause_s) - load) / load


Levels = Mapping[float, Sequence[Mapping[str, float]]]


def _by_level(measured: Sequence[Measured], objective: Sequence[Condition]) -> Levels:
    if not objective:
        raise ValueError("an objective without a condition is met by every load")
    levels: dict[float, list[Mapping[str, float]]] = {}
    for each in measured:
        missing = [condition.metric for condition in objective if condition.metric not in each.metrics]
        if missing:
            raise ValueError(f"load {each.load:g} has no {', '.join(missing)}")
        levels.setdefault(each.load, []).append(each.metrics)
    if not levels:
        raise ValueError("no level was measured")
    return levels


def _resampled(values: Sequence[Floats], rng: np.random.Generator, *, pooled: bool) -> Floats:
    """Curves of means of as many sittings drawn with replacement, RESAMPLES rows of a column a level.

    Three sittings say little of how far sittings of a level lie apart. Where that is much the same for all levels, as
    for the logarithms of times, what is drawn are the residuals of all levels together, made wider by what taking
    their own means from them took away: sqrt(n / (n - 1)) (Davison & Hinkley 1997, section 3.2).
    """
    means = [own.mean() for own in values]
    left = [(own - mean) * math.sqrt(len(own) / max(1, len(own) - 1)) for own, mean in zip(values, means, strict=True)]
    pool = np.concatenate(left)
    df = len(pool) - len(values)
    if pooled and df > 0:
        pool = pool * t_quantile((1 + INTERVAL) / 2, df) / NormalDist().inv_cdf((1 + INTERVAL) / 2)
    columns = []
    for own, mean in zip(left, means, strict=True):
        drawn = rng.choice(pool if pooled else own, (RESAMPLES, len(own)))
        columns.append(mean + drawn.mean(axis=1))
    return np.stack(columns, axis=1)


def _limit(loads: Floats, curves: Mapping[Condition, Floats]) -> tuple[float | None, str | None]:
    """The load at which the first condition reaches its bound, and which that is; the last load and None: none does."""
    limit, by = float(loads[-1]), None
    for condition, curve in curves.items():
        reached = _crossing(loads, _monotone(curve if condition.is_upper else -curve), _bound(condition))
        if reached is None:
            return None, condition.metric
        if reached < limit:
            limit, by = reached, condition.metric
    return limit, by


def _values(sittings: Sequence[Mapping[str, float]], condition: Condition) -> Floats:
    values = np.array([metrics[condition.metric] for metrics in sittings], dtype=np.float64)
    return np.log(values) if _is_time(condition) else values


def _is_time(condition: Condition) -> bool:
    kind = metric_type(condition.metric)
    return kind is not None and kind.unit == "duration"


def _bound(condition: Condition) -> float:
    bound = math.log(condition.bound) if _is_time(condition) else condition.bound
    return bound if condition.is_upper else -bound


def _monotone(curve: Floats) -> Floats:
    """The closest curve that never falls: pooled adjacent violators (Barlow et al. 1972)."""
    blocks: list[tuple[float, int]] = []
    for value in curve:
        mean, size = float(value), 1
        while blocks and blocks[-1][0] > mean:
            before, many = blocks.pop()
            mean, size = (before * many + mean * size) / (many + size), many + size
        blocks.append((mean, size))
    return np.concatenate([np.full(size, mean) for mean, size in blocks])


def _crossing(loads: Floats, curve: Floats, bound: float) -> float | None:
    """The largest load at which the curve is not above the bound; None: it is so everywhere."""
    if curve[0] > bound:
        return None
    above = np.flatnonzero(curve > bound)
    if not len(above):
        return float(loads[-1])
    after = int(above[0])
    share = (bound - curve[after - 1]) / (curve[after] - curve[after - 1])
    before_log, after_log = np.log(loads[after - 1 : after + 1])
    return float(np.exp(before_log + share * (after_log - before_log)))


def _throughput_at(load: float, loads: Floats, levels: Levels) -> float | None:
    """Interpolated, where every sitting tells it."""
    if any("throughput" not in metrics for sittings in levels.values() for metrics in sittings):
        return None
    means = [float(np.mean([metrics["throughput"] for metrics in levels[each]])) for each in loads]
    return float(np.interp(math.log(load), np.log(loads), means))
