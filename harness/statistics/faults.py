"""`faults.jsonl` of a run: which faults took place, and which did not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.observation.faults import FaultEvent, Turn
from harness.observation.journal import Damage, read_lines

Written = Sequence[Mapping[str, Any]]
"""A scenario's `[[fault]]` tables."""


def read_faults(path: Path, damage: Damage) -> dict[str, list[FaultEvent]]:
    """The turns of its faults by level, in file order. A run without the file has none."""
    found: defaultdict[str, list[FaultEvent]] = defaultdict(list)
    if path.exists():
        for event in read_lines(path, msgspec.json.Decoder(FaultEvent), damage):
            found[event.level].append(event)
    return found


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """One fault and when it acted; times in s from t0, None: it never did."""

    fault: int  # its place among the scenario's faults
    kind: str
    began: float | None
    bit: float | None = None  # when what it acts on was first seen to have met it
    lifted: float | None = None
    bites: int = 0
    failed: str = ""


def broken(events: Sequence[FaultEvent]) -> tuple[Broken, ...]:
    """The faults of a level, in the order in which they began."""
    by_fault: defaultdict[int, dict[Turn, FaultEvent]] = defaultdict(dict)
    for event in events:
        by_fault[event.fault][event.turn] = event
    return tuple(
        Broken(
            fault=place,
            kind=next(iter(turns.values())).kind,
            began=_at(turns.get("began")),
            bit=_at(turns.get("bit")),
            lifted=_at(turns.get("lifted")),
            bites=max(event.bites for event in turns.values()),
            failed=turns["failed"].detail if "failed" in turns else "",
        )
        for place, turns in by_fault.items()
    )


def _at(event: FaultEvent | None) -> float | None:
    return None if event is None else event.at


def did_not_bite(declared: Written, events: Sequence[FaultEvent]) -> Iterator[str]:
    """Declared faults that acted on nothing, a sentence each: what they were to show was not shown."""
    turns: defaultdict[int, set[str]] = defaultdict(set)
    for event in events:
        turns[event.fault].add(event.turn)
    for place, table in enumerate(declared):
        taken, named = turns[place], f"fault {place + 1}, {table['kind']}"
        if "began" not in taken:
            yield f"the fault did not fire: {named} never began"
        elif "bit" not in taken:
            yield f"the fault did not fire: {named} began and met nothing to act on; is there load on it, and for long?"


def faulted_services(declared: Written) -> set[str]:
    """What the scenario itself makes fail, by the first word of each kind."""
    return {str(table["kind"]).partition(".")[0] for table in declared}
