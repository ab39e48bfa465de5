"""Crashes: what came after each, and those that never came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.observation.observation import Outcome
from harness.scenario.scenario import Crash, Outage
from harness.statistics.level import LevelSummary
from harness.statistics.summary import summarise

if TYPE_CHECKING:
    from tests.conftest import RunBuilder


def level_of(run: RunBuilder) -> LevelSummary:
    """The only level of the run, summarised from its files."""
    run.phases()
    [level] = summarise(run.write()).levels
    return level


def without_host(run: RunBuilder, first: float, last: float) -> None:
    """The target's host answered nothing in that time."""
    run.samples = [
        msgspec.structs.replace(sample, host=None, target=None) if first <= sample.at <= last else sample
        for sample in run.samples
    ]


def test_recovery_is_until_the_host_answers_and_all_that_was_in_flight_has_ended(run: RunBuilder) -> None:
    """What ended before and what began after do not count; samples are a second apart."""
    run.workflow(2.0, intended=11.0)
    for latency_s in (3.0, 6.5):
        run.workflow(latency_s, intended=14.0)
    run.workflow(9.0, intended=17.0)
    run.resources()
    without_host(run, 16.0, 18.0)
    run.crashed("after_effect", 15.5)
    [recovery] = level_of(run).crashes
    assert (recovery.point, recovery.how, recovery.at) == ("after_effect", "kill", 15.5)
    assert (recovery.host_s, recovery.in_flight, recovery.ended_s) == (3.5, 2, 5.0)


@pytest.mark.parametrize(
    ("how", "away", "false"),
    [("kill", (15.6, 15.6), 0), ("pause", (16.0, 17.0), 0), ("pause", (15.6, 15.6), 1)],
    ids=["dead", "silent for two samples", "not yet silent"],
)
def test_a_takeover_is_false_before_a_lease_is_out(
    run: RunBuilder, how: str, away: tuple[float, float], false: int
) -> None:
    """Of an owner that was held still; one that is dead may be replaced at once. The usual lease is one second."""
    run.workflow(2.0, intended=11.0)
    run.resources()
    without_host(run, *away)
    run.crashed("before_effect", 15.5, how)
    assert level_of(run).metric("false_takeovers").value == false


@pytest.mark.parametrize("never", ["censored", "vanished"])
def test_what_never_ended_has_no_recovery_time(run: RunBuilder, never: str) -> None:
    """Right-censored, never zero."""
    run.workflow(9.0, intended=14.0)
    if never == "censored":
        run.workflow(18.0, Outcome.UNKNOWN, intended=14.0, censored=True, error_class="censored")
    else:
        run.opened("vanished", accepted=True)
    run.crashed("before_ack", 15.5)
    [recovery] = level_of(run).crashes
    assert (recovery.in_flight, recovery.ended_s, recovery.host_s) == (2, None, None)


def test_a_crash_of_an_idle_target_is_over_at_once(run: RunBuilder) -> None:
    """There was nothing to recover."""
    run.crashed("after_ack", 15.5)
    [recovery] = level_of(run).crashes
    assert (recovery.in_flight, recovery.ended_s) == (0, 0.0)


def test_declared_crashes_that_did_not_fire_are_named(run: RunBuilder) -> None:
    """By point and manner; one that is declared twice must fire twice."""
    run.crash = Crash(kill=("before_claim", "after_effect", "after_effect"), pause=("before_effect",))
    run.crashed("after_effect", 12.0)
    run.crashed("before_effect", 13.0, "kill")
    told = level_of(run).not_fired
    assert [sentence.split(";")[0] for sentence in told] == [
        "the fault did not fire: kill at before_claim",
        "the fault did not fire: kill at after_effect",
        "the fault did not fire: pause at before_effect",
    ]


@pytest.mark.parametrize(
    ("responses", "is_seen"),
    [
        ([*[0.001] * 15, None, None, *[0.001] * 5], True),
        ([*[0.001] * 15, 1.6, *[0.001] * 5], True),
        ([0.001] * 30, False),
        ([None, *[0.001] * 29], False),
    ],
)
def test_a_declared_outage_must_show_in_the_services_health(
    run: RunBuilder, responses: list[float | None], is_seen: bool
) -> None:
    """At its own time: measure begins at 10 s."""
    run.outage = (Outage(service="redis", at=5.0, lasts=2.0),)
    run.health(*responses)
    assert (level_of(run).not_fired == ()) is is_seen


@pytest.mark.parametrize(
    ("responses", "declared", "is_told"),
    [
        ([*[0.001] * 12, None, None, None, *[0.001] * 10], False, True),
        ([*[0.001] * 12, None, None, None, *[0.001] * 10], True, False),
        ([*[0.001] * 12, None, *[0.001] * 10], False, False),
        ([*[0.001] * 20, None, None, None, None], False, True),
    ],
)
def test_a_service_that_was_away_unasked_is_told(
    run: RunBuilder, responses: list[float | None], declared: bool, is_told: bool
) -> None:
    """For two seconds or more, to the end included: what was measured then is not what was to be measured."""
    if declared:
        run.outage = (Outage(service="redis", at=2.0, lasts=3.0),)
    run.health(*responses)
    told = level_of(run).undeclared
    assert bool(told) is is_told
    assert all("redis did not answer for" in sentence for sentence in told)
