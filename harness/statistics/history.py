"""Whether what the shared documents answered can have happened: the exact version-order check.

Every write that took place made one version of its document, so the versions are the order of the writes, and nothing
has to be searched for: (1) one writer made each version, and none is missing; (2) the value read at a version is its
writer's; (3) each version came into being at some moment of its writer's call, after what was before it had been seen
and before it was seen itself. With lo(v) the latest call of what must precede version v, and hi(v) the earliest answer
of what must follow it, such moments exist exactly if no lo(u) is later than a hi(v) with u <= v.

A write without an answer may have happened: it may account for a version that nobody else made. What a write was
refused for is a reading, too.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from harness.observation.history import Answered, Called

AnomalyKind = Literal[
    "duplicate_version", "gap", "overwritten", "done_twice", "wrong_value", "stale_read", "order", "lost_field"
]


class Anomaly(msgspec.Struct, frozen=True):
    """Something that no run of right stores can have answered."""

    kind: AnomalyKind
    key: str
    at: float  # s from t0
    op_ids: tuple[str, ...]
    sentence: str


class Operation(msgspec.Struct, frozen=True, gc=False):
    """A call with its answer, if one came."""

    called: Called
    answered: Answered | None


class _Write:
    """A write, however often it was sent: one operation id on one document."""

    __slots__ = ("answered", "called", "is_open", "kind", "op_id", "tried", "version")

    def __init__(self, called: Called) -> None:
        self.op_id = called.op_id
        self.kind = called.kind
        self.called = called.at  # the first call
        self.answered = math.inf  # the first answer that it was done
        self.version = 0  # that it made; 0: none, as far as answers tell
        self.tried: list[int] = []  # versions it was to replace
        self.is_open = False  # a call of it has no answer


class _Reading(msgspec.Struct, gc=False):
    """A document was seen at a version, between a call and its answer."""

    called: float
    answered: float
    value: str | None  # the operation id it named; None when only its version was told
    fields: tuple[str, ...]
    what: str


class _Document:
    """All that is known of one shared document within one life of its store."""

    def __init__(self, key: str, base: int, operations: Iterable[Operation]) -> None:
        self.key = key
        self.base = base  # the version it had before
        self.writes: dict[str, _Write] = {}
        self.readings: defaultdict[int, list[_Reading]] = defaultdict(list)
        self.anomalies: list[Anomaly] = []
        for operation in operations:
            called, answered = operation.called, operation.answered
            if called.kind == "read":
                if answered is not None and (answered.ok or answered.version == 0):
                    seen = _Reading(called.at, answered.at, answered.value, answered.fields, "a read")
                    self.readings[answered.version].append(seen)
            else:
                self._add(called, answered)

    def _add(self, called: Called, answered: Answered | None) -> None:
        write = self.writes.get(called.op_id)
        if write is None:
            write = self.writes[called.op_id] = _Write(called)
        write.called = min(write.called, called.at)
        if called.kind == "set":
            write.tried.append(called.if_version)
        if answered is None:
            write.is_open = True
        elif not answered.ok:
            refused = _Reading(called.at, answered.at, None, (), f"the refusal of {called.op_id}")
            self.readings[answered.version].append(refused)
        elif write.version in (0, answered.version):
            write.version = answered.version
            write.answered = min(write.answered, answered.at)
        else:
            what = f"{called.op_id} was done twice: it made version {write.version} and version {answered.version}"
            self.say("done_twice", answered.at, (called.op_id,), what)

    def say(self, kind: AnomalyKind, at: float, op_ids: tuple[str, ...], sentence: str) -> None:
        """Note an anomaly."""
        self.anomalies.append(Anomaly(kind, self.key, at, op_ids, f"{self.key}: {sentence}"))


def check_document(key: str, operations: Iterable[Operation], base: int = 0) -> list[Anomaly]:
    """What of the operations on one document cannot have happened. `base` is the version it had before them."""
    document = _Document(key, base, operations)
    writers = _writers(document)
    _fill_gaps(document, writers)
    versions = sorted({base, *writers, *document.readings})
    _check_values(document, writers, versions)
    _check_order(document, writers, versions)
    return document.anomalies


def _writers(document: _Document) -> dict[int, _Write]:
    """By version, who said to have made it."""
    writers: dict[int, _Write] = {}
    for write in document.writes.values():
        version = write.version
        if not version:
            continue
        if write.kind == "set" and version - 1 not in write.tried:
            what = (
                f"{write.op_id} was to replace version {write.tried[-1]} and made {version}: what lay between is lost"
            )
            document.say("overwritten", write.answered, (write.op_id,), what)
        first = writers.setdefault(version, write)
        if first is not write:
            what = f"version {version} was made by {first.op_id} and by {write.op_id}: one of them is lost"
            document.say("duplicate_version", write.answered, (first.op_id, write.op_id), what)
        elif version <= document.base:
            what = f"{write.op_id} made version {version}, when version {document.base} was there before"
            document.say("duplicate_version", write.answered, (write.op_id,), what)
    return writers


def _fill_gaps(document: _Document, writers: dict[int, _Write]) -> None:
    """Versions that nobody said to have made, each given to a write that may have made it; the others are gaps."""
    open_sets: defaultdict[int, list[_Write]] = defaultdict(list)
    open_merges = []
    for write in document.writes.values():
        if write.is_open and not write.version:
            if write.kind == "merge":
                open_merges.append(write)
            for version in set(write.tried):
                open_sets[version + 1].append(write)
    open_merges.sort(key=lambda write: write.called, reverse=True)  # the earliest is the last: it fits the most
    given: set[str] = set()
    for first, last in _gaps(document, writers):
        for version in range(first, last + 1):
            named = {seen.value for seen in document.readings.get(version, ())}
            sets = [write for write in open_sets.get(version, ()) if write.op_id not in given]
            if sets:
                writer = min(sets, key=lambda write: (write.op_id not in named, write.called))
            elif open_merges:
                writer = open_merges.pop()
            else:
                rest = f"version {version}" if version == last else f"versions {version} to {last}"
                document.say("gap", _seen_at(document, version), (), f"nobody made {rest}")
                break
            given.add(writer.op_id)
            writers[version] = writer


def _gaps(document: _Document, writers: dict[int, _Write]) -> Iterator[tuple[int, int]]:
    """Runs of versions up to the highest known one that have no writer, as (first, last)."""
    known = document.base
    for version in sorted(version for version in writers if version > known):
        if version > known + 1:
            yield known + 1, version - 1
        known = version
    highest = max(document.readings, default=0)
    if highest > known:
        yield known + 1, highest


def _seen_at(document: _Document, version: int) -> float:
    later = [seen.answered for number, seens in document.readings.items() if number >= version for seen in seens]
    return min(
        [*later, *(write.answered for write in document.writes.values() if write.version > version)], default=0.0
    )


def _check_values(document: _Document, writers: dict[int, _Write], versions: Sequence[int]) -> None:
    """The value is that of the last set, and no field ever leaves."""
    value: str | None = None  # of the base nothing is known
    fields: frozenset[str] = frozenset()
    last_fields: tuple[str, ...] = ()
    known = document.base
    if known == 0:
        value = ""
    for version in versions:
        writer = writers.get(version)
        if writer is None and version > known:
            value = None  # a gap, said already: whose value follows is anybody's guess
        elif writer is not None and writer.kind == "set":
            value = writer.op_id
        known = max(known, version)
        for seen in document.readings.get(version, ()):
            if seen.value is None:
                continue
            if value is not None and seen.value != value:
                what = f"a read of version {version} found {seen.value or 'no value'}, not {value or 'none'}"
                document.say("wrong_value", seen.answered, (seen.value, value), what)
            if seen.fields != last_fields:  # most reads find the same names
                last_fields, gone = seen.fields, fields.difference(seen.fields)
                fields = frozenset(seen.fields)
                if gone:
                    what = f"at version {version} these fields are gone: {', '.join(sorted(gone)[:5])}"
                    document.say("lost_field", seen.answered, (), what)


def _check_order(document: _Document, writers: dict[int, _Write], versions: Sequence[int]) -> None:
    """Condition (3). Each violation that is reported starts afresh behind it, so that one is not told many times."""
    lo: list[tuple[float, str, str]] = []  # a moment after which the version came, whose call says so, and how
    hi: list[tuple[float, str]] = []  # a moment before which it was there, and whose answer says so
    carried = (-math.inf, "", "")
    for version in versions:
        writer = writers.get(version)
        seens = document.readings.get(version, ())
        # What was there before came before all of it.
        low, high = carried, ((math.inf, "") if version != document.base else (-math.inf, "what was there before"))
        if writer is not None:
            low = max(low, (writer.called, writer.op_id, "order"))
            high = (writer.answered, writer.op_id)
        carried = (-math.inf, "", "")
        for seen in seens:
            if version > document.base and seen.answered < high[0]:
                high = (seen.answered, seen.what)
            if seen.called > carried[0]:
                carried = (seen.called, seen.what, "stale_read")
        lo.append(low)
        hi.append(high)
    latest, at = (-math.inf, "", ""), 0
    soonest = _suffix_min(hi)
    for place, low in enumerate(lo):
        if low[0] > latest[0]:
            latest, at = low, place
        high = soonest[place]
        if latest[0] <= high[0]:
            continue
        is_stale = latest[2] == "stale_read"
        did, version = ("saw", versions[at - 1]) if is_stale else ("made", versions[at])
        what = (
            f"{latest[1]} began at {latest[0]:.6f} s and {did} version {version}, but {high[1]} told of a later one"
            f"{'' if is_stale else ', or of this one,'} by {high[0]:.6f} s"
        )
        document.say("stale_read" if is_stale else "order", latest[0], (latest[1], high[1]), what)
        latest = (-math.inf, "", "")


def _suffix_min(values: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    least = list(values)
    for place in range(len(least) - 2, -1, -1):
        if least[place + 1][0] < least[place][0]:
            least[place] = least[place + 1]
    return least
