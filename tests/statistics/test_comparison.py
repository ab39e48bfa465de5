"""The history test: prediction intervals over sittings, with the machine taken out where a reference tells of it."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.statistics.change import Change
from harness.statistics.comparison import POOLED_DF_MAX, History, Observed, Pooled, exclusion, pooled_spread
from harness.statistics.reading import COMPARED
from tests.statistics.flat import flat, observed

# Student's t by the printed table: df -> (at .8, at .95, at .99).
T4, T9, T24, T29 = (0.941, 2.132, 3.747), (0.883, 1.833, 2.821), (0.857, 1.711, 2.492), (0.854, 1.699, 2.462)


def sittings(logs: list[float], references: list[float] | None = None) -> History:
    """One run a sitting, with medians e^log, and references likewise."""
    beside = [None] * len(logs) if references is None else [math.exp(each) for each in references]
    return [[observed(math.exp(log), other)] for log, other in zip(logs, beside, strict=True)]


def found(metric: str, candidate: Observed, history: History, pooled: Pooled | None = None) -> Change:
    change = exclusion(metric, candidate, history, pooled)
    assert change is not None
    return change


# The interval.


def test_the_interval_predicts_one_more_sitting() -> None:
    """change +- t(df) s sqrt(1 + 1 / k), by pencil: five sittings at 0, .1, .2, .3, .4; s = .1 sqrt(2.5)."""
    change = found("p50", observed(math.exp(0.5)), sittings([0.0, 0.1, 0.2, 0.3, 0.4]))
    error = 0.1 * math.sqrt(2.5) * math.sqrt(1.2)
    assert change.change == pytest.approx(0.3)
    assert change.upper - change.change == pytest.approx(T4[2] * error, rel=1e-3)
    assert change.change - change.lower == pytest.approx(T4[2] * error, rel=1e-3)
    assert change.upper95 - change.change == pytest.approx(T4[1] * error, rel=1e-3)
    assert change.mde == pytest.approx((T4[2] + T4[0]) * error, rel=1e-3)
    assert (change.n, change.alpha, change.machine, change.is_log, change.basis) == (5, 0.01, 0.0, True, "history")


def test_runs_of_one_sitting_are_one_observation() -> None:
    """Their mean: five reruns of a lucky sitting do not make the history surer."""
    once = sittings([0.0, 0.1, 0.2])
    often = [[*once[0], *once[0], *once[0]], [observed(math.exp(0.05)), observed(math.exp(0.15))], once[2]]
    change, plain = found("p50", observed(1.0), often), found("p50", observed(1.0), once)
    assert (change.n, plain.n) == (3, 3)
    assert (change.lower, change.upper95) == pytest.approx((plain.lower, plain.upper95))


def test_siblings_lend_their_spread_and_their_degrees_of_freedom() -> None:
    """(df s^2 + 20 s^2) / (df + 20), df + 20."""
    history = sittings([0.0, 0.1, 0.2, 0.3, 0.4])
    change = found("p50", observed(1.0), history, Pooled(0.0001, 20))
    error = math.sqrt((4 * 0.025 + 20 * 0.0001) / 24 * 1.2)
    assert change.upper - change.change == pytest.approx(T24[2] * error, rel=1e-3)


def test_worse_is_positive_for_what_should_be_more() -> None:
    """Half the throughput is worse by log 2, half the CPU better by as much."""
    history = [[Observed(flat(throughput=100.0, cpu_per_workflow=0.1), None)]] * 3
    candidate = Observed(flat(throughput=50.0, cpu_per_workflow=0.05), None)
    assert found("throughput", candidate, history).change == pytest.approx(math.log(2))
    assert found("cpu_per_workflow", candidate, history).change == pytest.approx(-math.log(2))


def test_shape_is_the_tail_over_the_median() -> None:
    """A system that is slower throughout has the same; a longer p99 alone does not."""
    history = [[Observed(flat(1.0, 2.0, 3.0), None)], [Observed(flat(2.0, 4.0, 6.0), None)]]
    assert found("shape", Observed(flat(9.0, 9.0, 27.0), None), history).change == pytest.approx(0.0, abs=1e-12)
    assert found("shape", Observed(flat(1.0, 2.0, 6.0), None), history).change == pytest.approx(math.log(2))


# The machine.

MACHINE = [0.0, 0.1, -0.1, 0.2, 0.05, -0.05]


def shrunk(slope: float, k: int) -> float:
    """As by three more runs that say .7."""
    return (k * slope + 3 * 0.7) / (k + 3)


def test_the_machine_is_taken_out_as_far_as_the_reference_went_along() -> None:
    """A target that moves exactly as its reference; the candidate's sitting is 50 % slower on both."""
    history = sittings([1 + each for each in MACHINE], MACHINE)
    slope, mean = shrunk(1.0, 6), float(np.mean(MACHINE))
    change = found("p50", observed(math.exp(1.5), math.exp(0.5)), history)
    assert change.machine == pytest.approx(slope * (0.5 - mean))
    assert change.change == pytest.approx(0.5 - mean - change.machine)
    plain = found("p50", observed(math.exp(1.5)), history)
    assert plain.change == pytest.approx(0.5 - mean)
    assert change.upper - change.change < 0.5 * (plain.upper - plain.change)


def test_the_slope_costs_a_degree_of_freedom() -> None:
    """Eleven sittings leave nine; what is left of them is their spread about a slope of (11 b + 2.1) / 14."""
    rng = np.random.default_rng(3)
    machine = rng.normal(0, 0.1, size=11)
    logs = 2 * machine + rng.normal(0, 0.02, size=11)
    slope = shrunk(float(np.polyfit(machine, logs, 1)[0]), 11)
    left = logs - slope * machine
    error = math.sqrt(np.sum((left - left.mean()) ** 2) / 9 * (1 + 1 / 11))
    change = found("p50", observed(1.0, 1.0), sittings(logs.tolist(), machine.tolist()))
    assert change.upper - change.change == pytest.approx(T9[2] * error, rel=1e-3)
    assert change.change == pytest.approx(-float(left.mean()), abs=1e-9)


@pytest.mark.parametrize(
    "references",
    [
        pytest.param([0.1, 0.0, 0.1, -0.2, 0.1, 0.0], id="goes its own way"),
        pytest.param([-each for each in MACHINE], id="goes the other way"),
        pytest.param([0.3] * 6, id="does not move"),
    ],
)
def test_a_reference_that_does_not_go_along_is_left_out(references: list[float]) -> None:
    """A correlation below one half takes nothing out."""
    candidate = observed(1.0, math.exp(0.7))
    assert found("p50", candidate, sittings(MACHINE, references)) == found("p50", candidate, sittings(MACHINE))


def test_three_sittings_tell_nothing_of_a_reference() -> None:
    """Nor do many of which one had none."""
    candidate = observed(1.0, 2.0)
    three = sittings(MACHINE[:3], MACHINE[:3])
    assert found("p50", candidate, three).machine == 0.0
    gap = [*sittings(MACHINE, MACHINE), [observed(1.0)]]
    assert found("p50", candidate, gap).machine == 0.0


def test_a_candidate_without_a_reference_is_compared_as_it_is() -> None:
    """With what it was before the machine was taken out, and without what siblings say of the spread after."""
    history = sittings(MACHINE, MACHINE)
    bare = found("p50", observed(1.0), sittings(MACHINE))
    for pooled in (None, Pooled(1e-8, 20)):
        change = found("p50", observed(1.0), history, pooled)
        assert (change.change, change.lower, change.upper95) == pytest.approx((bare.change, bare.lower, bare.upper95))


def test_growth_of_memory_is_compared_in_bytes_and_without_the_machine() -> None:
    """A reference that grows, too, and in step, excuses no leak."""
    slopes = [0.0, 1e5, 2e5, 3e5, 4e5]
    history = [[Observed(flat(rss_slope=each), flat(rss_slope=each))] for each in slopes]
    change = found("rss_slope", Observed(flat(rss_slope=6e6), flat(rss_slope=6e6)), history)
    assert change.change == pytest.approx(5.8e6)
    assert (change.machine, change.is_log) == (0.0, False)
    assert change.lower > 2e6
    shrinking = found("rss_slope", Observed(flat(rss_slope=-1e6), None), history)
    assert shrinking.upper < 0


# Siblings.


def test_siblings_agree_on_a_spread_weighted_by_their_degrees_of_freedom() -> None:
    """(4 x .025 + 2 x .01) / 6, six degrees of freedom; a sibling of one sitting has nothing to say."""
    pooled = pooled_spread([sittings([0.0, 0.1, 0.2, 0.3, 0.4]), sittings([7.0, 7.1, 7.2]), sittings([5.0])], "p50")
    assert pooled is not None
    assert pooled == pytest.approx((0.12 / 6, 6))


def test_siblings_count_for_twenty_at_most() -> None:
    """However many they are: the own history keeps a say."""
    pooled = pooled_spread([sittings([0.0, 0.1, 0.2, 0.3, 0.4])] * 9, "p50")
    assert pooled == pytest.approx((0.025, POOLED_DF_MAX))


def test_the_spread_of_siblings_is_what_the_machine_leaves() -> None:
    """Of one that moves as its reference little is left, and the slope took a degree of freedom."""
    pooled = pooled_spread([sittings(MACHINE, MACHINE)], "p50")
    assert pooled is not None
    assert pooled.df == 4
    assert pooled.variance == pytest.approx((1 - shrunk(1.0, 6)) ** 2 * float(np.var(MACHINE)) * 6 / 4)


@pytest.mark.parametrize("histories", [[], [[]], [sittings([1.0])]])
def test_siblings_that_know_nothing_lend_nothing(histories: list[History]) -> None:
    """No sitting, or one, has no spread; success has a rule of its own."""
    assert pooled_spread(histories, "p50") is None
    assert pooled_spread([sittings(MACHINE)], "success") is None


# What could break it.


@pytest.mark.parametrize("history", [[], sittings([1.0]), [[Observed(flat(throughput=0.0), None)]] * 9])
def test_fewer_than_two_sittings_with_the_metric_say_nothing(history: History) -> None:
    """Whatever else they have."""
    assert exclusion("throughput", Observed(flat(throughput=10.0), None), history) is None


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_what_has_no_logarithm_is_not_compared(value: float) -> None:
    """Of the candidate; and sittings that have such a value are as if they had none."""
    history = [[Observed(flat(throughput=each), None)] for each in (9.0, 10.0, 11.0)]
    bad = Observed(flat(throughput=value), None)
    good = Observed(flat(throughput=10.0), None)
    assert exclusion("throughput", bad, history) is None
    assert exclusion("throughput", good, [*history, [bad]]) == exclusion("throughput", good, history)


def test_a_history_without_spread_has_intervals_without_width() -> None:
    """And still tells worse from better, with or without a reference."""
    for reference in (None, 1.0):
        history = [[observed(1.0, reference)]] * 5
        for log in (-0.2, 0.0, 0.2):
            change = found("p50", observed(math.exp(log), reference), history)
            assert (change.lower, change.change, change.upper) == pytest.approx((log, log, log), abs=1e-9)
            assert change.mde == pytest.approx(0.0, abs=1e-9)


def test_success_is_asked_of_single_runs() -> None:
    """Of the last twenty, whatever their sittings; the loss is in shares."""
    history = [[Observed(flat(ok=1990), None), Observed(flat(ok=1991), None)]] * 10
    change = found("success", Observed(flat(ok=1900), None), history)
    assert (change.metric, change.n, change.is_log) == ("success", 20, False)
    assert change.change == pytest.approx(0.045, abs=0.001)
    assert change.lower > 0


logs = st.floats(-12, 12)


@given(
    rows=st.lists(st.tuples(logs, logs), min_size=2, max_size=12),
    candidate=st.tuples(logs, logs),
    pooled=st.none() | st.builds(Pooled, st.floats(0, 4), st.floats(1, 20)),
)
def test_bounds_are_finite_and_in_order(
    rows: list[tuple[float, float]], candidate: tuple[float, float], pooled: Pooled | None
) -> None:
    """Whatever the values: never not a number, 99 % outside 95 %, the change between."""
    history = sittings([row[0] for row in rows], [row[1] for row in rows])
    change = found("p50", observed(math.exp(candidate[0]), math.exp(candidate[1])), history, pooled)
    bounds = (change.lower, change.lower95, change.change, change.upper95, change.upper)
    assert all(map(math.isfinite, (*bounds, change.mde, change.machine)))
    assert bounds == pytest.approx(sorted(bounds), abs=1e-12)


@given(values=st.lists(logs, min_size=2, max_size=12), candidate=logs, scale=st.floats(-5, 5))
def test_a_change_of_unit_changes_nothing(values: list[float], candidate: float, scale: float) -> None:
    """Seconds or minutes: changes are relative."""
    before = found("p50", observed(math.exp(candidate)), sittings(values))
    after = found("p50", observed(math.exp(candidate + scale)), sittings([value + scale for value in values]))
    assert (after.change, after.lower, after.upper95) == pytest.approx(
        (before.change, before.lower, before.upper95), abs=1e-6
    )


@pytest.mark.parametrize("metric", [*COMPARED, "success", "rss_slope"])
def test_every_metric_can_be_stored(metric: str) -> None:
    """A change goes to JSON and back as it was: no number is one that JSON lacks."""
    values = {name: 1.0 for name, compared in COMPARED.items() if not compared.blocks}
    runs = [msgspec.structs.replace(flat(1.0 + each, rss_slope=each), values=values) for each in (0.1, 0.2, 0.3)]
    change = found(metric, Observed(runs[0], None), [[Observed(run, None)] for run in runs])
    assert msgspec.json.decode(msgspec.json.encode(change), type=Change) == change
