"""How fast memory grows, told apart from memory that was taken once: the step-free slope of GATE.md.

A least-squares line through samples alarms on every healthy process, because caches fill in steps and a collector
gives back in steps. Medians of time blocks, with the largest rise and the largest fall left out, do not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.statistics.quantile import quantile

SLOPE_BLOCKS = 20
WARMUP_SHARE = 0.3
"""Of the measure phase: what is taken in its beginning is warming up, not growth."""
STEPS_MIN = 4  # differences left after the two that are dropped; fewer say nothing


def step_free_slope(points: Sequence[tuple[float, float]], window: tuple[float, float]) -> float | None:
    """Growth of a reading in units a second, over `window` (start, end); None where there are too few points.

    `points` are (s from t0, reading). The window is cut into SLOPE_BLOCKS; those that begin in its first WARMUP_SHARE
    are left out; of the rates between neighbouring blocks' medians the largest and the smallest are dropped, and the
    mean of the others is what is left. Blocks without a point are passed over.
    """
    start, end = window
    if not points or end <= start:
        return None
    at, reading = np.array(points, dtype=np.float64).T
    place = np.floor((at - start) / (end - start) * SLOPE_BLOCKS)
    first = int(np.ceil(WARMUP_SHARE * SLOPE_BLOCKS))
    seen = [block for block in range(first, SLOPE_BLOCKS) if np.any(place == block)]
    # A value that was measured, never the mean of two: a step in the middle of a block must stay one step.
    medians = [quantile(np.sort(reading[place == block]), 0.5) for block in seen]
    steps = np.sort(np.diff(medians) / np.diff(seen))[1:-1]
    if len(steps) < STEPS_MIN:
        return None
    return float(np.mean(steps)) * SLOPE_BLOCKS / (end - start)
