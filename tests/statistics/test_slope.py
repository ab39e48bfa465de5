"""Growth of memory, told apart from memory that was taken once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.statistics.slope import SLOPE_BLOCKS, step_free_slope

WINDOW = (100.0, 700.0)
AT = np.arange(100.0, 700.0)


def slope(reading: np.ndarray, at: np.ndarray = AT) -> float:
    found = step_free_slope(list(zip(at.tolist(), reading.tolist(), strict=True)), WINDOW)
    assert found is not None
    return found


@given(rate=st.floats(-1e6, 1e6), level=st.floats(0, 1e9))
def test_steady_growth_is_its_rate(rate: float, level: float) -> None:
    """In units a second."""
    assert slope(level + rate * AT) == pytest.approx(rate, abs=1e-3)


def test_memory_that_is_taken_once_is_no_growth() -> None:
    """A cache that fills at half time, and one that is given back later."""
    assert slope(np.where(AT > 400, 5e8, 1e8)) == 0.0
    assert slope(np.where((AT > 400) & (AT < 600), 5e8, 1e8)) == 0.0


def test_a_step_does_not_hide_growth() -> None:
    """100 kB/s and a step of 400 MB upon it."""
    assert slope(1e5 * AT + np.where(AT > 400, 4e8, 0.0)) == pytest.approx(1e5)


def test_what_is_taken_while_warming_up_is_no_growth() -> None:
    """The first 30 % of the window rise steeply."""
    assert slope(np.minimum(AT, 280.0) * 1e6) == 0.0


def test_a_step_in_the_middle_of_a_block_is_one_step() -> None:
    """Whichever of its samples is the first to be higher."""
    assert [slope(np.where(400 + later <= AT, 5e8, 1e8)) for later in range(30)] == [0.0] * 30


def test_single_readings_do_not_matter() -> None:
    """Every tenth sample is taken in the middle of a collection, at twice the level."""
    assert slope(np.where(np.arange(len(AT)) % 10 == 3, 2e8, 1e8) + 1e4 * AT) == pytest.approx(1e4, rel=0.02)


def test_blocks_that_nobody_sampled_are_passed_over() -> None:
    """Three gaps of more than a block each: the rate is still the rate, not the jump across a gap."""
    seen = np.ones(len(AT), dtype=bool)
    for start in (290, 380, 500):
        seen[start : start + 65] = False
    assert slope(1e5 * AT[seen], AT[seen]) == pytest.approx(1e5, rel=0.15)


def test_growth_of_a_leak_stands_out_of_a_healthy_process() -> None:
    """A cache that half of all runs fill, and noise: 6 MB a minute are told from none, where least squares are not."""
    rng = np.random.default_rng(1)
    healthy, leaking, fitted = [], [], []
    for _ in range(200):
        steps = np.where(rng.uniform(100, 700) < AT, 40e6 * rng.integers(2), 0.0)
        reading = 2e8 + steps + rng.normal(0, 3e5, size=len(AT))
        healthy.append(slope(reading) * 60)
        leaking.append(slope(reading + 1e5 * AT) * 60)
        fitted.append(np.polyfit(AT, reading, 1)[0] * 60)
    assert np.mean(np.array(healthy) >= 2e6) == 0
    assert np.mean(np.array(leaking) > 4e6) == 1
    assert np.mean(np.array(fitted) > 2e6) > 0.3


@pytest.mark.parametrize("count", [0, 1, 5])
def test_too_few_points_say_nothing(count: int) -> None:
    """Nor does a window without length."""
    points = [(float(at), 1.0) for at in np.linspace(300, 690, count)]
    assert step_free_slope(points, WINDOW) is None
    assert step_free_slope([(1.0, 1.0)], (5.0, 5.0)) is None


def test_readings_before_and_after_the_window_are_left_out() -> None:
    """The drain, after which everything is freed, is no part of it."""
    at = np.arange(0.0, 900.0, 600.0 / SLOPE_BLOCKS / 4)
    assert slope(np.where((at >= 100) & (at < 700), 1e5 * at, 9e9), at) == pytest.approx(1e5)
