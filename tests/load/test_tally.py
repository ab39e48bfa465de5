"""What is counted for the person watching."""

from __future__ import annotations

import pytest

from harness.load.tally import Tallies
from harness.observation.observation import Observation, Outcome, Phase


def test_unknown_ends_are_a_part_of_the_failed_ones_and_tails_are_told() -> None:
    """A timeout may have happened; whoever counts outcomes wants it apart. Percentiles are right to 1 %."""
    tallies = Tallies()
    outcomes = [*[Outcome.OK] * 97, Outcome.FAILED, Outcome.UNKNOWN, Outcome.UNKNOWN]
    for number, outcome in enumerate(outcomes, start=1):
        tallies.add(Observation(str(number), "job", "10", Phase.MEASURE, 1, 5.0, outcome, ended=5.0 + number / 100))
    progress = tallies.progress(9.0, Phase.DRAIN, users=3, in_flight=2)
    assert (progress.ok, progress.failed, progress.unknown) == (97, 3, 2)
    assert (progress.p50_s, progress.p95_s, progress.p99_s) == tuple(
        pytest.approx(q, rel=0.011) for q in (0.5, 0.95, 0.99)
    )
