"""The light reader of journals sees what the full one sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.observation.journal import Journal
from harness.observation.observation import Observation, Outcome, Phase, StepRecord
from harness.statistics.tally import CODES, SeenStep, Tally


def test_every_outcome_has_a_code() -> None:
    """A new outcome must be given one."""
    assert set(CODES) == {str(outcome) for outcome in Outcome}


def test_a_step_is_read_in_the_order_it_is_written() -> None:
    """Both are arrays; the light one is a prefix of the full one."""
    fields = SeenStep.__struct_fields__
    assert fields == StepRecord.__struct_fields__[: len(fields)]


def test_an_arrival_of_which_nothing_is_known_is_read(tmp_path: Path) -> None:
    """Times that were not written are not zero and damage nothing."""
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.ended(Observation("a", "simple", "10", Phase.MEASURE, 1, 5.0, Outcome.NOT_STARTED))
    tally = Tally()
    tally.read(path)
    rows = tally.levels["10"].ended_once()[0]["simple"]
    assert tally.damage.unreadable == 0
    assert list(rows["intended"]) == [5.0]
    assert list(rows["ended"]) == pytest.approx([float("nan")], nan_ok=True)
