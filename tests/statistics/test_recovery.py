"""How long a fault went unnoticed, and how long it was felt after it had gone."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.observation.faults import FaultEvent
from harness.observation.observation import HostUse, ResourceSample, StateUse
from harness.statistics.fault_spans import episodes, fault_spans
from harness.statistics.recovery import (
    Band,
    Detection,
    Elapsed,
    TimeToRecover,
    backlog_drain,
    ends_of,
    fallbacks_on,
    time_to_detect,
    time_to_recover,
    usual_band,
)
from harness.statistics.resources import Window
from harness.verdict.limit_checks import check_limit
from harness.verdict.limits import Limit
from tests.statistics.outages import Job, rows_of, shifted, steady, turns, whole

# 20 workflows a second of 0.5 s each, so windows of 1 s, from 0 s on; a fault from 5 to 10 s lets nothing end for a
# while.
BEGAN, LIFTED = 5.0, 10.0


def outage(back: float, end: float = 30.0) -> list[Job]:
    """As usual, then nothing, then as usual from `back` on."""
    return [*steady(0.0, BEGAN), *steady(back, end, first_id=1000)]


def ttr(jobs: list[Job], events: list[FaultEvent] | None = None, until: float = 30.0) -> TimeToRecover:
    """Of the first episode."""
    episode = episodes(fault_spans(whole(0, BEGAN, LIFTED) if events is None else events))[0]
    ends = ends_of(rows_of(jobs))
    return time_to_recover(ends, episode, usual_band(ends, Window(0.0, episode.began)), until)


def test_time_to_detect_is_from_the_bite_to_the_first_detection_after_it() -> None:
    """What was noticed before it, or after we stopped looking, was something else."""
    [span] = fault_spans(whole(0, BEGAN, LIFTED))  # it bit at 5.5
    seen = [Detection(at, "breaker redis") for at in (2.0, 9.0, 7.25, 40.0)]
    assert time_to_detect(span, seen, 30.0) == Elapsed(time_s=1.75)
    assert time_to_detect(span, [seen[0], seen[3]], 30.0) == Elapsed(time_s=24.5, at_least=True)


def test_what_was_detected_before_anyone_looked_for_the_bite_is_not_told_too_short() -> None:
    """It bit between 5.25 and 5.5, and was noticed at 5.375: that took 0.125 s at most, not less than nothing."""
    [span] = fault_spans(whole(0, BEGAN, LIFTED))
    assert time_to_detect(span, [Detection(5.375, "")], 30.0) == Elapsed(time_s=0.125)


def test_a_fault_that_did_not_bite_has_no_time_to_detect() -> None:
    """Nor one that bit when nobody looked any more: that is not a time of zero."""
    [idle] = fault_spans(turns(0, begins=5.0, began=5.0, lifted=10.0))
    assert time_to_detect(idle, [Detection(6.0, "")], 30.0) is None
    [late] = fault_spans(whole(0, 30.0, 31.0))
    detect = time_to_detect(late, [], 30.0)
    assert detect is not None
    assert detect.metric.value is None
    assert detect.why


def test_each_time_that_the_host_falls_back_is_a_detection() -> None:
    """A host that says nothing of its state, or nothing at all, neither begins nor ends one."""

    def sample(at: float, provisional: bool | None) -> ResourceSample:
        state = None if provisional is None else StateUse(provisional=provisional)
        return ResourceSample(level="25", at=at, host=HostUse(state=state))

    states = [(1.0, False), (2.0, True), (3.0, None), (4.0, True), (5.0, False), (6.0, True)]
    found = [sample(at, provisional) for at, provisional in states]
    assert [seen.at for seen in fallbacks_on([*found, ResourceSample(level="25", at=7.0)])] == [2.0, 6.0]


def test_the_band_is_what_was_usual_before() -> None:
    """By hand, of windows of 1 s that end where the fault begins, at 4.5 s: four of them.

    ok ends: 17, 19, 21, 23 -> median 20; deviations 3, 1, 1, 3 -> median 2; x 1.4826 x 1.363 (n = 4) = 4.0416;
    20 - 3 x 4.0416 = 7.8753. p95 of each is 1, 1, 1 and 2 s -> median 1, deviation 0, so the 20 %: 1.2 s.
    """
    jobs: list[Job] = []
    for window, (n, latency_s) in enumerate([(17, 1.0), (19, 1.0), (21, 1.0), (23, 2.0)]):
        jobs += steady(window + 0.5, window + 1.5, rate=n, latency_s=latency_s)
    band = usual_band(ends_of(rows_of(jobs)), Window(0.5, 4.5))
    assert isinstance(band, Band)
    assert (band.window_s, band.windows) == (1.0, 4)
    assert band.goodput_least == pytest.approx(7.8753, abs=1e-4)
    assert band.p95_most_s == pytest.approx(1.2)


def test_windows_are_as_long_as_twenty_ends_take() -> None:
    """At 5 ends a second that is 4 s, and three of them fit into 14 s."""
    band = usual_band(ends_of(rows_of(steady(0.0, 14.0, rate=5))), Window(0.0, 14.0))
    assert isinstance(band, Band)
    assert (band.window_s, band.windows) == (4.0, 3)


def test_work_that_ends_in_waves_gets_longer_windows() -> None:
    """40 ends at once every 2 s: in windows of 1 s, none at all would be usual; in windows of 2 s there are 40."""
    jobs = [Job(wave - 0.75, wave + 0.5) for wave in range(0, 12, 2) for _ in range(40)]
    band = usual_band(ends_of(rows_of(jobs)), Window(0.0, 12.0))
    assert isinstance(band, Band)
    assert (band.window_s, band.windows, band.goodput_least) == (2.0, 6, 16.0)


@pytest.mark.parametrize(
    ("jobs", "why"),
    [
        ([], "nothing ended before the fault"),
        (steady(0.0, 5.0, rate=11), "55 ends in 5 s"),
        ([job._replace(outcome="unknown") for job in steady(0.0, 5.0)], "a goodput of 0"),
        (
            [job._replace(outcome="unknown" if job.id % 4 == 0 else "ok") for job in steady(0.0, 5.0)],
            "p95 has no band",
        ),
    ],
)
def test_without_enough_before_the_fault_recovery_is_unknown(jobs: list[Job], why: str) -> None:
    """It says what is lacking, and is neither 0 nor a pass."""
    recover = ttr([*jobs, *steady(10.0, 30.0)])
    assert recover.ending == "unknown"
    assert why in recover.why
    assert recover.metric.value is None


def test_recovery_ends_with_the_first_of_three_usual_windows() -> None:
    """Lifted at 10; nothing ends until 14: the window from 14 to 15 is the first, so 5 s, to within 1 s."""
    assert ttr(outage(14.0)) == TimeToRecover(ending="recovered", time_s=5.0, window_s=1.0)
    # Back in the middle of a window: 10 ends instead of 20 are outside; the next is whole.
    assert ttr(outage(13.5)).time_s == 5.0


def test_two_usual_windows_are_no_recovery() -> None:
    """As usual from 12 to 14, then nothing until 17."""
    jobs = [*steady(0.0, BEGAN), *steady(12.0, 14.0), *steady(17.0, 30.0)]
    assert ttr(jobs).time_s == 8.0


@pytest.mark.parametrize("what", ["slow", "failing"])
def test_goodput_and_p95_must_both_be_back(what: str) -> None:
    """Until 15 all that ends is slow (goodput as usual), or fails fast (p95 as usual)."""
    bad = steady(10.0, 15.0, latency_s=2.0 if what == "slow" else 0.5)
    bad = bad if what == "slow" else [job._replace(outcome="failed") for job in bad]
    assert ttr([*steady(0.0, BEGAN), *bad, *steady(15.0, 30.0)]).time_s == 6.0


def test_recovery_within_the_first_window_is_told_as_one_window_never_as_0() -> None:
    """Nothing ended during the fault, and all is usual at once."""
    assert ttr(outage(10.0)) == TimeToRecover(ending="recovered", time_s=1.0, window_s=1.0)


def test_a_fault_that_did_no_harm_has_nothing_to_recover_from() -> None:
    """No time is told; a limit holds for the one window that it cannot be told apart from."""
    recover = ttr(steady(0.0, 30.0))
    assert (recover.ending, recover.time_s) == ("unharmed", None)
    assert recover.metric.value == 1.0


def test_better_than_usual_harms_nobody() -> None:
    """A backlog that is worked off faster, with short times, is not an outage."""
    assert ttr([*steady(0.0, 10.0), *steady(10.0, 30.0, rate=60, latency_s=0.1)]).ending == "unharmed"


@pytest.mark.parametrize(("back", "least"), [(99.0, 20.5), (29.0, 20.0), (28.0, 19.0)])
def test_what_had_not_recovered_when_load_ended_is_a_lower_bound(back: float, least: float) -> None:
    """Measured to 30.5, so 20.5 s; where the last one or two windows are usual, their first's end may be the time."""
    jobs = outage(back, end=max(back, 31.0)) if back < 31.0 else steady(0.0, BEGAN)
    recover = ttr(jobs, until=30.5)
    assert recover == TimeToRecover(ending="not_recovered", time_s=least, window_s=1.0)
    assert recover.metric.at_least


def test_a_limit_beyond_a_censored_recovery_is_not_known_to_hold() -> None:
    """Within it, it is broken: that much is sure."""
    metric = ttr(steady(0.0, BEGAN), until=20.0).metric  # >= 10 s
    assert (metric.value, metric.at_least) == (10.0, True)
    results = []
    for bound in (15.0, 8.0):  # a duration without 95 % bounds, like this one
        limit = Limit("limits", "25", "service.redis.outage", "<", bound, f"< {bound:g} s")
        results.append(check_limit(limit, metric).result)
    assert results == ["unsure", "breached"]


@pytest.mark.parametrize(
    ("events", "why"),
    [
        (turns(0, begins=5.0, began=5.0, bit=5.5), "was not lifted"),
        (whole(0, 5.0, 30.0), "lifted after the end"),
        (whole(0, 5.0, 34.0), "lifted after the end"),
        (turns(0, begins=5.0, began=5.0, lifted=10.0), "did not bite"),
    ],
)
def test_without_a_bite_and_a_lift_within_measure_recovery_is_unknown(events: list[FaultEvent], why: str) -> None:
    """Nothing was there to recover from, or nobody saw whether it did."""
    recover = ttr(outage(14.0), events)
    assert (recover.ending, recover.time_s) == ("unknown", None)
    assert why in recover.why


def test_an_end_too_soon_after_the_lift_says_nothing_of_a_fault_that_had_done_no_harm() -> None:
    """Two windows were usual; three are needed."""
    recover = ttr(steady(0.0, 30.0), until=12.5)
    assert recover.ending == "unknown"
    assert "only 2.5 s" in recover.why


def test_harm_and_then_too_little_time_to_tell_is_a_lower_bound() -> None:
    """Both windows after the lift were usual, and the third, that would make it a recovery after 1 s, is missing."""
    assert ttr(outage(10.0), until=12.5) == TimeToRecover(ending="not_recovered", time_s=1.0, window_s=1.0)


def test_a_hole_in_the_record_is_taken_for_harm() -> None:
    """All stood still from 16 to 19 and went on as if nothing had been: who can say what happened meanwhile."""
    jobs = [*steady(0.0, BEGAN), *steady(14.0, 16.0), *steady(19.0, 30.0)]
    assert ttr(jobs).time_s == 10.0


@given(by_s=st.integers(0, 100_000), back=st.integers(11, 40))
def test_recovery_does_not_depend_on_when_the_clock_began(by_s: int, back: int) -> None:
    """All times later by the same: the same answer. No end lies on the edge of a window."""
    jobs, events = outage(float(back)), whole(0, BEGAN, LIFTED)
    later = ends_of(rows_of(shifted(jobs, by_s)))
    [episode] = episodes(fault_spans(whole(0, BEGAN + by_s, LIFTED + by_s)))
    band = usual_band(later, Window(float(by_s), episode.began))
    moved, still = time_to_recover(later, episode, band, 30.0 + by_s), ttr(jobs, events)
    assert (moved.ending, moved.time_s) == (still.ending, still.time_s)


busy = st.lists(st.booleans(), min_size=0, max_size=15)


def history(after: list[bool]) -> list[Job]:
    """A second after the lift each: whether all was usual in it."""
    jobs = steady(0.0, BEGAN)
    for second, is_usual in enumerate(after):
        jobs += steady(LIFTED + second, LIFTED + second + 1) if is_usual else []
    return jobs


@given(after=busy, cut=st.integers(0, 15))
def test_a_record_that_is_cut_never_tells_of_a_shorter_recovery(after: list[bool], cut: int) -> None:
    """Cut anywhere, it tells the same, or a lower bound that the whole one keeps."""
    end = LIFTED + len(after)
    until = min(end, LIFTED + cut)
    full = ttr(history(after), until=end)
    part = ttr([job for job in history(after) if job.ended < until], until=until)
    if part.ending == "recovered":
        assert part == full
    elif part.ending == "not_recovered":
        assert part.time_s is not None
        assert full.time_s is not None
        assert 0 < part.time_s <= full.time_s


@given(after=busy, longer_s=st.integers(0, 10))
def test_a_longer_outage_never_tells_of_a_shorter_recovery(after: list[bool], longer_s: int) -> None:
    """With the same record after the lift, nothing going on for longer before or after it."""

    def time_s(extra_down: int, extra_after: int) -> float:
        jobs = [
            job if job.ended < BEGAN else shifted([job], extra_down + extra_after)[0] for job in history([*after, True])
        ]
        events = whole(0, BEGAN, LIFTED + extra_down)
        end = LIFTED + extra_down + extra_after + len(after) + 1
        return ttr(jobs, events, until=end).time_s or 0.0

    assert time_s(longer_s, 0) == time_s(0, 0)
    assert time_s(0, longer_s) >= time_s(0, 0)


def drain(jobs: list[Job], **of: Any) -> tuple[int, int, Elapsed]:
    """With a fault from 5 to 10 s."""
    found = backlog_drain(rows_of(jobs), BEGAN, of.get("lifted", LIFTED), of.get("until", 40.0), of.get("open_", 0))
    return found.before, found.backlog, found.drained


def test_a_backlog_is_drained_when_all_that_waited_at_the_lift_has_ended() -> None:
    """What ended before, what was due after, and what was shed, was never in it."""
    jobs = [
        Job(4.0, 6.0),  # in flight when the fault began
        Job(4.5, 13.0),  # and when it was lifted
        Job(9.0, 17.5, "failed"),  # the last to leave
        Job(11.0, 30.0),  # came later
        Job(8.0, math.nan, "not_started"),  # shed
    ]
    assert drain(jobs) == (2, 2, Elapsed(time_s=7.5))


@pytest.mark.parametrize("never", ["untold", "without a row"])
def test_a_backlog_with_a_workflow_that_never_ended_is_not_drained(never: str) -> None:
    """A lower bound: to the end of the drain."""
    jobs = [Job(9.0, 12.0)]
    if never == "untold":
        jobs.append(Job(8.0, 20.0, "unknown", told=False))
    assert drain(jobs, open_=int(never != "untold")) == (0, 2, Elapsed(time_s=30.0, at_least=True))


def test_what_the_target_gave_up_has_left() -> None:
    """A deadline ended it, and the target said so."""
    assert drain([Job(8.0, 20.0, "unknown")])[2] == Elapsed(time_s=10.0)


@pytest.mark.parametrize(
    ("jobs", "lifted", "why"),
    [
        ([], 10.0, "nothing was in flight"),
        ([Job(4.0, 6.0)], 10.0, "nothing was in flight"),
        ([Job(4.0, 60.0)], None, "not lifted"),
        ([Job(4.0, 60.0, "unknown", told=False)], 40.0, "after the end of the drain"),
    ],
)
def test_a_drain_that_nobody_can_tell_has_no_time(jobs: list[Job], lifted: float | None, why: str) -> None:
    """It is not 0."""
    drained = drain(jobs, lifted=lifted)[2]
    assert drained.metric.value is None
    assert why in drained.why
