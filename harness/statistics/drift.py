"""Whether the machine is still what it was when the baseline was made, as the frozen reference tells."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.statistics.reading import Reading

DRIFT_MARGIN = 0.05


def reference_drifted(candidate: Reading, stored: Sequence[Reading], metric: str = "p50") -> float | None:
    """How much a metric of the reference changed, as a share, when it left its band; None inside (GATE.md, step 3).

    The band is 3 standard deviations of the stored ones' logarithms and DRIFT_MARGIN about their mean. None as well
    where either has no such value: then there is nothing to say of drift. The reference mostly waits, as what it is
    like does, so its p50 hardly shows a slower clock of the CPU; its `cpu_per_workflow` does.
    """
    found = candidate.value(metric)
    before = [math.log(value) for reading in stored if (value := reading.value(metric))]
    if not found or not before:
        return None
    sd = float(np.std(before, ddof=1)) if len(before) > 1 else 0.0
    change = math.log(found) - float(np.mean(before))
    return math.expm1(change) if abs(change) > 3 * sd + math.log1p(DRIFT_MARGIN) else None
