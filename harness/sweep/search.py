"""Which loads a sweep measures next: pure, so that a search can be tested without a clock.

It doubles until the objective is broken, so that one level lies beyond it, then halves the gap around the bound, and at
last fills the widest gaps, until there are as many levels as a curve needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from random import Random

LEVELS_MIN = 9
"""Of a curve past its knee (GATE.md, section 4)."""
FIRST_OF = 25
AROUND_MAX = 6
CLOSE = 1.15
"""The bound lies between two levels that are no further apart than this, where whole loads allow it."""


def next_load(held: Mapping[int, bool], most: int) -> int | None:
    """The load to measure next, given whether the objective held at those measured so far; None: there are enough.

    `most` is the largest that may be tried. It begins with a part of that, as little ends in a second at the smallest
    loads, and goes down from there where even that is too much. Raises ValueError when `most` is below 1.
    """
    if most < 1:
        raise ValueError(f"a largest load of {most} leaves nothing to measure")
    if not held:
        return max(1, most // FIRST_OF)
    loads = sorted(held)
    broken = next((load for load in loads if not held[load]), None)
    if broken is None:
        return min(2 * loads[-1], most) if loads[-1] < most else _filling(loads)
    below = [load for load in loads if load < broken]
    if not below:
        return loads[0] // 2 or None  # not even one at a time is within the objective
    return _between(below[-1], broken, CLOSE) or _filling(loads)


def next_around(held: Mapping[int, bool], begun: int) -> int | None:
    """The load to measure next where the bound is thought to lie near `begun`: up or down from there until two levels
    no further apart than CLOSE allows have it between them; None: they have, or AROUND_MAX levels did not."""
    if not held:
        return begun
    if len(held) >= AROUND_MAX:
        return None
    loads = sorted(held)
    below = [load for load in loads if held[load]]
    broken = [load for load in loads if not held[load] and (not below or load > below[-1])]
    if not broken:
        return max(loads[-1] + 1, round(loads[-1] * CLOSE))
    if not below:
        return min(loads[0] - 1, round(loads[0] / CLOSE)) or None
    return None


def _filling(loads: Sequence[int]) -> int | None:
    """In the middle of the widest gap, while there are too few levels."""
    if len(loads) >= LEVELS_MIN:
        return None
    gaps = sorted(pairwise(loads), key=lambda gap: gap[0] / gap[1])
    return next((load for low, high in gaps if (load := _between(low, high, 1.0)) is not None), None)


def _between(low: int, high: int, close: float) -> int | None:
    """A whole load between the two, in the middle of their logarithms; None: they are close enough, or neighbours."""
    if high / low <= close:
        return None
    middle = round(math.sqrt(low * high))
    inside = min(max(middle, low + 1), high - 1)
    return inside if low < inside < high else None


def order(loads: Sequence[int], *, seed: int, sitting: int) -> list[int]:
    """Another order for each sitting, so that what drifts falls on no level more than on others."""
    shuffled = sorted(loads)
    Random(f"{seed}/{sitting}").shuffle(shuffled)
    return shuffled
