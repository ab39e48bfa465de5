"""An objective in words."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.statistics.capacity import Condition
from harness.verdict.objective import read_objective


def test_conditions_are_read_with_their_units() -> None:
    """As limits are written, with commas between them."""
    assert read_objective("p95 < 5 s, success >= 99 %") == (
        Condition("p95", "<", 5.0),
        Condition("success", ">=", 0.99),
    )
    assert read_objective("agent.data.p95<=250ms") == (Condition("agent.data.p95", "<=", 0.25),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" ", '--slo: is empty; write one like "p95 < 5 s, success >= 99 %"'),
        ("p95 < 5 s,", "--slo: a condition is missing beside a comma"),
        ("p59 < 5 s", "--slo: p59 < 5 s: metric 'p59' is unknown; did you mean"),
        ("p95", "--slo: p95: write p95, one of < <= > >=, and a duration, like"),
        ("p95 == 5 s", "--slo: p95 == 5 s: write p95, one of"),
        ("p95 > 5 s", "p95 is better when it is less, so that > would ask for the worse"),
        ("success < 99 %", "success is better when it is more, so that < would ask for the worse"),
        ("p95 < 5", "5"),
        ("p95 < 0 s", "nothing measured is below zero"),
        ("p95 < 5 s, p95 < 6 s", "p95: is given twice"),
    ],
)
def test_each_mistake_is_said_with_its_way_out(text: str, said: str) -> None:
    """In the person's own words."""
    with pytest.raises(UsageError) as told:
        read_objective(text)
    assert said in str(told.value)


def test_all_mistakes_at_once() -> None:
    """Of every condition."""
    with pytest.raises(UsageError) as told:
        read_objective("p59 < 5 s, success >= much")
    assert len(told.value.mistakes) == 2
