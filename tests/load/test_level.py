"""A level driven by a real load process against a real peer: phases, arrivals, censoring, and how it can be ended."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from harness.load.arrivals import Poisson, seed_of
from harness.load.control import PhaseChanged, Progress, Stop
from harness.observation.observation import LoadCheck, Observation, Opened, Outcome, Phase, PhaseMark
from harness.scenario.scenario import Load, Workflow


def is_in(phase: str) -> Any:
    """The report that a phase begins."""
    return lambda report: isinstance(report, PhaseChanged) and report.phase == phase


def ids(observations: list[Observation]) -> list[str]:
    """Their workflow ids."""
    return [observation.id for observation in observations]


def test_every_closed_arrival_is_observed_once_and_agrees_with_the_host(bench: Any) -> None:
    """Ten users: what the journal holds is what the host ran, each time seen a little later than it happened."""
    peer = bench.peer(median_s=0.02)
    driven = bench.drive(Load(closed=(10,), warmup=0.3, measure=1.0, drain=5.0))
    truth = peer.end()
    assert driven.exit_code == 0
    assert Counter(ids(driven.observations)) == Counter(truth["ran"].keys())
    assert driven.done.arrivals == len(truth["ran"])
    assert driven.done.censored == 0
    assert truth["in_flight_max"] == 10
    for seen in driven.observations:
        ran = truth["ran"][seen.id]
        assert seen.outcome is Outcome.OK
        assert seen.target_ended == ran["ended"]
        assert seen.started <= ran["accepted"] <= ran["ended"] <= seen.ended
        assert ran["accepted"] <= seen.accepted <= seen.ended
        assert seen.level == "10"
        assert seen.steps[0].agent == "triage"


def test_closed_users_intend_the_next_start_when_the_last_ended(bench: Any) -> None:
    """One user: its workflows form a chain without gaps in intention, so nothing is left out of the latency."""
    bench.peer(median_s=0.01)
    driven = bench.drive(Load(closed=(1,), warmup=0.0, measure=0.6, drain=5.0))
    for before, after in pairwise(driven.observations):
        assert after.intended == before.ended
        assert after.started >= after.intended


def test_samples_belong_to_the_phase_of_their_intended_start(bench: Any) -> None:
    """Warm-up, measure, and nothing else; the marks stand where the phases were meant to be."""
    bench.peer(median_s=0.03)
    driven = bench.drive(Load(closed=(5,), warmup=0.4, measure=0.8, drain=5.0))
    marks = {mark.phase: mark.at for mark in driven.of(PhaseMark)}
    assert list(marks) == ["warmup", "measure", "drain", "end"]
    assert marks["measure"] - marks["warmup"] == pytest.approx(0.4)
    assert marks["drain"] - marks["measure"] == pytest.approx(0.8, abs=0.05)
    for seen in driven.observations:
        assert seen.phase is (Phase.WARMUP if seen.intended < marks["measure"] else Phase.MEASURE)
        assert seen.intended < marks["drain"]
    assert {seen.phase for seen in driven.observations} == {Phase.WARMUP, Phase.MEASURE}
    assert any(seen.ended > marks["drain"] for seen in driven.observations), "the drain waited for nothing"
    assert [report.phase for report in driven.said(PhaseChanged)] == ["warmup", "measure", "drain"]


def test_the_end_mark_is_the_last_line(bench: Any) -> None:
    """It says that everything before it is complete."""
    bench.peer()
    driven = bench.drive(Load(closed=(2,), warmup=0.0, measure=0.3, drain=5.0))
    assert isinstance(driven.lines[-1], PhaseMark)
    assert driven.lines[-1].phase == "end"


def test_what_the_drain_could_not_wait_for_is_censored(bench: Any) -> None:
    """Every fifth workflow hangs: counted, unknown, with a lower bound of its latency, and once only."""
    peer = bench.peer(median_s=0.02, hang_every=5)
    driven = bench.drive(
        Load(closed=(6,), warmup=0.0, measure=0.5, drain=0.4), workflow=(Workflow(kind="simple", deadline=60.0),)
    )
    truth = peer.end()
    censored = [seen for seen in driven.observations if seen.censored]
    marks = {mark.phase: mark.at for mark in driven.of(PhaseMark)}
    assert len(censored) == driven.done.censored == sum(ran["ended"] is None for ran in truth["ran"].values()) > 0
    assert Counter(ids(driven.observations)) == Counter(truth["ran"].keys())
    for seen in censored:
        assert (seen.outcome, seen.error_class) == (Outcome.UNKNOWN, "censored")
        assert seen.accepted is not None
        assert seen.ended >= marks["drain"] + 0.4


def test_open_arrivals_are_those_of_the_seed_whatever_the_target_does(bench: Any) -> None:
    """The intended starts are the profile's own offsets from the level's start, though one user must serve them all."""
    bench.peer(median_s=0.05)
    driven = bench.drive(Load(open=(30.0,), warmup=0.3, measure=1.0, drain=5.0, in_flight_max=1), seed=11)
    begins = next(mark.at for mark in driven.of(PhaseMark) if mark.phase == "warmup")
    offsets = list(Poisson(30.0, 1.3).arrivals(Random(seed_of(11, "arrivals/30/s"))))
    assert sorted(seen.intended for seen in driven.observations) == [begins + offset for offset in offsets]
    assert driven.done.arrivals == len(offsets)


def test_an_arrival_without_a_free_user_starts_late_or_is_shed(bench: Any) -> None:
    """Two users, a target that needs 0.2 s, 40 arrivals/s: late ones keep their intended start, the rest is shed."""
    peer = bench.peer(median_s=0.2, sigma=0.0)
    driven = bench.drive(Load(open=(40.0,), arrivals="constant", warmup=0.0, measure=1.5, drain=5.0, in_flight_max=2))
    shed = [seen for seen in driven.observations if seen.outcome is Outcome.NOT_STARTED]
    ran = [seen for seen in driven.observations if seen.outcome is Outcome.OK]
    truth = peer.end()
    assert len(shed) + len(ran) == 60
    assert truth["in_flight_max"] == 2
    assert sorted(ids(ran)) == sorted(truth["ran"])
    assert {(seen.error_class, seen.rejected, seen.started) for seen in shed} == {("shed", False, None)}
    assert max(seen.started - seen.intended for seen in ran) > 0.5
    assert all(seen.ended - seen.intended >= 0.2 for seen in ran)


def test_an_arrival_due_at_the_very_end_still_starts_when_a_user_is_free(bench: Any) -> None:
    """2,000 arrivals/s, so that some are due in the last millisecond: with users to spare none is shed."""
    bench.peer(uvloop=True)
    driven = bench.drive(Load(open=(2000.0,), arrivals="constant", warmup=0.0, measure=0.5, drain=5.0))
    assert Counter(seen.outcome for seen in driven.observations) == {Outcome.OK: 1000}


def test_without_a_drain_every_arrival_is_observed_all_the_same(bench: Any) -> None:
    """Shed, censored or ok, but each once: 200 in one burst that is due when all but nothing of `measure` is left."""
    peer = bench.peer(median_s=0.3)
    driven = bench.drive(Load(burst=(200,), warmup=0.2, measure=0.001, drain=0.0, in_flight_max=150))
    assert driven.done.arrivals == len(driven.observations) == 200
    sent = [seen.id for seen in driven.observations if seen.outcome is not Outcome.NOT_STARTED]
    assert set(peer.end()["ran"]) <= set(sent)


def test_the_pool_of_users_grows_as_arrivals_need_it(bench: Any) -> None:
    """A burst of 150 at once is served at once by 150 users."""
    peer = bench.peer(median_s=0.6, sigma=0.0)
    driven = bench.drive(Load(burst=(150,), warmup=0.2, measure=0.5, drain=5.0))
    assert peer.end()["in_flight_max"] == 150
    assert Counter(seen.outcome for seen in driven.observations) == {Outcome.OK: 150}


def test_bursts_begin_when_measure_begins(bench: Any) -> None:
    """Warm-up only waits; a burst is due all at once."""
    bench.peer(median_s=0.01)
    driven = bench.drive(Load(burst=(50,), burst_size=20, burst_every=0.3, warmup=0.3, measure=1.0, drain=5.0))
    measure = next(mark.at for mark in driven.of(PhaseMark) if mark.phase == "measure")
    due = Counter(round(seen.intended - measure, 3) for seen in driven.observations)
    assert due == {0.0: 20, 0.3: 20, 0.6: 10}
    assert {seen.phase for seen in driven.observations} == {Phase.MEASURE}


def test_measure_ends_early_once_enough_were_ok(bench: Any) -> None:
    """40 ok of `measure` are enough; warm-up's do not count, failures neither."""
    bench.peer(median_s=0.01, fail_every=3)
    driven = bench.drive(Load(closed=(4,), warmup=0.2, measure=30.0, drain=5.0, until_ok=40))
    measured = [seen for seen in driven.observations if seen.phase is Phase.MEASURE]
    ok = sum(seen.outcome is Outcome.OK for seen in measured)
    assert 40 <= ok <= 43  # three users may have been at it when the fortieth ended
    assert any(seen.outcome is Outcome.FAILED for seen in measured)
    marks = {mark.phase: mark.at for mark in driven.of(PhaseMark)}
    assert marks["drain"] - marks["measure"] < 10.0
    assert driven.done.ended_early == ""


def test_a_rejected_user_waits_as_long_as_it_was_told(bench: Any) -> None:
    """Rejected is not started, with the depth it found; the next intended start is after the wait."""
    peer = bench.peer(median_s=0.01, reject_every=4, retry_after_s=0.1)
    driven = bench.drive(Load(closed=(1,), warmup=0.0, measure=1.0, drain=5.0))
    rejected = [seen for seen in driven.observations if seen.rejected]
    assert sorted(ids(rejected)) == sorted(peer.end()["rejected"])
    assert len(rejected) >= 2
    for seen in rejected:
        assert (seen.outcome, seen.queue_depth, seen.retry_after_s) == (Outcome.NOT_STARTED, 7, 0.1)
    for before, after in pairwise(driven.observations):
        assert after.intended == pytest.approx(before.ended + before.retry_after_s)


def test_a_wrong_digest_is_found(bench: Any) -> None:
    """Every seventh reply carries the result of another workflow: failed, corrupted, and exactly those."""
    peer = bench.peer(median_s=0.01, corrupt_every=7)
    driven = bench.drive(Load(closed=(7,), warmup=0.0, measure=0.6, drain=5.0))
    corrupted = [seen for seen in driven.observations if seen.error_class == "corrupted"]
    assert all(seen.outcome is Outcome.FAILED for seen in corrupted)
    assert len(corrupted) == len(peer.end()["ran"]) // 7 > 0


def test_a_python_targets_digest_is_only_recorded(bench: Any) -> None:
    """Its own expect rules judge it, in the host."""
    bench.peer(corrupt_every=2)
    driven = bench.drive(Load(closed=(1,), warmup=0.0, measure=0.2, drain=5.0), target="python:my:flow")
    assert {seen.outcome for seen in driven.observations} == {Outcome.OK}
    assert all(seen.digest for seen in driven.observations)


def test_stop_ends_the_level_now_and_censors_what_is_in_flight(bench: Any) -> None:
    """As when a person presses Ctrl-C: complete on disk, and the reason in the last report."""
    peer = bench.peer(hang_every=1)
    bench.write(Load(closed=(3,), warmup=0.0, measure=60.0, drain=60.0), workflow=(Workflow(kind="k", deadline=60.0),))
    worker = bench.worker()
    worker.wait_for(lambda report: isinstance(report, Progress) and report.in_flight == 3)
    worker.tell(Stop())
    driven = worker.finish()
    assert driven.exit_code == 0
    assert driven.done.ended_early == "stopped"
    assert [seen.censored for seen in driven.observations] == [True] * 3
    assert sorted(ids(driven.observations)) == sorted(peer.end()["ran"])
    assert driven.lines[-1].phase == "end"


def test_end_of_standard_input_ends_the_level_now(bench: Any) -> None:
    """The CLI died: the load process must not outlive it."""
    bench.peer(median_s=0.05)
    bench.write(Load(closed=(3,), warmup=30.0, measure=60.0, drain=60.0))
    worker = bench.worker()
    worker.wait_for(is_in("warmup"))
    driven = worker.finish(close_stdin=True)
    assert driven.exit_code == 0
    assert "CLI is gone" in driven.done.ended_early
    assert {seen.phase for seen in driven.observations} == {Phase.WARMUP}
    assert [mark.phase for mark in driven.of(PhaseMark)] == ["warmup", "drain", "end"]


def test_open_workflows_are_in_the_journal_before_they_end(bench: Any) -> None:
    """A process that dies leaves what was in flight, and what the target had promised."""
    bench.peer(median_s=0.5, sigma=0.0, accept_delay_s=0.2)
    driven = bench.drive(Load(closed=(2,), warmup=0.0, measure=0.3, drain=5.0))
    opened = driven.of(Opened)
    assert {line.id for line in opened} == set(ids(driven.observations))
    for workflow in ids(driven.observations):
        stages = [line.accepted is not None for line in opened if line.id == workflow]
        assert stages == [False, True]


def test_progress_counts_the_phase_that_runs(bench: Any) -> None:
    """The last line agrees with the journal, percentiles to about one percent."""
    bench.peer(median_s=0.02)
    driven = bench.drive(Load(closed=(5,), warmup=0.3, measure=1.2, drain=5.0))
    measured = sorted(seen.ended - seen.intended for seen in driven.observations if seen.phase is Phase.MEASURE)
    last = driven.said(Progress)[-1]
    assert (last.ok, last.failed, last.not_started, last.in_flight) == (len(measured), 0, 0, 0)
    assert last.p50_s == pytest.approx(measured[len(measured) // 2], rel=0.03)
    assert last.p95_s == pytest.approx(measured[int(len(measured) * 0.95)], rel=0.06)


def test_the_generator_checks_itself_each_second(bench: Any) -> None:
    """Users, in flight, and how late its timers were."""
    bench.peer(median_s=0.02)
    driven = bench.drive(Load(closed=(5,), warmup=0.0, measure=2.3, drain=5.0))
    checks = driven.of(LoadCheck)
    assert len(checks) == 2
    assert {check.users for check in checks} == {5}
    assert all(0 <= check.in_flight <= 5 and 0 <= check.hub_lag_max_s < 1 for check in checks)
