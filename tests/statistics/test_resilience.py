"""What a fault did to whom, and each fault's whole row."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from harness.observation.faults import FaultEvent
from harness.statistics.metrics import Metric, render_value
from harness.statistics.recovery import Detection, Elapsed, TimeToRecover
from harness.statistics.resilience import (
    Absence,
    FaultRow,
    LevelFacts,
    blast_radius,
    budget_burn,
    cascade_ratio,
    false_takeovers,
    fault_metrics,
    fault_rows,
    goodput_share,
    worst,
)
from harness.statistics.resources import Window
from tests.statistics.outages import Job, rows_of, steady, turns, whole

DURING = Window(10.0, 20.0)


def test_the_blast_radius_is_the_share_of_the_harmed_that_never_needed_the_part() -> None:
    """`data` workflows need it, `chat` do not. Harmed are two of `data` and, of `chat`, one that failed and one that
    was slow: 2 of 4. What ended before the fault, or was due after it, is nobody's victim."""
    data = [Job(11.0, 12.0, "failed"), Job(12.0, 13.0, "unknown"), Job(13.0, 13.5), Job(5.0, 9.0, "failed")]
    chat = [
        Job(9.0, 10.5, "failed"),  # under way when it began
        Job(15.0, 17.5),  # slow: 2.5 s, beyond 2 s
        Job(15.0, 16.0),
        Job(21.0, 22.0, "failed"),
    ]
    found = blast_radius({"data": rows_of(data), "chat": rows_of(chat)}, {"data"}, DURING, slow_beyond_s=2.0)
    assert (found.harmed, found.bystanders, found.bystanders_harmed, found.share) == (4, 3, 2, 0.5)
    assert found.metric == Metric(value=0.5, n=4)


def test_a_workflow_that_was_refused_or_never_ended_was_harmed_where_it_was_due() -> None:
    """Neither has an end of its own."""
    jobs = [
        Job(11.0, math.nan, "not_started"),
        Job(2.0, math.nan, "not_started"),
        Job(2.0, math.nan, "unknown"),
        Job(12.0, 12.5),
    ]
    found = blast_radius({"chat": rows_of(jobs)}, set(), DURING, slow_beyond_s=2.0)
    assert (found.harmed, found.bystanders) == (2, 3)


def test_a_blast_radius_without_harm_is_none_and_without_bystanders_not_known() -> None:
    """The first was looked for and not found; for the second nobody was there to be hit."""
    rows = {"data": rows_of([Job(11.0, 12.0)])}
    assert blast_radius(rows, set(), DURING, 2.0).share == 0.0
    assert blast_radius(rows, {"data"}, DURING, 2.0).metric.value is None
    assert blast_radius({}, set(), DURING, 2.0).share is None


def test_the_cascade_ratio_counts_each_that_was_not_aimed_at_once() -> None:
    """Six agents behind one dependency: 6. Those that were aimed at do not count."""
    assert cascade_ratio(["a", "b", "b", "c", "redis"], {"redis", "data"}) == Metric(value=1.5, n=2)
    assert cascade_ratio([], {"redis"}).value == 0.0
    assert cascade_ratio(["a"], set()).value is None


def test_burn_is_bad_over_what_the_objective_allows() -> None:
    """99 % of 1,000 may leave 10 bad: 10 burn it all, 144 burn 14.4 times as much. Of none, nothing is known."""
    assert budget_burn(10, 1000, 0.99).value == pytest.approx(1.0)
    assert budget_burn(144, 1000, 0.99).value == pytest.approx(14.4)
    assert budget_burn(0, 1000, 0.99).value == 0.0
    assert budget_burn(0, 0, 0.99).value is None


@pytest.mark.parametrize(("bad", "total", "slo"), [(1, 10, 1.0), (1, 10, -0.1), (11, 10, 0.9), (-1, 10, 0.9)])
def test_burn_refuses_what_makes_no_sense(bad: int, total: int, slo: float) -> None:
    """An objective of 100 % has no budget to burn."""
    with pytest.raises(ValueError, match=r"cannot be bad|no error budget"):
        budget_burn(bad, total, slo)


def test_goodput_falls_when_work_is_held_up_and_rises_above_one_when_it_is_worked_off() -> None:
    """Five were due, shed and failed ones included, and two ended ok, of which one had been due before; later, 3 did,
    and 1 was due."""
    jobs = [Job(9.0, 11.0), Job(11.0, 12.0), Job(12.0, 20.0), Job(13.0, 21.0), Job(14.0, math.nan, "not_started")]
    jobs += [Job(20.0, 22.0), Job(15.0, 16.0, "failed")]
    rows = rows_of(jobs)
    assert goodput_share(rows, DURING) == Metric(value=2 / 5, n=5)
    assert goodput_share(rows, Window(20.0, 30.0)) == Metric(value=3.0, n=1)
    assert goodput_share(rows_of([]), DURING).value is None


@pytest.mark.parametrize(
    ("at", "absence", "is_false"),
    [
        (12.0, Absence(10.0, 15.0), False),  # silent for two leases
        (11.0, Absence(10.0, 15.0), False),  # for just one
        (10.5, Absence(10.0, 15.0), True),  # not yet for one
        (15.5, Absence(10.0, 15.0), True),  # it had gone on
        (10.5, Absence(10.0, math.inf, is_dead=True), False),  # nobody was replaced
        (9.5, Absence(10.0, math.inf, is_dead=True), True),
    ],
)
def test_a_takeover_is_false_if_its_owner_was_neither_dead_nor_silent_for_a_lease(
    at: float, absence: Absence, is_false: bool
) -> None:
    """The lease is 1 s."""
    assert false_takeovers([at], [absence], 1.0) == Metric(value=int(is_false), n=1)


def test_every_takeover_from_an_owner_that_was_always_there_is_false() -> None:
    """Without any takeover there is none that is false."""
    assert false_takeovers([3.0, 4.0], [], 1.0).value == 2
    assert false_takeovers([], [], 1.0) == Metric(value=0, n=0)


def facts(jobs: list[Job], **more: Any) -> LevelFacts:
    """One kind of workflow, `job`; measure from 0 to 30 s, all over at 40 s."""
    return LevelFacts(by_kind={"job": rows_of(jobs)}, measure=Window(0.0, 30.0), until=40.0)._replace(**more)


def rows(events: list[FaultEvent], jobs: list[Job], **more: Any) -> tuple[FaultRow, ...]:
    """Of such a level."""
    return fault_rows(events, facts(jobs, **more))


OUTAGE = [*steady(0.0, 5.0), *steady(14.0, 30.0)]  # 20 workflows a second, so windows of 1 s; nothing from 5 to 14


def test_a_fault_has_a_row_of_everything_that_came_of_it() -> None:
    """From 5 to 10, seen at 5.5, noticed at 7: TTD 1.5 s. The window that ends at 15 is usual again: TTR 5 s.

    All that was due before 5 had ended by then, and the next was due at 13.52: no backlog, and nobody under way.
    """
    [row] = rows(whole(0, 5.0, 10.0), OUTAGE, detections=[Detection(7.0, "breaker redis")], needing={0: ()})
    assert (row.fault, row.kind, row.began, row.bit, row.lifted, row.bites) == (0, "redis.down", 5.0, 5.5, 10.0, 3)
    assert row.detect == Elapsed(time_s=1.5)
    assert row.recover == TimeToRecover(ending="recovered", time_s=5.0, window_s=1.0)
    assert (row.drain.before, row.drain.backlog) == (0, 0)
    assert row.blast is not None
    assert row.blast.share is None
    found = fault_metrics([row])
    assert {name: metric.value for name, metric in found.items()} == {
        "ttd": 1.5, "ttr": 5.0, "drain": None, "blast_radius": None,
    }  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(row), type=FaultRow) == row


def test_workflows_are_slow_beyond_twice_the_band_before_the_fault() -> None:
    """Usual are 0.5 s, so the band ends at 0.6 s: of those under way, one took 1.25 s and one 1.125 s."""
    jobs = [*steady(0.0, 5.0), Job(6.0, 7.25), Job(6.0, 7.125), *steady(10.0, 30.0)]
    [row] = rows(whole(0, 5.25, 9.5), jobs, needing={0: ()})
    assert row.blast is not None
    assert (row.blast.harmed, row.blast.bystanders) == (1, 2)


def test_without_faults_or_workflows_there_is_nothing_to_tell() -> None:
    """Or only that it is not known."""
    assert rows([], OUTAGE) == ()
    assert fault_metrics([]) == {}
    for nobody in (LevelFacts({}, Window(0.0, 30.0), 40.0), facts([])):
        [row] = fault_rows(whole(0, 5.0, 10.0), nobody)
        assert row.recover.ending == "unknown"
        assert row.blast is None
        assert row.drain.backlog == 0


def test_overlapping_faults_share_what_comes_after_both() -> None:
    """The first is lifted at 8, the second at 10: nothing recovers before. Each has its own bite."""
    events = [*whole(0, 5.0, 8.0), *whole(1, 6.0, 10.0, "postgres.down")]
    first, second = rows(events, OUTAGE, detections=[Detection(7.0, "")])
    assert (first.together_with, second.together_with) == ((1,), (0,))
    assert first.recover == second.recover == TimeToRecover(ending="recovered", time_s=5.0, window_s=1.0)
    assert (first.detect, second.detect) == (Elapsed(time_s=1.5), Elapsed(time_s=0.5))


def test_recovery_is_cut_off_by_the_next_fault() -> None:
    """Nothing ends before 14, and the second fault begins at 13: at least 3 s. The second finds all as usual at 20."""
    first, second = rows([*whole(0, 5.0, 10.0), *whole(1, 13.0, 20.0)], OUTAGE)
    assert first.recover == TimeToRecover(ending="not_recovered", time_s=3.0, window_s=1.0)
    assert second.recover.time_s == 1.0
    assert render_value(fault_metrics([first, second])["ttr"], "duration") == ">= 3 s"


def test_recovery_is_cut_off_by_the_end_of_load_though_another_fault_comes_later() -> None:
    """Measure ends at 30, and nothing is asked any more: that is not an outage of 35 s, nor a recovery."""
    events = [*whole(0, 5.0, 10.0), *whole(1, 35.0, 36.0)]
    first, _ = rows(events, [*steady(0.0, 5.0), *steady(31.0, 35.0)])
    assert first.recover == TimeToRecover(ending="not_recovered", time_s=20.0, window_s=1.0)


def test_a_drain_is_not_known_while_one_fault_was_never_lifted() -> None:
    """The backlog of the first was gone after 2 s; that of the second nobody saw."""
    events = [*whole(0, 5.0, 8.0), *turns(1, begins=12.0, began=12.0, bit=12.5)]
    found = rows(events, [*steady(0.0, 5.0), Job(7.0, 10.0)])
    assert found[0].drain.drained == Elapsed(time_s=2.0)
    assert fault_metrics(found[:1])["drain"].value == 2.0
    assert fault_metrics(found)["drain"].value is None


def test_a_fault_that_was_never_lifted_hides_what_came_after_the_others() -> None:
    """Its row says why."""
    events = [*whole(0, 5.0, 8.0), *turns(1, begins=6.0, began=6.0, bit=7.0)]
    for row in rows(events, OUTAGE):
        assert (row.recover.ending, row.recover.why) == ("unknown", "it was not lifted")
        assert row.drain.drained.why == "it was not lifted"
    assert fault_metrics(rows(events, OUTAGE))["ttr"].value is None


def test_the_worst_of_several_keeps_that_it_is_a_lower_bound() -> None:
    """20 s, and at least 5 s: the second may be longer than the first. One that is not known may be longer than all."""
    known = [Metric(value=20.0, n=1), Metric(value=5.0, n=1, at_least=True)]
    assert worst(known) == Metric(value=20.0, n=2, at_least=True)
    assert worst([*known, Metric(value=None)]).value is None
    assert worst([]).value is None
