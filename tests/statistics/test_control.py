"""A run with a fault beside its control arm."""

from __future__ import annotations

import pytest

from harness.statistics.control import Arm, Pair, against_control
from harness.statistics.resources import Window
from tests.statistics.outages import Job, rows_of, shifted, steady


def arm(jobs: list[Job], start: float = 0.0, end: float = 3.0) -> Arm:
    """With its measure phase."""
    return Arm(rows_of(jobs), Window(start, end))


CONTROL = [Job(0.125, 0.5, id=1), Job(1.125, 1.5, id=2), Job(1.25, 1.75, "failed", id=3), Job(2.125, 2.5, id=4)]
# 2 ended a second later, 3 was mended, 4 failed
FAULTED = [Job(0.125, 0.5, id=1), Job(1.125, 2.5, id=2), Job(1.25, 1.75, id=3), Job(2.125, 2.25, "failed", id=4)]


def test_arms_are_compared_as_a_whole_by_window_and_by_workflow() -> None:
    """By hand: each has 3 ok of 4, in 3 s. In the second window goodput and success were 1 of 2, now they are 1 and 2
    of 2; in the third 1 of 1, now 1 late one ended, and none of those due."""
    found = against_control(arm(FAULTED), arm(CONTROL))
    assert found is not None
    assert (found.success, found.goodput) == (Pair(0.75, 0.75), Pair(1.0, 1.0))
    assert (found.p95_s, found.p95_s.change) == (Pair(1.375, 0.5), 0.875)
    assert [window.start for window in found.windows] == [0.0, 1.0, 2.0]
    assert [window.success for window in found.windows] == [Pair(1.0, 1.0), Pair(1.0, 0.5), Pair(0.0, 1.0)]
    assert [window.goodput.change for window in found.windows] == [0.0, 0.0, 0.0]
    assert [window.p95_s for window in found.windows] == [Pair(0.375, 0.375), Pair(0.5, 0.5), Pair(1.375, 0.375)]
    assert (found.paired, found.broken, found.mended) == (4, 1, 1)


def test_each_arm_has_a_clock_of_its_own() -> None:
    """Measure began 100 s later in the second: the same."""
    assert against_control(arm(shifted(FAULTED, 100), 100.0, 103.0), arm(CONTROL)) == against_control(
        arm(FAULTED), arm(CONTROL)
    )


def test_a_slower_arm_of_a_closed_load_has_fewer_workflows_and_only_those_are_paired() -> None:
    """Nothing is said of what the other never did. The shorter measure decides how many windows there are."""
    slower = [FAULTED[0], FAULTED[1]._replace(outcome="failed")]
    found = against_control(arm(slower, end=2.5), arm(CONTROL))
    assert found is not None
    assert (found.paired, found.broken, found.mended, len(found.windows)) == (2, 1, 0, 2)


def test_what_nothing_tells_has_no_change() -> None:
    """Nothing was due or ended in the second window of the one; p95 of what never ended is no number."""
    jobs = [Job(0.125, 0.5, id=1), Job(2.125, 2.75, "unknown", id=4)]
    found = against_control(arm(jobs), arm(CONTROL))
    assert found is not None
    second, third = found.windows[1:]
    assert (second.success.change, second.goodput.change, second.p95_s.change) == (None, -1.0, None)
    assert third.p95_s == Pair(None, 0.375)


@pytest.mark.parametrize("nobody", [[], [Job(0.5, 1.0, phase=0)]])
def test_an_arm_without_arrivals_in_measure_is_no_control(nobody: list[Job]) -> None:
    """Whatever there was in the warm-up."""
    assert against_control(arm(CONTROL), arm(nobody)) is None
    assert against_control(arm(nobody), arm(CONTROL)) is None


def test_an_outage_is_told_window_by_window() -> None:
    """Nothing ends from 5 to 10: goodput falls by 20 a second in those windows, and in no other."""
    faulted = [*steady(0.0, 5.0), *steady(10.0, 15.0, first_id=500)]
    found = against_control(arm(faulted, end=15.0), arm(steady(0.0, 15.0), end=15.0))
    assert found is not None
    assert [window.goodput.change for window in found.windows] == [0.0] * 5 + [-20.0] * 5 + [0.0] * 5
