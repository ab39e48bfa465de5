"""Thinning keeps what stands out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.html.thinning import thinned_dots, thinned_line

SIZES = st.integers(1, 3000)


@given(n=SIZES, seed=st.integers(0, 2**32 - 1), columns=st.integers(1, 200))
def test_a_line_keeps_its_ends_its_highest_and_its_lowest(n: int, seed: int, columns: int) -> None:
    """And is no longer than asked for."""
    rng = np.random.default_rng(seed)
    x, y = np.sort(rng.random(n)), rng.random(n)
    kept = thinned_line(x, y, columns)
    assert (np.diff(kept) > 0).all()
    assert {0, n - 1, int(np.argmin(y)), int(np.argmax(y))} <= set(kept.tolist())
    assert len(kept) <= 2 * columns + 2


def test_a_gap_in_a_line_stays_one() -> None:
    """A service that did not answer is not drawn as if it had."""
    x = np.arange(10_000.0)
    y = np.ones_like(x)
    y[4000:6000] = np.nan
    kept = thinned_line(x, y, 100)
    assert np.isnan(y[kept]).any()


@given(n=SIZES, seed=st.integers(0, 2**32 - 1), most=st.integers(10, 500))
def test_dots_are_at_most_so_many_and_the_highest_is_among_them(n: int, seed: int, most: int) -> None:
    """One of those that lie on one another stands for them."""
    rng = np.random.default_rng(seed)
    x, y = rng.random(n) * 1000, rng.random(n) * 200
    kept = thinned_dots(x, y, most)
    assert len(kept) <= most
    assert int(np.argmax(y)) in kept
    assert len(kept) == n or n > most


@pytest.mark.parametrize("n", [0, 1])
def test_few_dots_are_all_kept(n: int) -> None:
    """Down to none."""
    assert len(thinned_dots(np.zeros(n), np.zeros(n), 10)) == n
