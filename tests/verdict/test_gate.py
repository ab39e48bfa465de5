"""The gate's decisions: what passes, what is accused, and what is left open."""

from __future__ import annotations

import math

import pytest

from harness.statistics.comparison import Observed
from harness.statistics.reading import Reading
from harness.verdict.gate import (
    Decision,
    confirm,
    decide,
    gated_metrics,
    settled_without_duet,
    standing_decision,
    too_blind,
)
from tests.verdict.readings import reading

QUIET = 0.01  # spread between sittings


def history(sittings: int = 10, spread: float = QUIET, **fields: float) -> list[list[Observed]]:
    """Sittings of one run each, that differ by `spread`, up and down in turn."""
    return [
        [Observed(reading(math.exp(spread * (-1) ** number), seed=number, **fields), None)]  # type: ignore[arg-type]
        for number in range(sittings)
    ]


def pairs(count: int, scale: float = 1.0, *, spread: float = 0.01, **fields: float) -> list[tuple[Reading, Reading]]:
    """A baseline and a candidate `scale` times as slow; both go along with the machine, and differ by `spread`."""
    found = []
    for number in range(count):
        machine = 1 + 0.2 * (number % 3)
        wobble = math.exp(spread * ((number % 5) - 2))
        a = reading(machine, seed=number, n=200)
        b = reading(machine * scale * wobble, seed=100 + number, n=200, **fields)  # type: ignore[arg-type]
        found.append((a, b))
    return found


def observed(scale: float = 1.0, **fields: float) -> Observed:
    return Observed(reading(scale, seed=99, **fields), None)  # type: ignore[arg-type]


# Validity.


@pytest.mark.parametrize(
    ("candidate", "why"),
    [
        (reading(n=400), "400 workflows succeeded"),
        (reading(ok=100), "5.0 times the measure phase"),
        (reading(disturbed=0.3, disturbed_blocks=9), "others took too much of the machine in 45%"),
    ],
)
def test_a_run_that_cannot_be_compared_is_inconclusive(candidate: Reading, why: str) -> None:
    """Never a pass, and the reason says what would do."""
    decision = decide(Observed(candidate, None), history())
    assert (decision.outcome, decision.step) == ("inconclusive", "validity")
    assert any(why in reason for reason in decision.reasons), decision.reasons


def test_blocks_that_others_disturbed_are_left_out() -> None:
    """Eight slow blocks of twenty, in which a neighbour was at work, do not make a slower run."""
    from harness.statistics.reading import BlockReading

    blocks = [BlockReading(150, 150, 0.09, 0.2, 0.3, 0.5)] * 8 + list(reading(seed=5).blocks[8:])
    disturbed = reading(seed=5)
    import msgspec

    candidate = msgspec.structs.replace(disturbed, blocks=tuple(blocks))
    assert decide(Observed(candidate, None), history()).outcome == "pass"


def test_the_tail_is_compared_from_two_thousand_on() -> None:
    """A p99 of fewer is noise."""
    assert "shape" in gated_metrics(reading(n=2000))
    assert "shape" not in gated_metrics(reading(n=1999))


def test_growth_of_memory_is_compared_in_long_runs_only() -> None:
    """Ten minutes are the least."""
    assert "rss_slope" in gated_metrics(reading(rss_slope=0.0, measure_s=600.0))
    assert "rss_slope" not in gated_metrics(reading(rss_slope=0.0, measure_s=599.0))


# History.


def test_a_run_like_its_history_passes() -> None:
    """Worse than the margin is excluded for every metric."""
    decision = decide(observed(), history())
    assert (decision.outcome, decision.undecided) == ("pass", ())
    assert {change.metric for change in decision.changes} >= {"p50", "p95", "shape", "throughput", "success"}


def test_a_slower_run_is_left_to_a_duet() -> None:
    """The history never accuses: it names what it cannot exclude."""
    decision = decide(observed(1.2), history())
    assert decision.outcome == "undecided"
    assert {"p50", "p95"} <= set(decision.undecided)
    assert "p50" in decision.worse


def test_a_faster_run_is_improved() -> None:
    """Beyond doubt, and by enough to matter."""
    decision = decide(observed(0.8), history())
    assert decision.outcome == "improved"
    assert decision.better == ("p50", "p95")


def test_a_certain_improvement_of_a_hair_is_a_pass() -> None:
    """Two percent are nobody's concern."""
    assert decide(observed(0.98), history(spread=0.0005, noise=0.0)).outcome == "pass"


def test_a_longer_tail_alone_is_seen_by_shape() -> None:
    """p50 and p95 are as they were."""
    decision = decide(observed(tail=1.5), history())
    assert decision.undecided == ("shape",)


def test_lost_successes_are_seen() -> None:
    """97.5 % after 100 %."""
    decision = decide(Observed(reading(ok=2925), None), history())
    assert decision.undecided == ("success",)


def test_a_noisy_history_passes_nothing() -> None:
    """What it could not see it does not vouch for."""
    assert decide(observed(), history(spread=0.15)).outcome == "undecided"


def test_no_history_decides_nothing() -> None:
    """There is nothing to compare with."""
    assert decide(observed(), []).outcome == "undecided"


def test_a_blind_history_says_what_it_would_see() -> None:
    """And is not asked."""
    assert too_blind(observed(), history(), 0.1) is None
    why = too_blind(observed(), history(spread=0.15), 0.1)
    assert why is not None
    assert "cannot see +10% at p95" in why


def test_a_history_that_may_not_decide_leaves_all_to_a_duet() -> None:
    """While it is learning, the run may look like a pass, and is none."""
    decision = standing_decision(observed(), history(), ["learning: 3 of 5 sittings"], margin=0.1, pooled=None)
    assert (decision.outcome, decision.step) == ("undecided", "baseline")
    assert decision.undecided == gated_metrics(observed().reading)
    assert settled_without_duet(decision, "there was none").outcome == "learning"


@pytest.mark.parametrize(("scale", "outcome"), [(1.3, "suspect"), (1.06, "inconclusive")])
def test_without_a_duet_a_worse_run_is_suspect(scale: float, outcome: str) -> None:
    """By the history alone nobody is accused."""
    decision = settled_without_duet(decide(observed(scale), history(spread=0.04)), "no build")
    assert decision.outcome == outcome
    assert "no build" in decision.reasons[-1]


# Duet.

LATENCY = ("p50", "p95")


def test_a_slower_build_regressed() -> None:
    """Side by side, whatever the machine did."""
    decision = confirm(pairs(10, 1.2), LATENCY)
    assert (decision.outcome, decision.worse) == ("regressed", ("p50", "p95"))
    assert len(decision.dots["p50"]) == 10
    assert decision.shifts


def test_the_same_build_passes() -> None:
    """Worse than the margin is excluded."""
    assert confirm(pairs(10), LATENCY).outcome == "pass"


def test_a_faster_build_improved() -> None:
    """The same the other way round."""
    decision = confirm(pairs(10, 0.8), LATENCY)
    assert (decision.outcome, decision.better) == ("improved", ("p50", "p95"))


def test_a_certain_slowdown_of_a_hair_is_no_regression() -> None:
    """Two percent, however sure, are a pass."""
    assert confirm(pairs(30, 1.02, spread=0.001), LATENCY).outcome == "pass"


@pytest.mark.parametrize(("last", "outcome"), [(False, "undecided"), (True, "inconclusive")])
def test_what_stays_open_says_what_would_settle_it(last: bool, outcome: str) -> None:
    """More pairs, and about how many; at the last look there are none."""
    decision = confirm(pairs(10, 1.05, spread=0.08), LATENCY, last=last)
    assert decision.outcome == outcome
    assert any("pairs would" in reason for reason in decision.reasons), decision.reasons


def test_growth_cannot_be_decided_by_short_arms() -> None:
    """It says so, instead of passing what it did not look at."""
    decision = confirm(pairs(10), ("p50", "rss_slope"))
    assert decision.outcome == "inconclusive"
    assert any("ten minutes" in reason for reason in decision.reasons)


def test_the_part_that_carries_a_change_is_named_first() -> None:
    """Of two agents the one whose steps took longer."""
    decision: Decision = confirm(pairs(10, 1.2, data_s=0.045), LATENCY)
    assert decision.parts[0].part == "agent data"
    assert decision.parts[0].change_s == pytest.approx(0.015)
    assert decision.parts[0].is_certain
