"""Change points: found where they are, not found where there are none, and where apache-otava finds them.

`otava.json` holds 22 series (numpy's default_rng by their seed, about 100, multiplicative noise) and the answers that
apache-otava 0.8.0 gave in an environment of its own: compute_change_points(values, max_pvalue=0.001).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.statistics.changepoint import P_MAX, POINTS_MIN, SEGMENT_MIN, change_points
from harness.statistics.students_t import t_cdf

OTAVA: dict[str, Any] = json.loads((Path(__file__).parent / "otava.json").read_text())
FALSE_OF_OTAVA = {5: [56]}
"""By seed: points that otava reports where nothing changed. Its p is not corrected for having looked everywhere."""


def indices(values: list[float]) -> list[int]:
    """Where the series changes."""
    return [point.index for point in change_points(values)]


@pytest.mark.parametrize("series", OTAVA["series"], ids=lambda series: f"{series['kind']} {series['seed']}")
def test_as_apache_otava_says(series: dict[str, Any]) -> None:
    """The same points, at the same places, on the scale itself and in logarithms; but for otava's false alarms."""
    expected = [at for at in series["otava"] if at not in FALSE_OF_OTAVA.get(series["seed"], [])]
    assert indices(series["values"]) == expected
    assert indices(list(np.log(series["values"]))) == expected


@pytest.mark.parametrize("series", OTAVA["series"], ids=lambda series: f"{series['kind']} {series['seed']}")
def test_what_changed_is_found_and_nothing_else(series: dict[str, Any]) -> None:
    """Against the truth: as many points as there are changes, each at most one run away."""
    found = indices(series["values"])
    assert len(found) == len(series["true"])
    assert all(abs(ours - true) <= 1 for ours, true in zip(found, series["true"], strict=True))


def test_means_and_p_are_of_the_neighbouring_segments() -> None:
    """The size of a change is told from the runs between the change points before and after it."""
    rng = np.random.default_rng(3)
    values = 100 + rng.normal(size=40)
    values[15:30] += 20
    first, second = change_points(list(values))
    assert (first.index, second.index) == (15, 30)
    assert first.before == pytest.approx(values[:15].mean())
    assert first.after == second.before == pytest.approx(values[15:30].mean())
    assert second.after == pytest.approx(values[30:].mean())
    assert max(first.p, second.p) < P_MAX


def test_p_is_students_corrected_for_the_places() -> None:
    """The two-sample t-test with pooled variance, times the places where a split could have been."""
    values = np.array([1.0, 1.1, 0.9, 1.05, 0.95] * 2 + [1.5, 1.6, 1.4, 1.55, 1.45] * 2)
    [point] = change_points(list(values))
    squares = sum(float(((part - part.mean()) ** 2).sum()) for part in (values[:10], values[10:]))
    t = 0.5 / math.sqrt(squares / 18 * (1 / 10 + 1 / 10))
    assert point.p == pytest.approx((20 - 2 * SEGMENT_MIN + 1) * 2 * (1 - t_cdf(t, 18)), rel=0.05, abs=1e-12)


def test_fewer_than_the_least_number_of_points_have_none() -> None:
    """However plain the step is."""
    step = [1.0] * 10 + [2.0] * 10
    assert len(step) == POINTS_MIN
    assert indices(step) == [10]
    assert indices(step[1:]) == []
    assert indices([]) == []


def test_an_outlier_is_no_change() -> None:
    """However far out and wherever it lies; SEGMENT_MIN runs in a row may be."""
    quiet = [1.0 + 0.001 * (n % 5) for n in range(30)]
    for at in (0, 13, 29):
        assert indices([*quiet[:at], 5.0, *quiet[at + 1 :]]) == []
    assert indices([*quiet, *[5.0] * SEGMENT_MIN]) == [30]


def test_nothing_varies_nothing_changes() -> None:
    """A constant has no change point; a step between constants has one, with certainty."""
    assert change_points([3.0] * 40) == ()
    [point] = change_points([3.0] * 20 + [4.0] * 20)
    assert (point.index, point.p) == (20, 0.0)


def test_false_alarms_are_rare() -> None:
    """Of 600 series in which nothing changes, heavy tails included, at most one in a hundred has a change point."""
    rng = np.random.default_rng(11)
    alarms = sum(bool(change_points(list(rng.standard_t(3, size=44)))) for _ in range(300))
    alarms += sum(bool(change_points(list(rng.normal(size=30)))) for _ in range(300))
    assert alarms <= 6


def test_scale_and_place_do_not_matter() -> None:
    """Seconds or milliseconds, the same runs are told apart."""
    series = next(each["values"] for each in OTAVA["series"] if each["kind"] == "up and back")
    assert indices([1000 * value + 7 for value in series]) == indices(series)


def test_what_is_not_finite_is_refused() -> None:
    """It would silently be no change."""
    with pytest.raises(ValueError, match="not finite"):
        change_points([math.nan] * 30)
