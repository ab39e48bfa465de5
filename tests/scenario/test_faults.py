"""`[[fault]]` tables: every mistake of form and meaning, and the typed fault."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields

import pytest

from harness.fault import FAULTS
from harness.scenario.faults import FaultWindow, fault_mistakes, fault_type, planned_faults
from harness.scenario.mistakes import dotted
from harness.scenario.units import Seconds

KINDS = {"redis.slow": f"{__name__}:Slow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """Answers late."""

    latency: Seconds
    connections: int = 1


def told(*tables: dict[str, object]) -> list[str]:
    """The mistakes, as a person reads them."""
    return [f"{dotted(each.path)}: {each.text}" for each in fault_mistakes(tables, KINDS, measure_s=20.0)]


def test_a_fault_becomes_its_type() -> None:
    """With its window beside it; `for` may be no field of Python's."""
    table = {"kind": "redis.slow", "at": "2 s", "for": "500 ms", "latency": "50 ms"}
    assert told(table) == []
    [planned] = planned_faults((table,), KINDS)
    assert planned.window == FaultWindow(kind="redis.slow", at=2.0, lasts=0.5)
    assert planned.fault == Slow(latency=0.05)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": None}, "fault[0].kind: is required and missing; `harness faults` lists them all"),
        ({"kind": "redis.slwo"}, "fault[0].kind: kind of fault 'redis.slwo' is unknown; did you mean 'redis.slow'?"),
        ({"for": None}, "fault[0].for: is required and missing"),
        ({"for": "0 s"}, "fault[0].for: should be more than nothing"),
        ({"for": "19 s"}, "fault[0].for: ends 21 s into a measure of 20 s: end it within, or measure for longer"),
        ({"for": 5}, "fault[0].for: 5 is not a duration"),
        ({"latency": "5 MiB"}, "fault[0].latency: '5 MiB' is not a duration"),
        ({"latency": None}, "fault[0].latency: is required and missing"),
        ({"latecny": "1 s"}, "fault[0].latecny: "),
        ({"connections": "many"}, "fault[0].connections: "),
    ],
)
def test_each_mistake_names_its_place(change: dict[str, object], said: str) -> None:
    """And what is known of its way out."""
    table = {"kind": "redis.slow", "at": "2 s", "for": "1 s", "latency": "50 ms"} | change
    [mistake] = told({key: value for key, value in table.items() if value is not None})
    assert mistake.startswith(said), mistake


def test_all_mistakes_are_told_at_once() -> None:
    """Of every fault, and of window and parameters alike."""
    assert len(told({"kind": "redis.slow", "for": 1, "latency": 2}, {"kind": "nothing", "for": "1 s"})) == 3


@pytest.mark.parametrize("kind", sorted(FAULTS))
def test_no_kind_takes_a_value_that_means_nothing(kind: str) -> None:
    """More than all of something, a turn every 0 s, fewer than none: each is refused with its bounds."""
    found = fault_type(kind, FAULTS)
    table = {"kind": kind, "at": "1 s", "for": "1 s"}
    some = {"Seconds": "1 s", "Bytes": "1 KiB"}
    table |= {
        field.name: some.get(str(field.type), "data")
        for field in fields(found)
        if field.default is MISSING and field.name != "service"
    }
    assert list(fault_mistakes((table,), FAULTS, measure_s=20.0)) == [], "what is left out is as it should be"
    odd = {"share": "150 %", "loss": "150 %", "every": "0 s", "cores": 257, "most": -1, "nth": -1}
    for field in fields(found):
        if field.name in odd:
            [mistake] = [
                each
                for each in fault_mistakes((table | {field.name: odd[field.name]},), FAULTS, measure_s=20.0)
                if each.path == ("fault", 0, field.name)
            ]
            assert mistake.text.startswith("should be ")
