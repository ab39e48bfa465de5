"""What a fault did to whom: blast radius, cascade, error budget, goodput, false takeovers; and each fault's whole row.

Definitions are FAULTS.md's, section 1, where no other source is named. LOST, DUP and ZOMBIE are counted in
`promises.py`, amplification and waste in `amplification.py`, the comparison with the control arm in `control.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np

from harness.observation.faults import FaultEvent
from harness.statistics.fault_spans import Episode, FaultSpan, episodes, fault_spans
from harness.statistics.metrics import Metric
from harness.statistics.recovery import (
    Band,
    Detection,
    Drain,
    Elapsed,
    TimeToRecover,
    backlog_drain,
    ends_of,
    time_to_detect,
    time_to_recover,
    usual_band,
)
from harness.statistics.resources import NOTHING, Window
from harness.statistics.tally import NOT_STARTED, OK, WORKFLOW_ROW, Rows, outcome

SLOW_TIMES = 2.0
"""A workflow is slow beyond twice the upper edge of the band of p95: five of a hundred are beyond p95 on any day, and
would be counted as harmed."""


class BlastRadius(msgspec.Struct, frozen=True):
    """Who was hurt, of the workflows that were under way while the fault was in place.

    `share` is bystanders_harmed / harmed: the failed and slow workflows that never needed the faulted part. 0 when
    bystanders were there and nobody was harmed; None without bystanders: then nothing is known of them.
    """

    harmed: int
    bystanders: int
    bystanders_harmed: int
    share: float | None

    @property
    def metric(self) -> Metric:
        """The share; n is the workflows that were harmed."""
        return NOTHING if self.share is None else Metric(value=self.share, n=self.harmed)


def blast_radius(
    by_kind: Mapping[str, Rows], needing: Collection[str], during: Window, slow_beyond_s: float
) -> BlastRadius:
    """`needing` are the kinds of workflow that need the faulted part; all others are bystanders.

    A workflow was under way if any of [intended, ended] lies in `during`; it is harmed if it did not end ok, or took
    longer than `slow_beyond_s` from its intended start. What was never started was refused at its intended start.
    """
    harmed = bystanders = bystanders_harmed = 0
    for kind, rows in by_kind.items():
        ended = np.where(np.isnan(rows["ended"]), np.inf, rows["ended"])
        ended = np.where(outcome(rows) == NOT_STARTED, rows["intended"], ended)
        under_way = rows[(rows["intended"] < during.end) & (ended >= during.start)]
        took_s = under_way["ended"] - under_way["intended"]
        hurt = int(np.sum((outcome(under_way) != OK) | (took_s > slow_beyond_s)))
        harmed += hurt
        if kind not in needing:
            bystanders += len(under_way)
            bystanders_harmed += hurt
    share = None if not bystanders else bystanders_harmed / harmed if harmed else 0.0
    return BlastRadius(harmed=harmed, bystanders=bystanders, bystanders_harmed=bystanders_harmed, share=share)


def cascade_ratio(failing: Iterable[str], targeted: Collection[str]) -> Metric:
    """Agents and breakers that failed without being targeted / those that were; each counts once. n is the targets.

    May exceed 1: six agents behind one dependency make 6. Without a target there is no ratio.
    """
    aimed_at = set(targeted)
    return Metric(value=len(set(failing) - aimed_at) / len(aimed_at), n=len(aimed_at)) if aimed_at else NOTHING


def budget_burn(bad: int, total: int, slo: float) -> Metric:
    """bad / (total x (1 - SLO)): 1 is the whole error budget of so many workflows, 10 is ten times too much.

    The burn rate of the Site Reliability Workbook, chapter 5, over the stretch that `total` was counted in. `slo` is
    the promised share of good ones. Raises ValueError unless 0 <= slo < 1 and 0 <= bad <= total.
    """
    if not 0 <= slo < 1:
        raise ValueError(f"an SLO of {slo} has no error budget: it must be at least 0 and below 1")
    if not 0 <= bad <= total:
        raise ValueError(f"{bad} of {total} cannot be bad")
    return Metric(value=bad / (total * (1 - slo)), n=total) if total else NOTHING


def goodput_share(everything: Rows, window: Window) -> Metric:
    """Ok ends within the window / arrivals due within it, whatever became of those; n is the arrivals.

    Above 1 while a backlog is worked off. Unlike `success` it falls when work is only held up.
    """
    ended, due = everything["ended"], everything["intended"]
    ok = (outcome(everything) == OK) & (ended >= window.start) & (ended < window.end)
    offered = int(np.sum((due >= window.start) & (due < window.end)))
    return Metric(value=int(np.sum(ok)) / offered, n=offered) if offered else NOTHING


class Absence(NamedTuple):
    """An owner did nothing from `start` to `end`, in s from t0. `is_dead`: it never comes back, so has no end."""

    start: float
    end: float
    is_dead: bool = False


def false_takeovers(takeovers: Sequence[float], absences: Sequence[Absence], lease_s: float) -> Metric:
    """Takeovers, at these moments, from an owner that was neither dead nor silent for as long as its lease.

    An owner that is held still may be replaced from one lease after that until it goes on; later it has shown that it
    lives. n is all takeovers.
    """
    false = sum(not any(_permits(absence, at, lease_s) for absence in absences) for at in takeovers)
    return Metric(value=false, n=len(takeovers))


def _permits(absence: Absence, at: float, lease_s: float) -> bool:
    if absence.is_dead:
        return at >= absence.start
    return absence.start + lease_s <= at <= absence.end


class FaultRow(msgspec.Struct, frozen=True, kw_only=True):
    """One fault of a level, and what came of it; moments in s from t0. `detect` None: it did not bite, or
    nothing was there that could have noticed.

    What follows a fault is told of its whole episode: the faults that were in place together share it.
    """

    fault: int
    kind: str
    began: float
    bit: float | None
    lifted: float | None
    bites: int
    failed: str = ""  # why it could not be begun, or not be lifted
    together_with: tuple[int, ...]
    detect: Elapsed | None
    recover: TimeToRecover
    drain: Drain
    blast: BlastRadius | None  # None: who needs it is not known, or nothing was usual before it


class LevelFacts(NamedTuple):
    """What a level's faults are judged by."""

    by_kind: Mapping[str, Rows]  # of all phases
    measure: Window
    until: float  # the last that is known of the level: the end of its drain
    detections: Sequence[Detection] = ()
    without_end: int = 0  # workflows that were sent, and are in no row
    can_notice: bool = True  # there is a breaker, or a fallback
    needing: Mapping[int, Collection[str]] = {}  # by fault: the kinds of workflow that need what it breaks


def fault_rows(events: Sequence[FaultEvent], facts: LevelFacts) -> tuple[FaultRow, ...]:
    """The faults of one level, by when they began.

    What is usual is that of measure before the first of them: after it nothing is known to be undisturbed. A fault is
    recovered from until the next episode begins, else that is censored there.
    """
    found = episodes(fault_spans(events))
    if not found:
        return ()
    rows = list(facts.by_kind.values())
    everything = np.concatenate(rows) if rows else np.empty(0, dtype=WORKFLOW_ROW)
    ends = ends_of(everything)
    band = usual_band(ends, Window(facts.measure.start, min(found[0].began, facts.measure.end)))
    limits = [min(after.began, facts.measure.end) for _, after in pairwise(found)] + [facts.measure.end]
    table = []
    for episode, limit in zip(found, limits, strict=True):
        recover = time_to_recover(ends, episode, band, limit)
        drain = backlog_drain(everything, episode.began, episode.lifted, facts.until, facts.without_end)
        table += [_row(span, episode, recover, drain, band, facts) for span in episode.faults]
    return tuple(table)


def _row(
    span: FaultSpan, episode: Episode, recover: TimeToRecover, drain: Drain, band: Band | str, facts: LevelFacts
) -> FaultRow:
    blast = None
    if span.fault in facts.needing and span.bit_since is not None and isinstance(band, Band):
        during = Window(span.bit_since, facts.measure.end if span.lifted is None else span.lifted)
        blast = blast_radius(facts.by_kind, facts.needing[span.fault], during, SLOW_TIMES * band.p95_most_s)
    return FaultRow(
        fault=span.fault,
        kind=span.kind,
        began=span.began,
        bit=span.bit,
        lifted=span.lifted,
        bites=span.bites,
        failed=span.failed,
        together_with=tuple(other.fault for other in episode.faults if other is not span),
        detect=time_to_detect(span, facts.detections, facts.measure.end) if facts.can_notice else None,
        recover=recover,
        drain=drain,
        blast=blast,
    )


def fault_metrics(rows: Sequence[FaultRow]) -> dict[str, Metric]:
    """`ttd`, `ttr`, `drain` and `blast_radius` of a level: those of its worst fault; empty without faults.

    A fault that did not bite has no TTD, and one that left nothing in flight no drain. Where one of the others is not
    known, nor is the worst.
    """
    if not rows:
        return {}
    return {
        "ttd": worst([row.detect.metric for row in rows if row.detect is not None]),
        "ttr": worst([row.recover.metric for row in rows]),
        "drain": worst([row.drain.drained.metric for row in rows if row.lifted is None or row.drain.backlog]),
        "blast_radius": worst([row.blast.metric for row in rows if row.blast is not None]),
    }


def worst(metrics: Sequence[Metric]) -> Metric:
    """The largest value; a lower bound if any is one, as that one may be larger than all. None: one is not known."""
    values = [metric.value for metric in metrics if metric.value is not None]
    if not values or len(values) < len(metrics):
        return NOTHING
    return Metric(value=max(values), n=len(values), at_least=any(metric.at_least for metric in metrics))
