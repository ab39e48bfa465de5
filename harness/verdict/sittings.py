"""The sittings of a baseline: which entries count at a moment, how they belong together, and how much they may say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from harness.statistics.comparison import History, Observed
from harness.verdict.baseline import (
    DAYS_MIN,
    SITTING_GAP_MIN,
    SITTINGS_GATING,
    SITTINGS_MIN,
    WINDOW_DAYS,
    WINDOW_RUNS,
    Baseline,
    Entry,
)

Sittings = tuple[tuple[Entry, ...], ...]
"""Entries by sitting, oldest first."""
Standing = Literal["learning", "provisional", "gating"]


def in_window(baseline: Baseline, at: str) -> Sittings:
    """The entries that a run that began `at` (ISO 8601) is compared with: of the current epoch, begun before it, the
    newest WINDOW_RUNS of the last WINDOW_DAYS."""
    now, epoch = datetime.fromisoformat(at), baseline.epochs[-1].number
    oldest = now - timedelta(days=WINDOW_DAYS)
    chosen = [
        entry
        for entry in baseline.entries
        if entry.epoch == epoch and oldest <= datetime.fromisoformat(entry.started_at) < now
    ][-WINDOW_RUNS:]
    sittings: dict[str, list[Entry]] = {}
    for entry in chosen:
        sittings.setdefault(entry.sitting, []).append(entry)
    return tuple(tuple(entries) for entries in sittings.values())


def standing(sittings: Sequence[Sequence[Entry]]) -> Standing:
    """How much the history may say: nothing yet, pass a run, or be relied on."""
    if len(sittings) < SITTINGS_MIN or _days(sittings) < DAYS_MIN:
        return "learning"
    return "gating" if len(sittings) >= SITTINGS_GATING else "provisional"


def sitting_of(baseline: Baseline | None, run: str, started_at: str) -> str:
    """The sitting that a run belongs to: that of the newest entry when it began within SITTING_GAP_MIN of its end.

    An entry does not tell when its run ended. It measured at least as long as its reading and its reference's say: a
    run of further levels ended later, so that runs of those may still count as two sittings where they are one.
    """
    if baseline is None or not baseline.entries:
        return run
    last, gap = baseline.entries[-1], timedelta(minutes=SITTING_GAP_MIN)
    measured_s = last.reading.measure_s + (last.reference.measure_s if last.reference is not None else 0.0)
    after = datetime.fromisoformat(started_at) - datetime.fromisoformat(last.started_at)
    return last.sitting if -gap < after < gap + timedelta(seconds=measured_s) else run


def learned(sittings: Sequence[Sequence[Entry]]) -> str:
    """How far a history that is learning has come."""
    return f"learning: {len(sittings)} of {SITTINGS_MIN} sittings, on {_days(sittings)} of {DAYS_MIN} days"


def history_of(sittings: Sequence[Sequence[Entry]]) -> History:
    """What comparisons take of the entries."""
    return [[Observed(entry.reading, entry.reference) for entry in sitting] for sitting in sittings]


def _days(sittings: Sequence[Sequence[Entry]]) -> int:
    return len({entry.started_at[:10] for sitting in sittings for entry in sitting})
