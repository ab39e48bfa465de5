"""A machine that is not what it was is told by the reference leaving its band."""

from __future__ import annotations

import msgspec
import pytest

from harness.statistics.drift import reference_drifted
from harness.statistics.reading import BlockReading, Reading


def reference(p50_s: float) -> Reading:
    """A reading of the reference with this p50 in each of its blocks."""
    blocks = tuple(BlockReading(50, 50, p50_s, 2 * p50_s, 3 * p50_s, 0.0) for _ in range(20))
    return Reading(arrivals=1000, ok=1000, measure_s=20.0, blocks=blocks)


STORED = [reference(p50_s) for p50_s in (0.98, 1.00, 1.02, 0.99, 1.01)]  # sd of the logarithms: 1.58 %
"""The band is 3 x 1.58 % + 5 % = 9.7 % either side."""


@pytest.mark.parametrize(("p50_s", "drift"), [(1.09, None), (0.92, None), (1.11, 0.11), (0.89, -0.11)])
def test_the_reference_drifts_when_it_leaves_its_band(p50_s: float, drift: float | None) -> None:
    """Faster is another machine as much as slower is."""
    found = reference_drifted(reference(p50_s), STORED)
    assert found == (None if drift is None else pytest.approx(drift, abs=0.001))


def test_one_stored_reference_has_a_band_of_five_percent() -> None:
    """There is no spread to be known yet; with none stored, nothing has drifted."""
    assert reference_drifted(reference(1.04), [reference(1.0)]) is None
    assert reference_drifted(reference(1.06), [reference(1.0)]) == pytest.approx(0.06)
    assert reference_drifted(reference(1.06), []) is None


def test_a_reference_in_which_nothing_ended_says_nothing_of_drift() -> None:
    """Whether it may be compared at all is another rule's to say."""
    empty = Reading(arrivals=0, ok=0, measure_s=20.0, blocks=())
    assert reference_drifted(empty, STORED) is None
    assert reference_drifted(reference(1.5), [empty]) is None


def test_a_slower_clock_shows_in_the_cpu_a_workflow_takes() -> None:
    """While its p50, most of which is waiting, stays where it was."""

    def with_cpu(cpu_s: float) -> Reading:
        return msgspec.structs.replace(reference(1.0), values={"cpu_per_workflow": cpu_s})

    stored = [with_cpu(0.002) for _ in range(5)]
    assert reference_drifted(with_cpu(0.0024), stored) is None
    assert reference_drifted(with_cpu(0.0024), stored, "cpu_per_workflow") == pytest.approx(0.2)
