"""The largest load within an objective: between measured levels, never beyond them, with an interval that holds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.statistics.capacity import Capacity, Condition, Measured, capacity, little

P95 = Condition("p95", "<", 2.0)
OK = Condition("success", ">=", 0.99)
LOADS = (1, 2, 4, 8, 16, 32, 64)
NOISE = 0.03


def sittings(p95: dict[float, float], *, success: dict[float, float] | None = None, noise: float = 0.0, seed: int = 1):  # type: ignore[no-untyped-def]
    """Three sittings of each level, a little apart."""
    rng = np.random.default_rng(seed)
    return [
        Measured(
            load,
            {
                "p95": value * math.exp(rng.normal(0, noise)),
                "success": (success or {}).get(load, 1.0),
                "throughput": 10.0 * min(load, 20),
            },
        )
        for load, value in p95.items()
        for _ in range(3)
    ]


def test_it_lies_between_the_levels_where_the_bound_is_reached() -> None:
    """At p95 = load / 10 s, 2 s are reached at 20: on a line of logarithms exactly."""
    found = capacity(sittings({load: load / 10 for load in LOADS}), [P95])
    assert found.load == pytest.approx(20.0)
    assert (found.limited_by, found.at_least) == ("p95", False)
    assert found.throughput == pytest.approx(160 + 40 * math.log2(20 / 16), rel=0.01)


def test_whichever_condition_comes_first_limits() -> None:
    """Success falls below its bound half-way from 4 to 8."""
    success = {8: 0.98, 16: 0.9, 32: 0.5, 64: 0.1}
    found = capacity(sittings({load: load / 10 for load in LOADS}, success=success), [P95, OK])
    assert found.limited_by == "success"
    assert found.load == pytest.approx(math.sqrt(4 * 8), rel=0.01)


def test_what_no_level_reaches_is_told_as_at_least() -> None:
    """The sweep ended there; nothing is made up beyond it."""
    found = capacity(sittings(dict.fromkeys(LOADS, 0.5)), [P95])
    assert found == Capacity(load=64.0, at_least=True, throughput=pytest.approx(200.0))


def test_what_every_level_breaks_has_no_load() -> None:
    """Not even the smallest: it is below that."""
    found = capacity(sittings(dict.fromkeys(LOADS, 5.0)), [P95])
    assert (found.load, found.upper, found.limited_by) == (None, 1.0, "p95")


def test_noise_that_falls_again_is_no_second_limit() -> None:
    """A level that is slow by chance is averaged with its neighbours."""
    curve = {load: load / 10 for load in LOADS} | {4: 0.9, 8: 0.6}
    found = capacity(sittings(curve), [P95])
    assert found.load == pytest.approx(20.0)


def test_the_interval_holds_the_truth() -> None:
    """In nine of ten sweeps, or more; and the value is within a few percent."""
    inside, errors = 0, []
    for seed in range(60):
        found = capacity(sittings({load: load / 10 for load in LOADS}, noise=NOISE, seed=seed), [P95], seed=seed)
        assert found.load is not None
        assert found.lower is not None
        assert found.upper is not None
        inside += found.lower <= 20.0 <= found.upper
        errors.append(abs(found.load / 20.0 - 1))
    assert 48 <= inside <= 60, inside
    assert np.quantile(errors, 0.9) < 0.05


def test_the_same_sweep_says_the_same() -> None:
    """Bootstrap and all."""
    sweep = sittings({load: load / 10 for load in LOADS}, noise=NOISE)
    assert capacity(sweep, [P95]) == capacity(sweep, [P95])


@pytest.mark.parametrize(
    ("measured", "objective", "said"),
    [
        (sittings({1: 1.0, 2: 2.0}), [], "without a condition"),
        ([], [P95], "no level"),
        (sittings({1: 1.0, 2: 2.0}), [Condition("p99", "<", 1.0)], "load 1 has no p99"),
    ],
)
def test_what_says_nothing_is_refused(measured: list[Measured], objective: list[Condition], said: str) -> None:
    """With the reason."""
    with pytest.raises(ValueError, match=said):
        capacity(measured, objective)


def test_little_s_law() -> None:
    """50 at once, 10 a second, 5 s each; less of it than there should be is below zero."""
    assert little(50, 10.0, 5.0) == pytest.approx(0.0)
    assert little(50, 10.0, 4.0) == pytest.approx(-0.2)
    assert little(50, 10.0, 4.0, pause_s=1.0) == pytest.approx(0.0)
