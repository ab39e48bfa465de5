"""What a sweep's answer looks like to a person."""

from __future__ import annotations

import io
from typing import Any

import pytest

from harness.report.capacity import print_assessment, sentences
from harness.statistics.capacity import Condition
from harness.statistics.point import Point
from harness.verdict.capacity import Assessment, assess

SLO = (Condition("p95", "<", 1.0),)
WORDS = "p95 < 1 s"


def swept(
    seconds_a_load: float = 0.1, *, sittings: int = 3, rig_rate: float | None = 5000.0, **fields: Any
) -> Assessment:
    """A sweep of an agent with eight instances, a tenth of a second each, from 1 to 32 at once."""
    points = [
        Point(
            load=load, sitting=sitting, run="r", ended=100, rate=10.0 * min(load, 8), mean_s=0.1,
            metrics={
                "p95": max(0.1, load * seconds_a_load) * (1 + 0.01 * sitting), "throughput": 10.0 * min(load, 8),
                "cost_per_workflow": 0.002,
            },
            pools={"data": min(1.0, load / 8)}, **fields,
        )
        for sitting in range(1, sittings + 1) for load in (1, 2, 4, 8, 16, 32)
    ]  # fmt: skip
    return assess(points, SLO, text=WORDS, mode="closed", rig_rate=rig_rate)


def cut(*doubted: int, interrupted: bool = False) -> Assessment:
    """Held at 1 and at 2; what comes after is not believed."""
    points = [
        Point(load=load, sitting=1, run="r", ended=100, rate=load, mean_s=0.1, metrics={"p95": 0.1},
              refused=("odd",) if load in doubted else ())
        for load in (1, 2, *doubted)
    ]  # fmt: skip
    return assess(points, SLO, text=WORDS, mode="closed", interrupted=interrupted)


def hopeless() -> Assessment:
    """The first level was."""
    why = "p95 is 9 s"
    refused = (f"it was ended early, as hopeless: {why}",)
    point = Point(load=8, sitting=1, run="r", ended=9, rate=1.0, mean_s=9.0, metrics={}, stopped=why, refused=refused)
    return assess([point], SLO, text=WORDS, mode="closed")


def said(found: Assessment) -> str:
    out = io.StringIO()
    print_assessment(found, out)
    return out.getvalue()


def test_the_answer_comes_first() -> None:
    """The load with its interval, as a rate, what it costs, and how far from our own ceiling."""
    first, *rest = sentences(swept())
    assert first.startswith("9.8 at once (90 %: 9.")
    assert first.endswith("within p95 < 1 s; p95 gives out first")
    assert rest == [
        "that is 80 workflows a second, 288,000 an hour",
        "a thousand workflows cost $2.00",
        "the rig itself reaches 5e+03/s with nothing behind it; this is 1.6% of it",
    ]


def test_levels_causes_and_the_law_come_after_it() -> None:
    """A row a level; what is used up; which curve it is."""
    text = said(swept())
    assert "16       3         80" in text
    assert "used up at the limit: the instances of agent data: 100%" in text
    assert "best explained by so many servers, and no more: 8 of them, 10/s each" in text


@pytest.mark.parametrize(
    ("found", "start"),
    [
        (swept(0.001), "at least 32 at once within p95 < 1 s: the sweep ended there, nothing gave out"),
        (swept(5.0), "less than 1 at once: even that is not within p95 < 1 s (p95)"),
        (swept(refused=("it died",)), "no capacity can be told: it died"),
        (cut(interrupted=True), "at least 2 at once within p95 < 1 s: the sweep was interrupted there"),
        (
            cut(4),
            "at least 2 at once within p95 < 1 s: nothing gave out; 4 and more were measured, and are not believed",
        ),
        (hopeless(), "fewer than 8 at once within p95 < 1 s: it was ended early, as hopeless: p95 is 9 s"),
    ],
)
def test_what_was_not_reached_is_not_made_up(found: Assessment, start: str) -> None:
    """Nothing beyond the last level, nothing below the first, nothing of levels that are not believed."""
    assert said(found).startswith(start)


def test_one_sitting_has_no_interval() -> None:
    """And says so."""
    assert "(of one sitting, so without an interval)" in next(iter(sentences(swept(sittings=1))))


def test_levels_that_are_not_believed_are_named() -> None:
    """With the reason."""
    assert "level 16 is not believed: it died" in said(swept(refused=("it died",)))


def test_whoever_measured_the_rig_is_told() -> None:
    """It says nothing of the system."""
    text = said(swept(rig_rate=90.0))
    assert "so it is ourselves that we measured" in text
    assert "above 70% it says nothing of the system" in text
