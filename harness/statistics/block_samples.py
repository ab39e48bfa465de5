"""The exact latencies of a level by time block, as a baseline keeps them: what block quantiles were made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.statistics.latency import block_of
from harness.statistics.level import LevelSummary
from harness.statistics.tally import MEASURE, NOT_STARTED, WORKFLOW_ROW, Tally, flagged, outcome

SAMPLES_MAX = 100_000
"""Beyond so many every n-th is kept, of each block: the file stays below 400 KB."""


def block_samples(journal: Path, level: LevelSummary) -> list[NDArray[np.float32]]:
    """Seconds from the intended start, ascending, of each of the level's blocks; float32 keeps seven digits."""
    if len(level.blocks) < 2:
        return []
    tally = Tally()
    tally.read(journal)
    by_kind, _ = tally.levels[level.level].ended_once()
    rows = np.concatenate([*by_kind.values(), np.empty(0, dtype=WORKFLOW_ROW)])
    rows = rows[flagged(rows, MEASURE) & (outcome(rows) != NOT_STARTED)]
    starts = [block.start for block in level.blocks]
    place = block_of(rows["intended"], np.array([*starts, 2 * starts[-1] - starts[-2]]))
    took = rows["ended"] - rows["intended"]
    every = 1 + (len(took) - 1) // SAMPLES_MAX if len(took) else 1
    found = [np.sort(took[(place == index) & ~np.isnan(took)]) for index in range(len(starts))]
    return [block[every // 2 :: every].astype(np.float32) for block in found]
