"""Resource metrics against samples whose truth is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.observation.observation import HostUse, PoolUse, ResourceSample, StateUse
from harness.statistics.resources import Window, growth, increases, state_metrics
from harness.statistics.summary import summarise

if TYPE_CHECKING:
    from tests.conftest import RunBuilder


def measured(run: RunBuilder, *names: str) -> list[float | None]:
    """The values of some metrics of the run's only level."""
    [level] = summarise(run.write()).levels
    return [level.metric(name).value for name in names]


def test_memory_peak_is_of_the_whole_level_and_spread_after_warmup(run: RunBuilder) -> None:
    """A peak at 2 s (warm-up) is the peak; the spread is what moved from 10 s on; the end is the last sample."""
    run.phases()
    run.resources(lambda at: 500 if at == 2 else 100 + at)
    peak, spread, end = measured(run, "rss_peak", "rss_spread", "rss_end")
    assert (peak, spread, end) == (500 * 2**20, 22 * 2**20, 132 * 2**20)


def test_cpu_is_a_share_of_one_core_over_measure(run: RunBuilder) -> None:
    """And per workflow that ended within it."""
    run.workflows(40)
    run.phases()
    run.resources(cpu=0.8)
    cpu, each = measured(run, "cpu", "cpu_per_workflow")
    assert cpu == pytest.approx(0.8)
    assert each == pytest.approx(0.8 * 20 / 38)  # the last two of 40 ended in the drain


def test_pool_use_is_busy_time_over_size(run: RunBuilder) -> None:
    """Nine of ten instances busy."""
    run.phases()
    run.resources(busy=9.0)
    assert measured(run, "agent.data.pool_use") == [pytest.approx(0.9)]


def test_the_host_tells_of_its_loop_and_queue(run: RunBuilder) -> None:
    """The queue's own peak beats what sampling saw; lags are those of measure."""
    run.phases()
    run.resources()
    assert measured(run, "queue_depth_peak", "loop_lag_p99", "switches") == [7, 0.002, pytest.approx(110)]


def test_a_black_box_without_a_watched_process_has_no_resources(run: RunBuilder) -> None:
    """Not measured is not zero."""
    run.phases()
    assert measured(run, "cpu", "rss_peak", "fds_peak", "loop_lag_p99", "agent.data.pool_use") == [None] * 5


@given(st.floats(0, 50), st.floats(1, 50), st.floats(0.1, 3))
def test_growth_within_a_window_is_exact_for_steady_use(start: float, length: float, rate: float) -> None:
    """Whatever the window, also where it is wider than the samples."""
    points = [(float(at), rate * at) for at in range(101)]
    grown = growth(points, Window(start, start + length))
    assert grown is not None
    assert grown[0] == pytest.approx(rate * length)
    assert grown[1] == pytest.approx(length)


def test_growth_needs_two_readings_around_the_window() -> None:
    """One reading, or none in it, is no growth."""
    window = Window(10.0, 20.0)
    assert growth([(15.0, 1.0)], window) is None
    assert growth([(1.0, 1.0), (5.0, 2.0)], window) is None
    assert growth([(15.0, 1.0), (30.0, 4.0)], window) == pytest.approx((1.0, 5.0))


def test_growth_goes_on_when_the_process_is_started_again() -> None:
    """The new one's readings begin at nothing; 4 s of the old one and 6 s of the new one were within the window."""
    old = [(float(at), at - 5.0) for at in range(10, 15)]
    new = [(float(at), at - 16.0) for at in range(18, 25)]
    grown = growth([*old, *new], Window(10.0, 24.0))
    assert grown == pytest.approx((4.0 + 8.0, 14.0))
    assert [reading for _, reading in increases([*old, *new])][-1] == pytest.approx(9.0 + 8.0)


def test_a_restarted_target_keeps_its_resource_metrics(run: RunBuilder) -> None:
    """Nobody answered for a while, then a new process counted from nothing; it was half a core before and after."""
    run.phases()
    run.resources(cpu=0.5)
    samples = []
    for sample in run.samples:
        assert sample.target is not None
        assert sample.host is not None
        if 18 < sample.at < 20:
            sample = msgspec.structs.replace(sample, target=None, host=None)
        elif sample.at >= 20:
            cpu_s = 0.5 * (sample.at - 19)
            pool = msgspec.structs.replace(sample.host.pools["data"], busy_s=9.0 * (sample.at - 19))
            target = msgspec.structs.replace(sample.target, cpu_s=cpu_s)
            sample = msgspec.structs.replace(
                sample, target=target, host=msgspec.structs.replace(sample.host, pools={"data": pool})
            )
        samples.append(sample)
    run.samples = samples
    cpu, busy = measured(run, "cpu", "agent.data.pool_use")
    assert cpu == pytest.approx(0.5 * 19 / 20)
    assert busy == pytest.approx(0.9 * 19 / 20)


def test_counts_of_state_are_summed_over_processes() -> None:
    """A reading below the last is that of a new process, whose whole count is new; so are its other counts then."""

    def sample(at: float, busy_s: float, state: StateUse | None) -> ResourceSample:
        pools = {"data": PoolUse(size=1, busy=0, waiting=0, busy_s=busy_s, wait_s=0.0)}
        return ResourceSample("10", at, host=HostUse(pools=pools, state=state))

    found = state_metrics(
        [
            sample(1.0, 0.0, StateUse(taken_up=2)),
            sample(2.0, 5.0, StateUse(taken_up=2, fenced=1)),
            ResourceSample("10", 3.0),
            sample(4.0, 1.0, StateUse(taken_up=7, fenced=1, provisional=True)),
            sample(5.0, 2.0, StateUse(taken_up=8, fenced=1)),
        ]
    )
    assert (found["taken_up"].value, found["fenced"].value, found["repairs"].value) == (10, 2, 0)
    assert (found["provisional"].value, found["provisional"].n) == (0.25, 4)


def test_a_target_that_tells_of_no_state_has_none() -> None:
    """Not told is not zero."""
    assert state_metrics([ResourceSample("10", 1.0, host=HostUse())]) == {}
