"""Ids tell their level, whatever its label."""

from __future__ import annotations

import pytest

from harness.load.arrivals import Requests
from harness.observation.ids import level_prefix, prefix_of
from harness.scenario.scenario import Workflow


@pytest.mark.parametrize("label", ["10", "100", "6/s", "0.5/s", "1e-05/s", "1e+06/s"])
def test_an_id_tells_its_level(label: str) -> None:
    """As the load process makes them."""
    drawn = Requests(1, label, [Workflow(kind="simple")]).draw()
    assert prefix_of(drawn.id) == level_prefix(label)


def test_a_name_of_somebody_else_is_of_no_level() -> None:
    """Not of one whose label it begins with."""
    assert prefix_of("100-7") != level_prefix("10")
    assert prefix_of("") == ""
