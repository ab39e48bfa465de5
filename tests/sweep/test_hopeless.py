"""Levels that are ended because nothing could save them."""

from __future__ import annotations

from typing import Any

import pytest

from harness.load.control import Progress
from harness.run.listening import Interrupt
from harness.statistics.capacity import Condition
from harness.sweep.hopeless import SEEN_MIN, Hopeless

SLO = (Condition("p95", "<", 1.0), Condition("success", ">=", 0.99))


def told(**fields: Any) -> Hopeless:
    """After one report."""
    watching = Hopeless(SLO, Interrupt())
    usual = {"at": 1.0, "phase": "measure", "users": 1, "in_flight": 1, "ok": SEEN_MIN, "failed": 0, "not_started": 0}
    watching.report("10", Progress(**usual | {"p50_s": 0.2, "p95_s": 0.5} | fields), None)
    return watching


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"p95_s": 4.5}, "p95 was 4.5 times its bound after 100 workflows"),
        ({"ok": 40, "failed": 61}, "61 of 101 workflows had failed"),
    ],
)
def test_what_is_far_beyond_is_ended(fields: dict[str, Any], why: str) -> None:
    """And said why."""
    watching = told(**fields)
    assert watching.why == why
    assert watching.interrupt.asked.is_set()


@pytest.mark.parametrize(
    "fields",
    [
        {"p95_s": 3.9},
        {"p95_s": 40.0, "ok": SEEN_MIN - 1},
        {"p95_s": 40.0, "phase": "warmup"},
        {"p95_s": None},
        {"p50_s": 40.0},
        {"ok": 60, "failed": 50},
    ],
)
def test_what_might_yet_hold_goes_on(fields: dict[str, Any]) -> None:
    """Few workflows, a warm-up, a condition that nobody set, a bound that is merely missed."""
    watching = told(**fields)
    assert not watching.why
    assert not watching.interrupt.asked.is_set()


def test_the_person_can_end_it_too() -> None:
    """Their interrupt is heard, and is not taken for hopelessness."""
    persons = Interrupt()
    watching = Hopeless(SLO, persons)
    persons.asked.set()
    assert watching.interrupt.asked.is_set()
    assert not watching.why
