"""The duet's test: a paired t over pairs, whatever the machine did to a pair."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.observation.duet import LOOKS
from harness.statistics.change import Change
from harness.statistics.paired import Look, Pairs, duet_change, look_at, pair_change, pairs_to_settle
from harness.statistics.reading import Reading
from harness.statistics.students_t import t_quantile
from tests.statistics.flat import flat

ALPHA = 0.01
LOOK = Look(ALPHA, 0.05 / 3)
T4 = (0.941, 2.132, 3.747)  # Student's t with 4 degrees of freedom by the printed table: at .8, .95, .99


def pairs_of(changes: list[float], machine: list[float] | None = None) -> Pairs:
    """Pairs whose candidates are slower by these logarithms, on machines that are slower by `machine`."""
    slower = machine or [0.0] * len(changes)
    return [
        (flat(math.exp(log), 2 * math.exp(log)), flat(math.exp(log + each), 2 * math.exp(log + each)))
        for log, each in zip(slower, changes, strict=True)
    ]


def found(metric: str, pairs: Pairs, alpha: float = ALPHA) -> Change:
    change = duet_change(metric, pairs, Look(alpha, 0.05 / 3))
    assert change is not None
    return change


def test_the_interval_is_students_over_the_pairs() -> None:
    """mean +- t(n - 1) s / sqrt(n), by pencil: 0, .1, .2, .3, .4; s = .1 sqrt(2.5). To pass there are three looks."""
    change = found("p95", pairs_of([0.0, 0.1, 0.2, 0.3, 0.4]))
    error = 0.1 * math.sqrt(2.5 / 5)
    assert change.change == pytest.approx(0.2)
    assert change.upper - change.change == pytest.approx(T4[2] * error, rel=1e-3)
    assert change.change - change.lower95 == pytest.approx(t_quantile(1 - 0.05 / 3, 4) * error)
    assert change.mde == pytest.approx((T4[2] + T4[0]) * error, rel=1e-3)
    assert (change.n, change.alpha, change.basis, change.is_log) == (5, ALPHA, "duet", True)


def test_what_the_machine_does_to_a_pair_drops_out() -> None:
    """A machine that is anything between half and twice as fast."""
    changes = [0.1, 0.11, 0.09, 0.1]
    wild = found("p50", pairs_of(changes, [0.7, -0.7, 0.0, 0.3]))
    assert (wild.lower, wild.upper) == pytest.approx(
        (found("p50", pairs_of(changes)).lower, found("p50", pairs_of(changes)).upper)
    )


def test_arms_are_compared_by_their_whole() -> None:
    """Not by blocks, which are too short in an arm: the quantiles decide."""
    a = flat(1.0, 2.0, 3.0)
    b = Reading(arrivals=200, ok=200, measure_s=1.0, blocks=a.blocks, quantiles={"p50": 1.0, "p95": 4.0, "p99": 9.0})
    assert pair_change("p95", a, b) == pytest.approx(math.log(2))
    assert pair_change("shape", a, b) == pytest.approx(math.log(3))
    assert pair_change("p50", a, b) == 0


def test_worse_is_positive_for_what_should_be_more() -> None:
    """Half the throughput is worse by log 2."""
    assert pair_change("throughput", flat(throughput=8.0), flat(throughput=4.0)) == pytest.approx(math.log(2))
    assert pair_change("cost_per_success", flat(cost_per_success=8.0), flat(cost_per_success=4.0)) == pytest.approx(
        -math.log(2)
    )


def test_a_loss_of_success_is_in_shares() -> None:
    """Of what arrived; nothing to say of an arm in which nothing did."""
    assert pair_change("success", flat(n=200), flat(n=200, ok=190)) == pytest.approx(0.05)
    assert pair_change("success", flat(n=200), flat(n=0)) is None
    change = found("success", [(flat(n=200, ok=199), flat(n=200, ok=180 + number % 3)) for number in range(10)])
    assert (change.metric, change.is_log, change.n) == ("success", False, 10)
    assert change.lower > 0.05


def test_growth_of_memory_is_compared_in_arms_of_ten_minutes() -> None:
    """In bytes a minute; of shorter ones nothing is said."""
    long = [(flat(rss_slope=1e5 * number), flat(rss_slope=6e6 + 1e5 * number)) for number in range(5)]
    assert found("rss_slope", long).change == pytest.approx(6e6)
    assert not found("rss_slope", long).is_log
    short = [(flat(rss_slope=0.0), flat(rss_slope=6e6, measure_s=599.0))] * 5
    assert duet_change("rss_slope", short, LOOK) is None


def test_pairs_without_the_metric_are_left_out() -> None:
    """An arm that measured nothing, or nothing that has a logarithm, takes its pair out of the comparison."""
    whole = pairs_of([0.1, 0.2, 0.3])
    for broken in (flat(0.0, 0.0), flat(math.nan, math.nan), flat(-1.0, -1.0), flat(math.inf, math.inf)):
        assert duet_change("p50", [*whole, (broken, flat())], LOOK) == duet_change("p50", whole, LOOK)
        assert duet_change("p50", [*whole, (flat(), broken)], LOOK) == duet_change("p50", whole, LOOK)
    assert duet_change("throughput", whole, LOOK) is None


@pytest.mark.parametrize("metric", ["p50", "success", "rss_slope"])
def test_fewer_than_two_pairs_say_nothing(metric: str) -> None:
    """There is no spread to judge by."""
    assert duet_change(metric, [], LOOK) is None
    assert duet_change(metric, [(flat(rss_slope=1.0), flat(rss_slope=2.0))], LOOK) is None


@pytest.mark.parametrize("log", [-0.1, 0.0, 0.1])
def test_pairs_without_spread_have_intervals_without_width(log: float) -> None:
    """And still tell worse from better."""
    change = found("p50", pairs_of([log] * 10))
    assert (change.lower, change.change, change.upper, change.mde) == pytest.approx((log, log, log, 0.0), abs=1e-9)


@given(changes=st.lists(st.floats(-5, 5), min_size=2, max_size=30), alpha=st.floats(1e-4, 0.016))
def test_bounds_are_in_order_and_mirrored(changes: list[float], alpha: float) -> None:
    """Exchanging the arms turns the interval round."""
    pairs = pairs_of(changes)
    change, mirrored = found("p50", pairs, alpha), found("p50", [(b, a) for a, b in pairs], alpha)
    bounds = (change.lower, change.lower95, change.change, change.upper95, change.upper)
    assert bounds == pytest.approx(sorted(bounds), abs=1e-12)
    assert (change.lower, change.upper95) == pytest.approx((-mirrored.upper, -mirrored.lower95), abs=1e-9)


def test_alpha_is_shared_by_looks_and_metrics() -> None:
    """So that one duet, however often looked at, errs in one of a hundred."""
    for most in LOOKS:
        looks = [look_at(2, pairs, most) for pairs in LOOKS if pairs <= most]
        assert sum(2 * look.alpha for look in looks) == pytest.approx(0.01)
        assert sum(look.pass_alpha for look in looks) == pytest.approx(0.05)
        assert looks == sorted(looks)
        assert looks[0] == look_at(2, 3, most)
    assert look_at(0, 10, 30) == look_at(1, 10, 30)


def test_a_duet_that_is_cut_short_or_goes_on_is_looked_at_all_the_same() -> None:
    """Fewer pairs than the first look has, and more than the last: as at that look."""
    assert look_at(1, 99, 30) == look_at(1, 30, 30)
    assert look_at(1, 7, 5) == look_at(1, 5, 10)


def test_a_burst_in_one_arm_of_a_pair_hardly_moves_the_change() -> None:
    """The neighbour trebles one of twenty pairs, and its pair is at the end that is left out."""
    rng = np.random.default_rng(3)
    quiet = rng.normal(0.02, 0.03, size=20).tolist()
    burst = [*quiet[:-1], quiet[-1] + math.log(3)]
    calm, hit = found("p50", pairs_of(quiet)), found("p50", pairs_of(burst))
    assert abs(hit.change - calm.change) < 0.01
    assert hit.upper - hit.lower < 2 * (calm.upper - calm.lower)


# What would settle it.

MARGIN = math.log(1.1)


def test_the_pairs_that_would_settle_it_do() -> None:
    """With so many of the same spread the bound is below the margin, and with far fewer it is not."""
    rng = np.random.default_rng(1)
    open_ones = 0
    for _ in range(50):
        changes = rng.normal(0.03, 0.15, size=10)
        change = found("p50", pairs_of(changes.tolist()))
        if change.upper95 < MARGIN or change.change >= MARGIN:
            continue
        open_ones += 1
        count = pairs_to_settle(change, MARGIN)
        assert count is not None
        for tens, settled in ((math.ceil(count / 10), True), (math.floor(0.6 * count / 10), False)):
            if tens > 1:
                again = np.tile(changes, tens)
                assert (found("p50", pairs_of(again.tolist())).upper95 < 1.01 * MARGIN) == settled
    assert open_ones > 20


def test_what_is_beyond_the_margin_no_number_of_pairs_would_pass() -> None:
    """However many."""
    assert pairs_to_settle(found("p50", pairs_of([0.0, 0.1, 0.2, 0.3])), MARGIN) is None


def test_at_least_one_more_pair_is_asked_for() -> None:
    """Of what is all but settled, too."""
    assert pairs_to_settle(found("p50", pairs_of([0.0] * 10)), MARGIN) == 11
