"""What a sweep says: how much is held within the objective, what gives out first, and what the curve is like. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from harness.statistics.capacity import Capacity, Condition, Measured, capacity
from harness.statistics.point import Point
from harness.statistics.scalability import Fit, Model, fits, tied
from harness.statistics.steady import Steady, moved
from harness.verdict.what_if import Prediction

RIG_SHARE_MAX = 0.70
"""Of the rate that the rig reaches with an orchestrator that does nothing: beyond it we measure ourselves."""
SATURATED = 0.85
SLOWER_TIMES = 3.0
"""A service whose p95 has grown to so many times what it is at the smallest load is in the way."""
LAG_S = 0.05


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """One load over its sittings: means of what is believed."""

    load: float
    sittings: int  # that are believed
    rate: float
    metrics: dict[str, float]
    pools: dict[str, float]
    services: dict[str, float]
    refused: tuple[str, ...]  # of those that are not, each reason once


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. `capacity` None: no level can be believed, and `why` says it."""

    mode: str  # closed: workflows at once; open: arrivals a second
    objective: str
    levels: tuple[Level, ...]
    capacity: Capacity | None
    why: str = ""
    saturated: tuple[str, ...] = ()  # what is used up at the limit, the most used first
    fits: tuple[Fit, ...] = ()  # of throughput by concurrency, the best first; closed only
    tied: tuple[Model, ...] = ()
    rig_rate: float | None = None  # workflows a second that the rig reaches with nothing behind it
    rig_share: float | None = None  # of it that the system reaches at its capacity
    hopeless: float | None = None  # the smallest load that was ended early, as hopeless
    moved: tuple[str, ...] = ()  # what of the machine was not the same all the time
    interrupted: bool = False  # there would have been more levels
    what_if: tuple[Prediction, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether the rig would have given out soon, too."""
        return self.rig_share is not None and self.rig_share > RIG_SHARE_MAX

    @property
    def doubted(self) -> float | None:
        """The smallest load beyond the capacity that was measured, and is not believed."""
        held = self.capacity.load if self.capacity is not None else None
        return min((each.load for each in self.levels if not each.sittings and each.load > (held or 0.0)), default=None)


def assess(
    points: Sequence[Point],
    objective: Sequence[Condition],
    *,
    text: str,
    mode: str,
    rig_rate: float | None = None,
    references: Sequence[Steady] = (),
    interrupted: bool = False,
) -> Assessment:
    """From every sitting of every level. `text` is the objective as written, `rig_rate` the null orchestrator's."""
    levels = tuple(_levels(points))
    believed = [point for point in points if not point.refused]
    known = Assessment(
        mode=mode,
        objective=text,
        levels=levels,
        capacity=None,
        rig_rate=rig_rate,
        hopeless=min((point.load for point in points if point.stopped), default=None),
        moved=tuple(moved(references)),
        interrupted=interrupted,
    )
    if not believed:
        refused = dict.fromkeys(why for point in points for why in point.refused)
        why = "; ".join(refused) or ("it was interrupted" if interrupted else "nothing was measured")
        return msgspec.structs.replace(known, why=why)
    measured = [Measured(point.load, point.metrics) for point in believed]
    found = capacity(measured, objective)
    curve = [(level.load, level.metrics["throughput"]) for level in levels if level.metrics.get("throughput")]
    models = fits(*zip(*curve, strict=True)) if mode == "closed" and len(curve) > 3 else ()
    share = found.throughput / rig_rate if found.throughput is not None and rig_rate else None
    return msgspec.structs.replace(
        known,
        capacity=found,
        saturated=tuple(_saturated(levels, found)),
        fits=models,
        tied=tied(models) if models else (),
        rig_share=share,
    )


def _levels(points: Sequence[Point]) -> Iterator[Level]:
    by_load: defaultdict[float, list[Point]] = defaultdict(list)
    for point in points:
        by_load[point.load].append(point)
    for load, own in sorted(by_load.items()):
        believed = [point for point in own if not point.refused]
        yield Level(
            load=load,
            sittings=len(believed),
            rate=float(np.mean([point.rate for point in believed])) if believed else 0.0,
            metrics=_means([point.metrics for point in believed]),
            pools=_means([point.pools for point in believed]),
            services=_means([point.services for point in believed]),
            refused=tuple(dict.fromkeys(why for point in own for why in point.refused)),
        )


def _means(tables: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of what all of them have."""
    names = [name for name in (tables[0] if tables else ()) if all(name in table for table in tables)]
    return {name: float(np.mean([table[name] for table in tables])) for name in names}


def _saturated(levels: Sequence[Level], found: Capacity) -> Iterator[str]:
    """What is used up at the first level beyond the limit, or at the last: utilisation, as in Gregg's USE method."""
    believed = [level for level in levels if level.sittings]
    beyond = [level for level in believed if found.load is None or level.load > found.load]
    at, least = (beyond or believed)[0 if beyond else -1], believed[0]
    uses = [(use, f"the instances of agent {agent}") for agent, use in at.pools.items()]
    uses.append((at.metrics.get("cpu", 0.0), "a core, which is all that one event loop has"))
    named = [(use, f"{what}: {use:.0%}") for use, what in uses if use >= SATURATED]
    for service, p95_s in at.services.items():
        before_s = least.services.get(service, 0.0)
        if before_s and p95_s / before_s >= SLOWER_TIMES:
            times = p95_s / before_s
            named.append((0.0, f"{service}, whose answers take {times:.1f} times as long as at {least.load:g}"))
    if (lag_s := at.metrics.get("loop_lag_p99", 0.0)) >= LAG_S:
        named.append((0.0, f"its event loop is late by {lag_s * 1000:.0f} ms (p99)"))
    if depth := at.metrics.get("queue_depth_peak"):
        named.append((0.0, f"its slots: {depth:.0f} workflows waited for one"))
    yield from (text for _, text in sorted(named, key=lambda each: -each[0]))
