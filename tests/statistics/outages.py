"""Histories written by hand: workflows as rows, and faults as the turns of their journal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from harness.observation.faults import FaultEvent, Turn
from harness.statistics.tally import FAILED, MEASURE, NOT_STARTED, OK, UNKNOWN, WORKFLOW_ROW, Rows

CODES = {"ok": OK, "failed": FAILED, "unknown": UNKNOWN, "not_started": NOT_STARTED}


class Job(NamedTuple):
    """One workflow; all moments in s from t0."""

    intended: float
    ended: float
    outcome: str = "ok"
    id: int = 0
    told: bool = True  # the target told its end
    phase: int = MEASURE


def rows_of(jobs: Iterable[Job]) -> Rows:
    """As `tally.py` keeps them."""
    packed = [
        (job.intended, job.intended, job.ended, job.intended, job.intended, job.ended if job.told else math.nan,
         job.id, CODES[job.outcome] | job.phase)
        for job in jobs
    ]  # fmt: skip
    return np.array(packed, dtype=WORKFLOW_ROW)


def steady(start: float, end: float, rate: int = 20, latency_s: float = 0.5, first_id: int = 0) -> list[Job]:
    """`rate` ends a second, evenly, the first half a step after `start`: no end lies on the edge of a window."""
    n = round((end - start) * rate)
    ends = [start + (i + 0.5) / rate for i in range(n)]
    return [Job(at - latency_s, at, id=first_id + i) for i, at in enumerate(ends)]


def turns(fault: int, kind: str = "redis.down", **at: float) -> list[FaultEvent]:
    """The lines of one fault: a moment for each turn that was taken."""
    return [event(fault, turn, moment, kind) for turn, moment in at.items()]  # type: ignore[arg-type]


def event(fault: int, turn: Turn, at: float, kind: str = "redis.down") -> FaultEvent:
    """One line."""
    return FaultEvent(
        level="25",
        fault=fault,
        kind=kind,
        turn=turn,
        at=at,
        bites=3 if turn in ("bit", "lifted") else 0,
        detail="no process" if turn == "failed" else "",
    )


def whole(fault: int, began: float, lifted: float, kind: str = "redis.down") -> list[FaultEvent]:
    """A fault that bit half a second after it began, and was lifted."""
    return turns(fault, kind, begins=began, began=began, bit=began + 0.5, lifts=lifted, lifted=lifted)


def shifted(jobs: Sequence[Job], by_s: float) -> list[Job]:
    """The same history, later."""
    return [job._replace(intended=job.intended + by_s, ended=job.ended + by_s) for job in jobs]
