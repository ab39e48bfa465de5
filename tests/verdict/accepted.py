"""Baselines as years of accepted runs would leave them, for tests of histories."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np

from harness.observation.build import Build
from harness.verdict.baseline import Baseline, Entry, Epoch
from tests.verdict.readings import reading

BEGIN = datetime(2026, 1, 5, 3, 0, tzinfo=UTC)
CLASS = "x86_64-2c-4gib-0badcafe"


def commit(week: int) -> str:
    """The revision that was run in that week."""
    return f"{week:07x}" + "0" * 33


def entry(week: int, scale: float, *, machine: float = 1.0, referenced: bool = True, sitting: str = "", epoch: int = 1,
          run: str = "") -> Entry:  # fmt: skip
    """The run of one week: the target `scale` times as slow as usual, on a machine `machine` times as slow."""
    at = (BEGIN + timedelta(weeks=week)).isoformat()
    return Entry(
        run=run or f"run-{week}",
        started_at=at,
        sitting=sitting or f"run-{week}",
        epoch=epoch,
        accepted_at=at,
        accepted_by="ada",
        verdict="pass",
        build=Build(kind="git", revision=commit(week)),
        fingerprint={},
        reading=reading(scale * machine, seed=week, throughput=80 / scale / machine),
        reference=reading(machine, seed=1000 + week, throughput=80 / machine) if referenced else None,
    )


def baseline(
    weeks: int, scale: Callable[[int], float] = lambda _: 1.0, *, spread: float = 0.02, referenced: bool = True
) -> Baseline:
    """A run a week; `scale` is how slow the target was, `spread` the machine's own (sd of the logarithm)."""
    rng = np.random.default_rng(9)
    entries = tuple(
        entry(week, scale(week), machine=math.exp(rng.normal() * spread), referenced=referenced)
        for week in range(weeks)
    )
    return of_entries(*entries)


def of_entries(*entries: Entry, scenario: str = "sample", level: str = "10") -> Baseline:
    """A level's baseline."""
    epochs = [
        Epoch(number=n, began_at=BEGIN.isoformat(), by="ada", why="new") for n in {each.epoch for each in entries}
    ]
    return Baseline(scenario=scenario, level=level, machine_class=CLASS, epochs=tuple(epochs), entries=entries)
