"""`faults.jsonl` of a run: which faults took place, and which did not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import msgspec

from harness.observation.faults import FaultEvent
from harness.observation.journal import Damage, read_lines
from harness.scenario.models import Llm
from harness.statistics.declared import Declared

Written = Sequence[Mapping[str, Any]]
"""A scenario's `[[fault]]` tables."""


def read_faults(path: Path, damage: Damage) -> dict[str, list[FaultEvent]]:
    """The turns of its faults by level, in file order. A run without the file has none."""
    found: defaultdict[str, list[FaultEvent]] = defaultdict(list)
    if path.exists():
        for event in read_lines(path, msgspec.json.Decoder(FaultEvent), damage):
            found[event.level].append(event)
    return found


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


def met_no_call(declared: Llm | None, injected: Set[str]) -> Iterator[str]:
    """Faults of the provider of models that concerned no call, a sentence each."""
    for place, fault in enumerate(declared.fault if declared is not None else ()):
        if fault.fault not in injected:
            yield f"the fault did not fire: llm.fault {place + 1}, {fault.fault}, concerned no call to a model"


def needing(declared: Declared) -> dict[int, frozenset[str]]:
    """By fault, the kinds of workflow that need what it breaks, where some may not: an agent, or models."""
    found = {}
    for place, table in enumerate(declared.fault):
        what = str(table["kind"]).partition(".")[0]
        if what == "agent":
            steps = declared.graphs().items()
            found[place] = frozenset(kind for kind, graph in steps if any(s.agent == table["agent"] for s in graph))
        elif what == "llm":
            found[place] = frozenset(declared.calls())
    return found


def targets(declared: Written) -> frozenset[str]:
    """What was aimed at: agents and services, by name."""
    return frozenset(str(table.get("agent", table["kind"])).partition(".")[0] for table in declared)


def faulted_services(declared: Written) -> set[str]:
    """What the scenario itself makes fail, by the first word of each kind."""
    return {str(table["kind"]).partition(".")[0] for table in declared}
