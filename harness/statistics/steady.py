"""Whether the machine stayed the same while something was measured, by a reference that never changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import msgspec

from harness.statistics.summary import summarise

MOVED_MAX = 0.15
"""Of two looks at one reference of some seconds: on a shared machine they lie a few per cent apart."""


class Steady(msgspec.Struct, frozen=True, kw_only=True):
    """One look: what a workflow of the reference took (median, s) and cost in CPU (s); None: it was not measured."""

    sitting: int
    p50_s: float | None
    cpu_s: float | None


def steady_of(run_dir: Path, sitting: int) -> Steady:
    """From a run of the reference. Raises RunInvalid when the folder is no run's."""
    [level] = summarise(run_dir).levels
    return Steady(sitting=sitting, p50_s=level.metric("p50").value, cpu_s=level.metric("cpu_per_workflow").value)


def moved(looks: Sequence[Steady]) -> list[str]:
    """A sentence for each look that lies far from the middle of all."""
    told = []
    for what, values in (
        ("took", [look.p50_s for look in looks]),
        ("cost in CPU", [look.cpu_s for look in looks]),
    ):
        known = [value for value in values if value is not None]
        if len(known) < 2:
            continue
        middle = median(known)
        for look, value in zip(looks, values, strict=True):
            if value is not None and abs(value / middle - 1) > MOVED_MAX:
                told.append(f"in sitting {look.sitting} the reference {what} {value / middle - 1:+.0%} of its median")
    return told
