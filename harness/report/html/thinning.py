"""Fewer points than were measured, and the same picture: what stands out is kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.statistics.quantile import Floats

Places = NDArray[np.int64]

CELL = 2.0
"""Dots that lie within so many pixels of one another are seen as one."""


def thinned_line(x: Floats, y: Floats, columns: int) -> Places:
    """Which points of a line to draw, ascending: of each of `columns` stretches of x the lowest and the highest.

    `x` ascends. Where `y` is NaN the line is broken, and stays so.
    """
    n = len(x)
    if n <= 2 * columns:
        return np.arange(n)
    column = np.minimum((x - x[0]) / max(x[-1] - x[0], 1e-12) * columns, columns - 1).astype(np.int64)
    starts = np.flatnonzero(np.concatenate(([True], column[1:] != column[:-1])))
    kept = {0, n - 1}
    for first, last in zip(starts, np.append(starts[1:], n), strict=True):
        part = y[first:last]
        if np.isnan(part).all():
            kept.add(int(first))
        else:
            kept |= {int(first + np.nanargmin(part)), int(first + np.nanargmax(part))}
    return np.array(sorted(kept), dtype=np.int64)


def thinned_dots(x: Floats, y: Floats, most: int) -> Places:
    """Which dots to draw, at most `most`, as of pixels: of those that lie on one another, the highest."""
    order = np.argsort(-y, kind="stable")
    cell, kept = CELL, order
    while len(kept) > most:
        keys = np.round(x[order] / cell).astype(np.int64) * 1_000_003 + np.round(y[order] / cell).astype(np.int64)
        kept = order[np.unique(keys, return_index=True)[1]]
        cell *= 1.25
    return np.sort(kept)
