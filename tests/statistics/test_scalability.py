"""The Universal Scalability Law against published fits, and models that may say as much."""

from __future__ import annotations

import numpy as np
import pytest

from harness.statistics.scalability import fit_usl, fits, tied

SDM91 = ([1, 18, 36, 72, 108, 144, 216], [64.9, 995.9, 1652.4, 1853.2, 1828.9, 1775.0, 1702.2])
"""SPEC SDM 91, as in the R package `usl`."""


def usl(loads: list[int], gamma: float, alpha: float, beta: float) -> list[float]:
    """Throughputs that follow the law exactly."""
    return [gamma * n / (1 + alpha * (n - 1) + beta * n * (n - 1)) for n in loads]


def test_a_published_set_is_fitted_to_three_digits() -> None:
    """With the errors and what follows from it, as R's `usl` tells them."""
    fit = fit_usl(*SDM91)
    assert fit.alpha.value == pytest.approx(0.0277285, rel=1e-3)
    assert fit.alpha.error == pytest.approx(0.0091217, rel=1e-3)
    assert fit.beta.value == pytest.approx(0.0001044, rel=1e-3)
    assert fit.beta.error == pytest.approx(0.0000199, rel=3e-3)
    assert fit.gamma.value == pytest.approx(89.995, rel=1e-3)
    assert fit.gamma.error == pytest.approx(14.213, rel=1e-3)
    assert fit.peak == pytest.approx(96.52, rel=1e-3)
    assert fit.peak is not None
    assert fit.throughput(fit.peak) == pytest.approx(1884, rel=1e-3)
    assert fit.ceiling == pytest.approx(3245.6, rel=1e-3)


def test_what_follows_the_law_is_found_again() -> None:
    """R's own test: alpha and beta .02, gamma 1."""
    loads = [1, 2, 4, 6, 8, 10]
    fit = fit_usl(loads, usl(loads, 1.0, 0.02, 0.02))
    assert (fit.gamma.value, fit.alpha.value, fit.beta.value) == pytest.approx((1.0, 0.02, 0.02), abs=1e-6)


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    """About 95 times of a hundred, by Student's t with n - p degrees of freedom."""
    rng, loads, held = np.random.default_rng(7), [1, 2, 4, 8, 16, 32, 64, 96, 128], 0
    true = np.array(usl(loads, 50.0, 0.03, 0.0002))
    for _ in range(200):
        fit = fit_usl(loads, list(true + rng.normal(0, 5.0, len(loads))))
        assert fit.alpha.lower is not None
        assert fit.alpha.upper is not None
        held += fit.alpha.lower <= 0.03 <= fit.alpha.upper
    assert 180 <= held <= 199


def test_nothing_is_told_far_beyond_what_was_measured() -> None:
    """And a peak out there is none."""
    loads = [1, 2, 4, 8]
    fit = fit_usl(loads, usl(loads, 1.0, 0.02, 0.0001))
    assert fit.throughput(12) is not None
    assert fit.throughput(12.1) is None
    assert fit.peak is None


def test_more_cannot_be_worse_than_nothing_shared() -> None:
    """Throughput that grows faster than linearly has neither contention nor coherency; they are not below 0."""
    loads = [1, 2, 4, 8, 16]
    fit = fit_usl(loads, [1.0, 2.1, 4.3, 8.9, 18.0])
    assert (fit.alpha.value, fit.beta.value, fit.alpha.error) == (0.0, 0.0, None)
    assert fit.ceiling is None


@pytest.mark.parametrize(
    ("parameters", "best"), [((10.0, 0.05, 0.001), "usl"), ((10.0, 0.05, 0.0), "amdahl"), ((10.0, 0.0, 0.0), "linear")]
)
def test_the_simplest_model_that_says_as_much_is_among_the_best(
    parameters: tuple[float, float, float], best: str
) -> None:
    """By Akaike's criterion, which charges for each parameter."""
    rng, loads = np.random.default_rng(3), [1, 2, 4, 8, 12, 16, 24, 32, 48, 64]
    throughputs = np.array(usl(loads, *parameters)) * (1 + rng.normal(0, 0.01, len(loads)))
    assert best in tied(fits(loads, list(throughputs)))


def test_a_pool_is_told_from_the_law() -> None:
    """Eight servers: linear up to eight, then flat."""
    loads = [1, 2, 4, 6, 8, 12, 16, 24, 32]
    found = fits(loads, [3.0 * min(n, 8) * (1 + 0.003 * (-1) ** n) for n in loads])
    assert found[0].model == "pool"
    assert found[0].servers == 8
    assert found[0].ceiling == pytest.approx(24.0, rel=0.01)
    assert tied(found) == ("pool",)


@pytest.mark.parametrize(
    ("loads", "throughputs"), [([1, 2, 3], [1, 2, 3]), ([1, 2, 3, 4], [1, 2, 3, 0]), ([0, 1, 2, 3], [1, 1, 2, 3])]
)
def test_what_is_no_curve_is_refused(loads: list[float], throughputs: list[float]) -> None:
    """Too few points, or one that is none."""
    with pytest.raises(ValueError, match=r"needs four|no measurement"):
        fit_usl(loads, throughputs)
