"""An axis of changes: positions are on the scale that is compared, labels what the metric itself did.

Worse is always positive on the scale. A metric that is worse when it is less, as throughput, so has labels that fall.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.statistics.change import Change
from harness.statistics.reading import COMPARED

_SHOWN = {"rss_slope": 2.0**-20}
"""Shown number / own value, where that is not 100."""
_STEPS = (1.0, 2.0, 5.0)
_ROOM = 0.06
"""Share of the span that stays free beyond the outermost value."""


@dataclass(frozen=True, slots=True)
class Axis:
    """From `low` to `high` on the scale of changes, of a metric that is told as `metric` is."""

    metric: str
    low: float
    high: float

    def at(self, value: float) -> float:
        """Where a change lies: 0 at `low`, 1 at `high`; what lies outside is put on the edge."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def ticks(self, most: int) -> list[float]:
        """Changes with round labels, 0 among them, ascending; as many as fit into `most`."""
        ends = sorted((directed(self.metric, self.low), directed(self.metric, self.high)))
        shown = _SHOWN.get(self.metric, 100.0)
        step = _round_up((ends[1] - ends[0]) * shown / most) / shown
        labels = [n * step for n in range(math.ceil(ends[0] / step), math.floor(ends[1] / step) + 1)]
        return sorted(_undirected(self.metric, label) for label in labels)


def axis_of(metric: str, values: Sequence[float]) -> Axis:
    """An axis on which 0 and all `values` have room; values that are not finite are left out."""
    known = [0.0, *(value for value in values if math.isfinite(value))]
    low, high = min(known), max(known)
    room = _ROOM * (high - low) or 0.01
    return Axis(metric, low - room, high + room)


def directed(metric: str, value: float) -> float:
    """What the metric itself did: a share for log scales, else in its own unit."""
    own = -value if _is_less_worse(metric) else value
    return math.expm1(own) if _is_log(metric) else own


def label(metric: str, value: float, digits: int | None = None) -> str:
    """A change as people write it; `digits` after the point, or as many as it needs."""
    return f"{_number(metric, value, digits)} {unit(metric)}"


def span(metric: str, first: float, last: float) -> str:
    """From the smaller to the larger, as "+6.0 to +17.1 %"."""
    low, high = sorted((first, last), key=lambda end: directed(metric, end))
    return f"{_number(metric, low, 1)} to {_number(metric, high, 1)} {unit(metric)}"


def told(change: Change) -> str:
    """A change and its interval, as "+11.4 % (+6.0 to +17.1 %)"."""
    return f"{label(change.metric, change.change, 1)} ({span(change.metric, change.lower, change.upper)})"


def unit(metric: str) -> str:
    """What a metric's change is told in."""
    return {"success": "points", "rss_slope": "MiB/min"}.get(metric, "%")


def bounds_note(alpha: float) -> str:
    """How sure the bounds of an interval are."""
    return f"each end at {(1 - alpha) * 100:.4g} %"


def _number(metric: str, value: float, digits: int | None) -> str:
    own = directed(metric, value) * _SHOWN.get(metric, 100.0)
    if digits is None:
        return f"{own:+.3g}" if own else "0"
    return f"{own:+.{digits}f}"


def _is_log(metric: str) -> bool:
    return metric not in ("success", "rss_slope")


def _is_less_worse(metric: str) -> bool:
    return metric == "success" or (metric in COMPARED and COMPARED[metric].better == "more")


def _undirected(metric: str, own: float) -> float:
    value = math.log1p(own) if _is_log(metric) else own
    return -value if _is_less_worse(metric) and value else value


def _round_up(step: float) -> float:
    scale = 10.0 ** math.floor(math.log10(step))
    return next((each * scale for each in _STEPS if each * scale >= step), 10 * scale)
