"""Axes of changes: worse is one way for all metrics, and labels tell what the metric itself did."""

from __future__ import annotations

import math

import pytest

from harness.report.axis import axis_of, directed, label, span


@pytest.mark.parametrize(
    ("metric", "change", "text"),
    [
        ("p95", math.log(1.2), "+20 %"),
        ("p95", math.log(0.8), "-20 %"),
        ("throughput", math.log(1.25), "-20 %"),
        ("success", 0.015, "-1.5 points"),
        ("rss_slope", 2 * 2**20, "+2 MiB/min"),
        ("shape", 0.0, "0 %"),
    ],
)
def test_labels_tell_what_the_metric_did(metric: str, change: float, text: str) -> None:
    """Logarithms become shares, and throughput that is worse is less."""
    assert label(metric, change) == text


@pytest.mark.parametrize("metric", ["p50", "throughput", "success", "rss_slope"])
def test_ticks_are_round_hold_zero_and_fit(metric: str) -> None:
    """Whatever the unit, ticks lie on the axis, at round labels, and zero is one of them."""
    axis = axis_of(metric, [-0.05, 0.21] if metric != "rss_slope" else [-1e6, 7.3e6])
    ticks = axis.ticks(6)
    assert 0.0 in ticks
    assert 3 <= len(ticks) <= 7
    assert ticks == sorted(ticks)
    assert all(axis.low <= tick <= axis.high for tick in ticks)
    assert all(len(label(metric, tick).split()[0]) <= 5 for tick in ticks)


def test_a_span_goes_up() -> None:
    """From the smaller to the larger, also for a metric that is worse when it is less."""
    assert span("throughput", math.log(1.25), math.log(0.8)) == "-20.0 to +25.0 %"


def test_all_zero_has_an_axis_too() -> None:
    """Identical arms, and pairs whose change is not finite, leave room about zero."""
    axis = axis_of("p50", [0.0, math.nan, math.inf])
    assert axis.low < 0 < axis.high
    assert axis.at(0.0) == pytest.approx(0.5)
    assert axis.at(99.0) == 1.0


def test_directed_is_the_metrics_own_change() -> None:
    """As a share where changes are logarithms, else in the metric's own unit."""
    assert directed("p50", math.log(2)) == pytest.approx(1.0)
    assert directed("success", 0.25) == -0.25
