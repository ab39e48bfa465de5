"""The duet's picture as text: it fits a terminal, and shows what the drawing shows."""

from __future__ import annotations

import math

import pytest

from harness.report.dots import COLUMNS, DOT, MARGIN, MEAN, ZERO, duet_text
from tests.report.drawn import DOTS, change, shifts

LINES_MAX = 15


@pytest.mark.parametrize("metric", ["p95", "throughput", "success", "rss_slope"])
@pytest.mark.parametrize("dots", [DOTS, DOTS * 3, (0.1,) * 30, (5.0, -4.0, *DOTS), ()])
def test_it_fits_a_terminal(metric: str, dots: tuple[float, ...]) -> None:
    """Whatever the numbers are."""
    lines = duet_text("p" * 90, dots, change(metric), shifts(0.1, 3.0), margin=0.1)
    assert len(lines) <= LINES_MAX
    assert max(map(len, lines)) <= COLUMNS


def test_every_pair_is_counted() -> None:
    """Dots that lie on one another are stacked, and a digit counts those that found no room."""
    lines = duet_text("p95", DOTS, change(), [])
    assert sum(line.count(DOT) for line in lines[1:-3]) == len(DOTS)
    high = duet_text("p95", [0.1] * 9, change(), [])
    assert [line.strip(f" {ZERO}") for line in high[1:5]] == ["6", DOT, DOT, DOT]


def test_one_axis_for_pairs_mean_and_quantiles() -> None:
    """The mean lies where its quantile of the same change lies, right of zero when it is worse."""
    lines = duet_text("p95", DOTS, change(mean=0.11), shifts(0.11), margin=math.log1p(0.1))
    bars = [line for line in lines[1:-1] if MEAN in line]
    assert [line.split()[0] for line in bars] == ["mean", "p10", "p30", "p50", "p70", "p90", "p95", "p99"]
    assert len({line.index(MEAN) for line in bars}) == 1
    assert bars[0].index(MEAN) > bars[0].index(ZERO)
    assert all(line.rstrip().endswith("+11.6 %") for line in bars[1:])


def test_the_head_tells_the_numbers() -> None:
    """Who reads one line has the change, its interval, and how sure that is."""
    head = duet_text("CPU a workflow", DOTS, change("cpu_per_workflow"), shifts(0.1))[0]
    assert head == "CPU a workflow in 10 pairs: +11.6 % (+7.3 to +16.2 %), each end at 99 %"


def test_latencies_are_not_put_on_another_axis() -> None:
    """Beside points or bytes a minute, quantiles would lie at places that mean nothing."""
    assert not any(
        line.strip().startswith("p99") for line in duet_text("success", DOTS, change("success"), shifts(0.1))
    )


def test_the_margin_is_drawn_when_there_is_one() -> None:
    """And named in the key."""
    with_margin = duet_text("p95", DOTS, change(), [], margin=0.2)
    assert sum(MARGIN in line for line in with_margin) == len(with_margin) - 2
    assert not any(MARGIN in line for line in duet_text("p95", DOTS, change(), []))
