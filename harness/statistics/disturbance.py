"""What others took of the machine while a level ran, by time block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from harness.observation.observation import MachineUse, ResourceSample

COVERED_MIN = 0.5
"""Share of a block that lies between two readings, below which nothing is said of it."""


def disturbed_shares(found: Sequence[ResourceSample], edges: ArrayLike) -> list[float | None]:
    """Share of the machine that others took, in 0 … 1, for each block between neighbouring `edges` (s from t0).

    (busy - the run's own + stolen) / (cores x seconds): stolen time counts in full, as whoever took it is nobody of
    ours. Where not all of the run's processes could be seen, stolen time alone. None where nobody looked, as in runs
    of before there were such samples, and where neither is known.
    """
    at_edges = np.asarray(edges, dtype=np.float64)
    starts, ends = at_edges[:-1], at_edges[1:]
    readings = [(at, taken) for at, use in _uses(found) if (taken := _others_s(use)) is not None]
    if len(readings) < 2:
        return [None] * len(starts)
    cores = max(use.cores for _, use in _uses(found))
    # Not as a reading that starts again when it falls: busy and own time are counted in ticks of their own, so their
    # difference goes back by a tick or two and comes forward again.
    at, taken_s = np.array(readings, dtype=np.float64).T
    first, last = np.clip(starts, at[0], at[-1]), np.clip(ends, at[0], at[-1])
    covered_s = last - first
    grown_s = np.interp(last, at, taken_s) - np.interp(first, at, taken_s)
    return [
        float(np.clip(grown / (cores * seconds), 0.0, 1.0)) if seconds >= COVERED_MIN * length > 0 else None
        for grown, seconds, length in zip(grown_s, covered_s, ends - starts, strict=True)
    ]


def _uses(found: Sequence[ResourceSample]) -> list[tuple[float, MachineUse]]:
    return [(sample.at, sample.machine) for sample in found if sample.machine is not None]


def _others_s(use: MachineUse) -> float | None:
    """CPU seconds that others took since the machine began, less those that ours took before it was watched."""
    if use.own_s is None:
        return use.stolen_s
    return use.busy_s - use.own_s + (use.stolen_s or 0.0)
