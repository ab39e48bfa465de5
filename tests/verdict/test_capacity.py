"""What a sweep's points say."""

from __future__ import annotations

from typing import Any

import pytest

from harness.statistics.capacity import Condition
from harness.statistics.point import Point
from harness.verdict.capacity import assess

SLO = (Condition("p95", "<", 1.0),)


def point(load: float, p95: float, *, sitting: int = 1, rate: float | None = None, **fields: Any) -> Point:
    """A level whose agent has eight instances of a tenth of a second."""
    metrics = {"p95": p95, "throughput": rate or 10.0 * min(load, 8), **fields.pop("metrics", {})}
    told = {"run": "r", "ended": 100, "rate": metrics["throughput"], "mean_s": p95, "metrics": metrics}
    return Point(load=load, sitting=sitting, **told, **fields)


def curve(**fields: Any) -> list[Point]:
    """Twice, from 1 to 32 at once."""
    return [
        point(load, max(0.1, load / 10), sitting=sitting, pools={"data": min(1.0, load / 8)}, **fields)
        for sitting in (1, 2)
        for load in (1, 2, 4, 8, 16, 32)
    ]


def test_the_limit_and_what_is_used_up_at_it() -> None:
    """10 at once take a second; at the level beyond it all instances of the agent are busy."""
    found = assess(curve(), SLO, text="p95 < 1 s", mode="closed", rig_rate=4000.0)
    assert found.capacity is not None
    assert found.capacity.load == pytest.approx(10.0, rel=0.01)
    assert found.saturated == ("the instances of agent data: 100%",)
    assert found.fits[0].model == "pool"
    assert found.fits[0].servers == 8
    assert found.rig_share == pytest.approx(80 / 4000)
    assert not found.is_ours


def test_near_the_rig_s_own_ceiling_we_measured_ourselves() -> None:
    """Above seven tenths of what it reaches with nothing behind it."""
    assert assess(curve(), SLO, text="", mode="closed", rig_rate=100.0).is_ours


def test_levels_that_are_not_believed_are_left_out_and_named() -> None:
    """With the reason, once."""
    bad = [point(4, 50.0, sitting=sitting, refused=("Little's law",)) for sitting in (1, 2)]
    found = assess([*(each for each in curve() if each.load != 4), *bad], SLO, text="", mode="closed")
    assert found.capacity is not None
    assert found.capacity.load == pytest.approx(10.0, rel=0.01)
    [named] = [level for level in found.levels if level.refused]
    assert (named.load, named.sittings, named.refused) == (4, 0, ("Little's law",))


def test_without_a_level_nothing_is_told() -> None:
    """Why is."""
    found = assess([point(2, 0.1, refused=("it died",))], SLO, text="", mode="closed")
    assert (found.capacity, found.why) == (None, "it died")
    assert assess([], SLO, text="", mode="closed").why == "nothing was measured"
    assert assess([], SLO, text="", mode="closed", interrupted=True).why == "it was interrupted"


@pytest.mark.parametrize(("p95", "load", "at_least"), [(0.1, 2.0, True), (5.0, None, False)])
def test_one_level_says_on_which_side_of_it(p95: float, load: float | None, at_least: bool) -> None:
    """At least so much, or less than that."""
    found = assess([point(2, p95)], SLO, text="", mode="closed")
    assert found.capacity is not None
    assert (found.capacity.load, found.capacity.at_least) == (load, at_least)


def test_what_lies_beyond_and_is_not_believed_is_known() -> None:
    """The smallest such load; one below the answer is none."""
    held = [point(load, 0.1) for load in (1, 4)]
    bad = [point(load, 0.1, refused=("Little's law",)) for load in (2, 8, 16)]
    assert assess([*held, *bad], SLO, text="", mode="closed").doubted == 8
    assert assess(held, SLO, text="", mode="closed").doubted is None


def test_other_resources_that_give_out() -> None:
    """A core, a service that slows down, the loop, and the slots."""
    busy = {"cpu": 0.97, "loop_lag_p99": 0.2, "queue_depth_peak": 7.0}
    points = [
        point(1, 0.1, services={"redis": 0.001}),
        point(2, 0.2, services={"redis": 0.001}),
        point(16, 3.0, services={"redis": 0.01}, metrics=busy),
    ]
    found = assess(points, SLO, text="", mode="open")
    assert found.saturated[0] == "a core, which is all that one event loop has: 97%"
    assert set(found.saturated[1:]) == {
        "redis, whose answers take 10.0 times as long as at 1",
        "its event loop is late by 200 ms (p99)",
        "its slots: 7 workflows waited for one",
    }
    assert found.fits == ()
