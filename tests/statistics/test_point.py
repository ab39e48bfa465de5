"""A level of a sweep as a point of its curve, and when it is not believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.observation.observation import Outcome
from harness.statistics.capacity import Condition
from harness.statistics.point import Point, point_of

if TYPE_CHECKING:
    from tests.conftest import RunBuilder

SLO = (Condition("p95", "<", 1.0), Condition("success", ">=", 0.99))


def made(run: RunBuilder, load: float, *, closed: bool = True) -> Point:
    """Of a level that was measured from 10 to 30 s."""
    run.phases()
    run.resources()
    return point_of(run.write(), SLO, load=load, sitting=1, closed=closed)


def test_rate_mean_and_metrics(run: RunBuilder) -> None:
    """20 a second of half a second each are 10 at once; pools and what the objective names come along."""
    run.workflows(400, 0.5, steps=(run.step(),))
    point = made(run, 10)
    assert point.refused == ()
    assert (point.ended, point.rate) == (390, pytest.approx(19.5))  # the last ten ended after measure
    assert point.mean_s == pytest.approx(0.5)
    assert point.metrics["p95"] == pytest.approx(0.5)
    assert point.metrics["success"] == 1.0
    assert point.holds(SLO)


@pytest.mark.parametrize("load", [5.0, 20.0])
def test_what_misses_little_s_law_is_not_believed(run: RunBuilder, load: float) -> None:
    """Neither too much of it nor too little; arrivals have no such law, as nobody holds their number."""
    run.workflows(400, 0.5)
    point = made(run, load)
    [why] = point.refused
    assert f"are not {load:g} at once (Little's law" in why
    assert not point.holds(SLO)
    assert point_of(run.folder, SLO, load=load, sitting=1, closed=False).refused == ()


@pytest.mark.parametrize(
    ("outcome", "rejected", "latency_s"),
    [(Outcome.NOT_STARTED, True, None), (Outcome.UNKNOWN, False, 0.5)],
)
def test_users_who_were_refused_or_heard_nothing_spent_their_time_so(
    run: RunBuilder, outcome: Outcome, rejected: bool, latency_s: float | None
) -> None:
    """Too little is believed then, and the objective is missed; too much is not believed even so."""
    run.workflows(400, 0.5)
    for number in range(100):
        run.workflow(latency_s, outcome, rejected=rejected, error_class="some", intended=10.0 + number / 6)
    point = made(run, 20)
    assert point.refused == ()
    assert point.metrics["success"] < 0.99
    assert not point.holds(SLO)
    [why] = point_of(run.folder, SLO, load=5, sitting=1, closed=True).refused
    assert "Little's law" in why


def test_what_was_not_measured_is_named(run: RunBuilder) -> None:
    """And a percentile of too few says nothing."""
    run.workflows(20, 0.5)
    point = made(run, 1, closed=False)
    assert any("p95 is of 20 workflows, which are too few" in why for why in point.refused)


def test_a_level_that_was_cut_short_says_nothing(run: RunBuilder) -> None:
    """How it ended, instead."""
    run.workflows(400, 0.5)
    run.phases(last="measure")
    run.resources()
    run.finished = False
    [why, *_] = point_of(run.write(), SLO, load=10, sitting=1, closed=True).refused
    assert why.startswith("it ended as ")
