"""A run with a fault beside its control arm: the same scenario and seed, without the fault."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from harness.errors import RunInvalid
from harness.statistics.latency import latency_percentiles
from harness.statistics.quantile import Floats
from harness.statistics.recovery import ends_of, window_values
from harness.statistics.resources import Window
from harness.statistics.tally import MEASURE, OK, Rows, Tally, flagged, outcome


class Arm(NamedTuple):
    """A level of one of the two runs: its workflows of all phases, and its measure phase."""

    everything: Rows
    measure: Window


def arms_of(run_dir: Path) -> dict[str, Arm]:
    """The levels of a run whose measure phase came to its end. Raises RunInvalid when there is no journal."""
    tally = Tally()
    try:
        tally.read(run_dir / "journal.jsonl")
    except OSError as error:
        raise RunInvalid(f"{run_dir / 'journal.jsonl'} cannot be read: {error.strerror}") from None
    found = {}
    for label, level in tally.levels.items():
        by_kind, _ = level.ended_once()
        if "drain" in level.marks and by_kind:
            measure = Window(level.marks["measure"], level.marks["drain"])
            found[label] = Arm(np.concatenate(list(by_kind.values())), measure)
    return found


class Pair(msgspec.Struct, frozen=True):
    """The same number of both arms; None: nothing tells it."""

    faulted: float | None
    control: float | None

    @property
    def change(self) -> float | None:
        """What the fault added."""
        return None if self.faulted is None or self.control is None else self.faulted - self.control


class WindowPair(msgspec.Struct, frozen=True, kw_only=True):
    """One window: `success` of the arrivals that were due in it; goodput (1/s) and p95 (s) of what ended in it."""

    start: float  # s since measure began, in either arm
    success: Pair
    goodput: Pair
    p95_s: Pair


class AgainstControl(msgspec.Struct, frozen=True, kw_only=True):
    """The two arms over the whole of measure, window by window, and workflow by workflow.

    The same seed makes the same workflows in the same order, so that they are paired by their ids. In a closed load a
    slow arm has fewer: `paired` are in both.
    """

    success: Pair
    goodput: Pair
    p95_s: Pair
    windows: tuple[WindowPair, ...]
    paired: int
    broken: int  # ok in the control arm, and not with the fault
    mended: int  # the other way round: what fails without any fault, too, is not the fault's doing


def against_control(faulted: Arm, control: Arm, window_s: float = 1.0) -> AgainstControl | None:
    """None when either arm has no arrivals in measure: there is nothing to hold the other against.

    Ids are hashed as `tally.py` does: both arms must have been read by the same process.
    """
    ours, theirs = (arm.everything[flagged(arm.everything, MEASURE)] for arm in (faulted, control))
    if not len(ours) or not len(theirs):
        return None
    windows = math.floor(min(faulted.measure.length_s, control.measure.length_s) / window_s + 1e-9)
    per_window = zip(_per_window(faulted, window_s, windows), _per_window(control, window_s, windows), strict=True)
    _, first, second = np.intersect1d(ours["id_hash"], theirs["id_hash"], return_indices=True)
    is_ok, was_ok = outcome(ours[first]) == OK, outcome(theirs[second]) == OK
    return AgainstControl(
        success=Pair(_ok_share(ours), _ok_share(theirs)),
        goodput=Pair(_goodput(faulted), _goodput(control)),
        p95_s=Pair(latency_percentiles(ours)["p95"].value, latency_percentiles(theirs)["p95"].value),
        windows=tuple(
            WindowPair(start=i * window_s, success=Pair(a[0], b[0]), goodput=Pair(a[1], b[1]), p95_s=Pair(a[2], b[2]))
            for i, (a, b) in enumerate(per_window)
        ),
        paired=len(first),
        broken=int(np.sum(was_ok & ~is_ok)),
        mended=int(np.sum(is_ok & ~was_ok)),
    )


def _ok_share(rows: Rows) -> float | None:
    return float(np.mean(outcome(rows) == OK)) if len(rows) else None


def _goodput(arm: Arm) -> float:
    goodput, _ = window_values(ends_of(arm.everything), arm.measure.start, arm.measure.length_s, 1)
    return float(goodput[0])


def _per_window(arm: Arm, window_s: float, windows: int) -> list[tuple[float | None, float | None, float | None]]:
    """Success, goodput and p95 of each window."""
    goodput, p95_s = window_values(ends_of(arm.everything), arm.measure.start, window_s, windows)
    due: Floats = arm.everything["intended"]
    edges = arm.measure.start + window_s * np.arange(windows + 1)
    success = [_ok_share(arm.everything[(due >= edges[i]) & (due < edges[i + 1])]) for i in range(windows)]
    return [(success[i], _known(goodput[i]), _known(p95_s[i])) for i in range(windows)]


def _known(value: float) -> float | None:
    """No number, for what never ended as for what never was."""
    return float(value) if math.isfinite(value) else None
