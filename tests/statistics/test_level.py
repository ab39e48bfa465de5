"""The metrics of a level, each by its definition, from hand-written journals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.observation.manifest import LevelEnd
from harness.observation.observation import Outcome, Phase
from harness.statistics.latency import BLOCKS
from harness.statistics.level import LevelSummary
from harness.statistics.summary import summarise

if TYPE_CHECKING:
    from tests.conftest import RunBuilder


def level_of(run: RunBuilder) -> LevelSummary:
    """The only level of the run, summarised from its files."""
    [level] = summarise(run.write()).levels
    return level


def values(level: LevelSummary, *names: str) -> list[float | None]:
    """The values of some metrics."""
    return [level.metric(name).value for name in names]


def test_shares_are_of_the_arrivals_of_measure(run: RunBuilder) -> None:
    """Each outcome in its own share; rejected ones are in no error; warm-up and drain do not count."""
    for outcome, count in ((Outcome.OK, 6), (Outcome.FAILED, 1), (Outcome.UNKNOWN, 2)):
        for _ in range(count):
            run.workflow(outcome=outcome)
    run.workflow(None, Outcome.NOT_STARTED, rejected=True, error_class="rejected")
    run.workflow(outcome=Outcome.FAILED, phase=Phase.WARMUP, intended=5.0)
    run.phases()
    level = level_of(run)
    assert values(level, "arrivals", "ok", "failed", "unknown", "not_started") == [10, 6, 1, 2, 1]
    assert values(level, "success", "error", "rejected", "rejected_count") == [0.6, 0.3, 0.1, 1]
    assert level.metric("success").lower == pytest.approx(0.3035, abs=1e-4)  # Clopper-Pearson of 6 in 10
    assert level.errors == {"rejected": 1}


def test_latency_runs_from_the_intended_start(run: RunBuilder) -> None:
    """A workflow that was sent late took that much longer; its service time did not."""
    run.workflow(intended=15.0, started=17.0, ended=18.0)
    run.phases()
    level = level_of(run)
    assert values(level, "p50", "service_p50", "lateness_p50") == [3.0, 1.0, 2.0]


def test_the_targets_own_time_is_told_apart(run: RunBuilder) -> None:
    """Its queue and its work, by its own stamps."""
    run.workflow(2.0, target_accepted=15.5, target_started=15.75, target_ended=16.5)
    run.workflow(9.0, outcome=Outcome.UNKNOWN)
    run.phases()
    level = level_of(run)
    assert values(level, "target_p99", "admission_p99") == [1.0, 0.25]
    assert level.metric("target_p99").n == 1


def test_what_was_never_started_has_no_latency(run: RunBuilder) -> None:
    """A rejected arrival that came back at once must not make the target look quick."""
    run.workflow(4.0)
    for _ in range(9):
        run.workflow(0.001, Outcome.NOT_STARTED, rejected=True)
    run.phases()
    level = level_of(run)
    assert level.metric("p50").value == 4.0
    assert level.metric("p50").n == 1
    assert level.metric("success").value == 0.1


def test_percentiles_are_measured_values_with_their_n(run: RunBuilder) -> None:
    """Nearest rank of 1 … 100 s, warm-up left out."""
    for second in range(1, 101):
        run.workflow(float(second))
    run.workflow(1000.0, phase=Phase.WARMUP)
    run.phases()
    level = level_of(run)
    assert values(level, "p50", "p95", "p99") == [50.0, 95.0, 99.0]
    p95, p99 = level.metric("p95"), level.metric("p99")
    assert (p95.n, p95.too_few, p99.too_few) == (100, False, True)
    assert (p95.lower, p95.upper) == (91.0, 99.0)  # ranks of the binomial(100, 0.95)


def test_a_censored_workflow_is_a_lower_bound(run: RunBuilder) -> None:
    """It stands in the tail at what is known of it, and bounds nothing from above."""
    run.workflows(90, 1.0)
    for _ in range(10):
        run.workflow(20.0, Outcome.UNKNOWN, censored=True, error_class="censored")
    run.phases()
    level = level_of(run)
    p50, p95 = level.metric("p50"), level.metric("p95")
    assert (p50.value, p50.at_least) == (1.0, False)
    assert (p95.value, p95.at_least, p95.upper) == (20.0, True, None)
    assert values(level, "censored", "error") == [10, 0.1]


def test_throughput_counts_ends_within_measure(run: RunBuilder) -> None:
    """Of whatever phase the start was; 20 s of measure."""
    run.workflow(6.0, intended=5.0, phase=Phase.WARMUP)
    run.workflow(1.0, intended=15.0)
    run.workflow(1.0, Outcome.FAILED, intended=15.0)
    run.workflow(2.0, intended=29.0)
    run.phases()
    assert level_of(run).metric("throughput").value == pytest.approx(2 / 20)


def test_degraded_successes_are_a_share_of_successes(run: RunBuilder) -> None:
    """With their reasons counted."""
    run.workflow(degraded=("fallback", "no cache"))
    run.workflow()
    run.workflow(outcome=Outcome.FAILED)
    run.phases()
    level = level_of(run)
    assert level.metric("degraded").value == 0.5
    assert level.degraded == {"fallback": 1, "no cache": 1}


def test_steps_tell_waits_and_times_by_agent(run: RunBuilder) -> None:
    """Only those of measure; failures and retries counted."""
    slow = run.step("slow", waited_s=1.0, took_s=2.0)
    bad = run.step("data", waited_s=0.25, took_s=0.5, outcome=Outcome.FAILED, attempts=3)
    run.workflow(steps=(slow, bad))
    run.workflow(steps=(slow,), phase=Phase.WARMUP)
    run.phases()
    level = level_of(run)
    assert values(level, "agent.slow.p50", "agent.slow.wait_p99", "agent.slow.steps") == [2.0, 1.0, 1]
    assert values(level, "agent.data.wait_p50", "agent.data.failed", "agent.data.retries") == [0.25, 1, 2]
    assert values(level, "agent.nobody.p50") == [None]


def test_kinds_have_a_table_of_their_own(run: RunBuilder) -> None:
    """A slow kind shows where the level's median hides it."""
    run.workflows(9, 1.0, kind="quick")
    run.workflow(9.0, kind="slow")
    run.phases()
    kinds = level_of(run).kinds
    assert {kind: (table["arrivals"].value, table["p50"].value) for kind, table in kinds.items()} == {
        "quick": (9, 1.0),
        "slow": (1, 9.0),
    }


def test_blocks_split_measure_by_intended_start(run: RunBuilder) -> None:
    """Twenty of one second; each with its own percentiles and n."""
    run.workflow(1.0, intended=10.0)
    run.workflow(3.0, intended=10.9)
    run.workflow(5.0, Outcome.FAILED, intended=29.999)
    run.phases()
    blocks = level_of(run).blocks
    assert len(blocks) == BLOCKS
    assert (blocks[0].start, blocks[0].n, blocks[0].ok, blocks[0].p50, blocks[0].p95) == (10.0, 2, 2, 1.0, 3.0)
    assert (blocks[-1].arrivals, blocks[-1].ok, blocks[-1].p99) == (1, 0, pytest.approx(5.0))
    assert {block.p50 for block in blocks[1:-1]} == {None}


def test_an_accepted_workflow_without_an_end_is_lost(run: RunBuilder) -> None:
    """In a level that ended in order; one that was never accepted is only unaccounted for."""
    run.opened("promised", accepted=True)
    run.opened("asked", accepted=False)
    run.opened("fine", accepted=True)
    run.workflow(id="fine")
    run.phases()
    assert values(level_of(run), "lost", "unfinished") == [1, 1]


def test_an_acceptance_is_not_forgotten_by_a_later_line(run: RunBuilder) -> None:
    """Lines of one workflow may come in any order within what a crash left."""
    run.opened("promised", accepted=True)
    run.opened("promised", accepted=False)
    run.phases()
    assert values(level_of(run), "lost") == [1]


def test_what_was_in_flight_when_the_run_was_killed_is_unfinished(run: RunBuilder) -> None:
    """Nobody lost it: the journal just stops."""
    run.workflow()
    run.opened("promised", accepted=True)
    run.phases(last="measure")
    run.finished = False
    level = level_of(run)
    assert (level.status, level.ended) == ("unfinished", False)
    assert values(level, "lost", "unfinished", "arrivals") == [0, 1, 1]


def test_what_an_interruption_cut_off_speaks_for_no_outcome(run: RunBuilder) -> None:
    """Ctrl-C censors everything in flight; that is no error of the target."""
    run.workflow()
    run.workflow(outcome=Outcome.UNKNOWN, censored=True, error_class="censored")
    run.phases()
    run.ended = [LevelEnd(level="10", status="interrupted", message="by the user")]
    level = level_of(run)
    assert values(level, "arrivals", "success", "censored", "unfinished") == [1, 1.0, 0, 1]
    assert level.status == "interrupted"


def test_a_second_end_of_a_workflow_is_a_duplicate(run: RunBuilder) -> None:
    """The first one counts; the second is an invariant broken."""
    run.workflow(id="twice")
    run.workflow(id="twice", outcome=Outcome.FAILED)
    run.phases()
    assert values(level_of(run), "duplicates", "arrivals", "success") == [1, 1, 1.0]


def test_a_wrong_result_counts_in_every_phase(run: RunBuilder) -> None:
    """Cross-talk in warm-up is cross-talk."""
    run.workflow(outcome=Outcome.FAILED, error_class="corrupted", phase=Phase.WARMUP)
    run.phases()
    level = level_of(run)
    assert values(level, "corrupted") == [1]
    assert level.errors == {}


def test_a_level_that_never_began_measured_nothing(run: RunBuilder) -> None:
    """Every metric is there, without a value."""
    level = level_of(run)
    assert level.status == "not_run"
    assert values(level, "success", "p95", "cpu", "rss_peak", "throughput") == [None] * 5


def test_levels_are_kept_apart(run: RunBuilder) -> None:
    """Each level has its own numbers, in the order they ran."""
    run.levels = ("10", "25")
    run.sound(level="10", latency_s=1.0)
    run.sound(level="25", latency_s=2.0)
    levels = summarise(run.write()).levels
    assert [(level.level, level.metric("p50").value) for level in levels] == [("10", 1.0), ("25", 2.0)]
