"""`history.jsonl` of a run: its operations by level and document, and what of them cannot have happened."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from harness.observation.history import Answered, Called
from harness.observation.journal import Damage, read_lines
from harness.statistics.history import Anomaly, Operation, check_document

_NO_FIELDS = msgspec.Raw(b"[]")


@dataclass(slots=True)
class LevelHistory:
    """What was done to the shared documents within one level."""

    operations: int = 0
    unanswered: int = 0
    anomalies: list[Anomaly] = field(default_factory=list)


def read_history(path: Path, began: Mapping[str, float], damage: Damage) -> dict[str, LevelHistory] | None:
    """The history by level; None when there is no file. `began` is when each level did, in their order (s from t0)."""
    if not path.exists():
        return None
    labels = list(began)
    if not labels:
        return {}
    found = {label: LevelHistory() for label in labels}
    versions: dict[str, int] = {}  # by document: the last one known
    by_level = _by_level(read_operations(path, damage), labels, [*began.values()][1:])
    for label in labels:
        level = found[label]
        for key, operations in sorted(by_level[label].items()):
            level.operations += len(operations)
            level.unanswered += sum(operation.answered is None for operation in operations)
            base = _version_before(operations, versions.get(key, 0))
            level.anomalies += check_document(key, operations, base)
            versions[key] = max(base, *(_version(operation) for operation in operations))
        level.anomalies.sort(key=lambda anomaly: anomaly.at)
    return found


def read_operations(path: Path, damage: Damage) -> list[Operation]:
    """Calls with their answers, as they came; those without one are the last."""
    calls: defaultdict[int, dict[int, Called]] = defaultdict(dict)  # by process, by number
    operations = []
    fields_of = _Fields()
    for line in read_lines(path, msgspec.json.Decoder(Called | _Answer), damage):
        if isinstance(line, Called):
            calls[line.process][line.op] = line
            continue
        called = calls[line.process].pop(line.op, None)
        if called is None:  # a call is written before its answer can be: the line is damaged
            damage.unreadable += 1
            continue
        fields = fields_of(line.fields) if line.fields != _NO_FIELDS else ()
        answered = Answered(line.op, line.process, line.at, line.ok, line.version, line.value, fields)
        operations.append(Operation(called, answered))
    operations += [Operation(called, None) for unanswered in calls.values() for called in unanswered.values()]
    return operations


class _Answer(msgspec.Struct, tag_field="type", tag="answered", frozen=True, gc=False):
    """An Answered whose fields are not decoded: a hot document's reads find the same names over and over."""

    op: int
    process: int
    at: float
    ok: bool
    version: int
    value: str = ""
    fields: msgspec.Raw = _NO_FIELDS


class _Fields:
    """Decodes names of fields; the same ones in a row are decoded once, and are one object."""

    def __init__(self) -> None:
        self._last = _NO_FIELDS
        self._names: tuple[str, ...] = ()

    def __call__(self, written: msgspec.Raw) -> tuple[str, ...]:
        if written != self._last:
            self._names = msgspec.json.decode(written, type=tuple[str, ...])
            self._last = written
        return self._names


def _by_level(
    operations: Sequence[Operation], labels: Sequence[str], ends: Sequence[float]
) -> defaultdict[str, defaultdict[str, list[Operation]]]:
    """By level, by document. A level lasts until the next one began."""
    found: defaultdict[str, defaultdict[str, list[Operation]]] = defaultdict(lambda: defaultdict(list))
    for operation in operations:
        called = operation.called
        found[labels[bisect_right(ends, called.at)]][called.key].append(operation)
    return found


def _version(operation: Operation) -> int:
    return operation.answered.version if operation.answered is not None else 0


def _version_before(operations: Sequence[Operation], last: int) -> int:
    """The version a document had before a level: `last`, or none when the level began with an empty store.

    In a store that went on, nobody makes a version that was there, or reads one that is older.
    """
    low = min(
        (
            answered.version - (1 if called.kind != "read" and answered.ok else 0)
            for called, answered in ((operation.called, operation.answered) for operation in operations)
            if answered is not None
        ),
        default=math.inf,
    )
    return last if low >= last else 0
