"""Student's t, against printed tables, closed forms, and the density added up by another method."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.statistics.students_t import incomplete_beta, mean_and_error, t_cdf, t_quantile, trimmed_mean

# Abramowitz & Stegun, table 26.10 (there by the two-sided level), as any table of the distribution has it.
TABLE = {
    1: {0.75: 1.000, 0.9: 3.078, 0.95: 6.314, 0.975: 12.706, 0.99: 31.821, 0.995: 63.657},
    2: {0.75: 0.816, 0.9: 1.886, 0.95: 2.920, 0.975: 4.303, 0.99: 6.965, 0.995: 9.925},
    4: {0.75: 0.741, 0.9: 1.533, 0.95: 2.132, 0.975: 2.776, 0.99: 3.747, 0.995: 4.604},
    9: {0.75: 0.703, 0.9: 1.383, 0.95: 1.833, 0.975: 2.262, 0.99: 2.821, 0.995: 3.250},
    20: {0.75: 0.687, 0.9: 1.325, 0.95: 1.725, 0.975: 2.086, 0.99: 2.528, 0.995: 2.845},
    30: {0.75: 0.683, 0.9: 1.310, 0.95: 1.697, 0.975: 2.042, 0.99: 2.457, 0.995: 2.750},
    120: {0.75: 0.677, 0.9: 1.289, 0.95: 1.658, 0.975: 1.980, 0.99: 2.358, 0.995: 2.617},
}


def added_up(t: float, df: float) -> float:
    """P(T <= t) from the density, by Gauss-Legendre over the angle atan(T / sqrt(df)), where it is cos^(df - 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(200)

    def area(low: float, high: float) -> float:
        angle = (high - low) / 2 * nodes + (high + low) / 2
        return float(np.sum(weights * np.cos(angle) ** (df - 1)) * (high - low) / 2)

    return 0.5 + area(0.0, math.atan(t / math.sqrt(df))) / (2 * area(0.0, math.pi / 2))


@pytest.mark.parametrize(("df", "p", "t"), [(df, p, t) for df, row in TABLE.items() for p, t in row.items()])
def test_quantiles_are_those_of_the_printed_table(df: int, p: float, t: float) -> None:
    """To the three digits that it has."""
    assert t_quantile(p, df) == pytest.approx(t, abs=0.00051)
    assert t_quantile(1 - p, df) == pytest.approx(-t, abs=0.00051)


@pytest.mark.parametrize("p", [0.5, 0.6, 0.9, 0.99, 0.9999, 0.9999999])
def test_one_and_two_degrees_have_a_closed_form(p: float) -> None:
    """tan(pi (p - 1/2)), and (2 p - 1) / sqrt(2 p (1 - p))."""
    assert t_quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-6, abs=1e-12)
    assert t_quantile(p, 2) == pytest.approx((2 * p - 1) / math.sqrt(2 * p * (1 - p)), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("df", [1.0, 1.5, 3.7, 9.0, 22.3, 200.0])
@pytest.mark.parametrize("t", [-7.0, -1.0, -0.01, 0.0, 0.3, 2.0, 4.5])
def test_the_distribution_is_its_density_added_up(df: float, t: float) -> None:
    """Degrees of freedom that are not whole included."""
    assert t_cdf(t, df) == pytest.approx(added_up(t, df), abs=1e-6 if df < 2 else 1e-11)


@given(p=st.floats(1e-6, 1 - 1e-6), df=st.floats(0.8, 400))
def test_a_quantile_is_where_the_distribution_reaches_its_share(p: float, df: float) -> None:
    """Forth and back is where it began."""
    assert t_cdf(t_quantile(p, df), df) == pytest.approx(p, rel=1e-9)


def test_many_degrees_are_nearly_normal() -> None:
    """Hill's first term: z + (z^3 + z) / (4 df)."""
    z = 2.3263478740
    assert t_quantile(0.99, 1e5) == pytest.approx(z + (z**3 + z) / 4e5, abs=1e-8)


def test_the_ends_of_the_line() -> None:
    """Infinity is beyond everything."""
    assert (t_cdf(math.inf, 3), t_cdf(-math.inf, 3), t_cdf(0.0, 3)) == (1.0, 0.0, 0.5)


@given(a=st.integers(1, 12), b=st.integers(1, 12), x=st.floats(0, 1))
def test_the_incomplete_beta_is_a_binomial_tail(a: int, b: int, x: float) -> None:
    """I_x(a, b) = P(at least a of a + b - 1 tries), Abramowitz & Stegun 26.5.24."""
    n = a + b - 1
    tail = sum(math.comb(n, j) * x**j * (1 - x) ** (n - j) for j in range(a, n + 1))
    assert incomplete_beta(a, b, x) == pytest.approx(tail, abs=1e-12)


def test_a_trimmed_mean_by_pencil() -> None:
    """Twenty values, two off at each end, which count as the nearest kept: 3 three times, 18 three times."""
    values = [-900.0, 2.0, *range(3, 19), 19.0, 700.0]
    found = trimmed_mean(values)
    drawn_in = [3.0] * 2 + [float(each) for each in range(3, 19)] + [18.0] * 2
    assert found.mean == pytest.approx(10.5)
    assert found.error == pytest.approx(float(np.std(drawn_in, ddof=1)) / math.sqrt(20) / 0.8)
    assert found.df == 15


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9))
def test_nothing_is_trimmed_of_a_few(values: list[float]) -> None:
    """There is no tenth."""
    found = trimmed_mean(values)
    assert (found.mean, found.error) == pytest.approx(mean_and_error(values), abs=1e-6)
    assert found.df == len(values) - 1


def test_a_trimmed_interval_covers_the_mean_as_often_as_it_says() -> None:
    """95 %, of ten values of a bell curve."""
    rng = np.random.default_rng(4)
    covered = 0
    for row in rng.standard_normal((4000, 10)):
        found = trimmed_mean(row)
        covered += abs(found.mean) < t_quantile(0.975, found.df) * found.error
    assert covered / 4000 == pytest.approx(0.95, abs=0.012)
