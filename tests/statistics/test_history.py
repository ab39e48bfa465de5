"""The version-order check: right about every small history, and blind to no planted anomaly of any size."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest

from harness.observation.history import Answered, Called
from harness.observation.journal import Damage
from harness.statistics.histories import read_history
from harness.statistics.history import Operation, check_document


@dataclass(frozen=True)
class Op:
    """One operation as a client saw it; `version` None: it was never answered."""

    kind: str
    called: float
    answered: float
    version: int | None
    op_id: str = ""
    if_version: int = 0
    ok: bool = True
    value: str = ""

    def operation(self, number: int) -> Operation:
        """As the history's lines tell it."""
        called = Called(number, 1, "hot", self.kind, self.called, self.op_id, self.if_version)  # type: ignore[arg-type]
        if self.version is None:
            return Operation(called, None)
        return Operation(called, Answered(number, 1, self.answered, self.ok, self.version, self.value))


def kinds_of(ops: list[Op], base: int = 0) -> list[str]:
    """What the check finds."""
    return [anomaly.kind for anomaly in check_document("hot", [op.operation(n) for n, op in enumerate(ops)], base)]


def is_possible(ops: list[Op]) -> bool:
    """The same question, answered by trying every order that real time allows."""

    def search(left: frozenset[int], version: int, value: str) -> bool:
        if (left, version, value) in dead:
            return False
        must_end_by = min((ops[n].answered for n in left if ops[n].version is not None), default=None)
        if must_end_by is None:
            return True
        for n in left:
            op = ops[n]
            if op.called > must_end_by:
                continue
            after = effect(op, version, value)
            if after is not None and search(left - {n}, *after):
                return True
        dead.add((left, version, value))
        return False

    def effect(op: Op, version: int, value: str) -> tuple[int, str] | None:
        if op.kind == "read" or not op.ok:
            matches = op.version == version and (op.kind != "read" or op.value == value)
            return (version, value) if matches else None
        if op.kind == "set" and op.if_version != version:
            return None
        if op.version not in (None, version + 1):
            return None
        return version + 1, op.op_id if op.kind == "set" else value

    dead: set[tuple[frozenset[int], int, str]] = set()
    return search(frozenset(range(len(ops))), 0, "")


def simulated(rng: random.Random, count: int, policy: str, *, spread: float = 3.0, unknown: float = 0.2) -> list[Op]:
    """What a right store answers to overlapping clients; some answers never arrive."""
    version, value = 0, ""
    ops = []
    for n in range(count):
        takes_effect = float(n)
        called, answered = takes_effect - rng.random() * spread, takes_effect + rng.random() * spread
        if rng.random() < 0.4:
            ops.append(Op("read", called, answered, version, value=value))
            continue
        is_lost = rng.random() < unknown
        told = Op(policy, called, answered, None, f"w{n}")
        if policy == "set":
            told = replace(told, if_version=version if rng.random() < 0.7 else rng.randrange(version + 1))
        if is_lost and rng.random() < 0.5:  # it never reached the store
            ops.append(told)
            continue
        ok = policy == "merge" or told.if_version == version
        if ok:
            version, value = version + 1, f"w{n}" if policy == "set" else value
        ops.append(told if is_lost else replace(told, version=version, ok=ok))
    return ops


def spoiled(ops: list[Op], rng: random.Random) -> list[Op]:
    """With one answer, or one moment, changed at random."""
    n = rng.randrange(len(ops))
    op = ops[n]
    if op.version is not None and rng.random() < 0.5:
        change = replace(op, version=max(0 if op.kind == "read" else 1, op.version + rng.choice((-1, 1))))
    elif op.kind == "read" and rng.random() < 0.5:
        change = replace(op, value=rng.choice([other.op_id for other in ops]))
    else:
        moved = rng.uniform(-4, 4)
        change = replace(op, called=op.called + moved, answered=op.answered + moved)
    return [*ops[:n], change, *ops[n + 1 :]]


@pytest.mark.parametrize("policy", ["set", "merge"])
def test_it_agrees_with_a_search_of_all_orders(policy: str) -> None:
    """On random small histories, right ones and spoiled ones, answers missing."""
    rng = random.Random(f"histories of {policy}")
    found = {True: 0, False: 0}
    for _ in range(3000):
        ops = simulated(rng, rng.randint(1, 8), policy)
        for _ in range(rng.randrange(3)):
            ops = spoiled(ops, rng)
        possible = is_possible(ops)
        found[possible] += 1
        assert (kinds_of(ops) == []) == possible, ops
    assert min(found.values()) > 500, "both must be tried"


@pytest.mark.parametrize("policy", ["set", "merge"])
def test_what_a_right_store_answers_is_never_blamed(policy: str) -> None:
    """However many clients overlap, and whatever answers are lost."""
    for seed in range(20):
        assert kinds_of(simulated(random.Random(seed), 500, policy, spread=50.0)) == []


def hot_key() -> list[Op]:
    """Two hundred merges, one after the other, each read once, no answer lost."""
    ops = []
    for n in range(1, 201):
        ops.append(Op("merge", n, n + 0.2, n, f"w{n}"))
        ops.append(Op("read", n + 0.3, n + 0.4, n))
    return ops


def planted() -> Iterator[tuple[str, int, Op]]:
    """Each kind of anomaly, at each of many places of the hot key's history, as one operation that replaces another."""
    ops = hot_key()
    for place in range(2, len(ops) - 2, 2):
        write, read = ops[place], ops[place + 1]
        version = write.version or 0
        yield "duplicate_version", place, replace(write, version=version - 1)
        yield "gap", place, Op("read", write.called, write.answered, version - 1)
        yield "overwritten", place, replace(write, kind="set", if_version=version - 2)
        yield "stale_read", place + 1, replace(read, version=version - 1)
        yield "wrong_value", place + 1, replace(read, value="nobody")
        yield "order", place, replace(write, called=write.called + 0.5, answered=write.answered + 0.5)
        yield "done_twice", place, replace(write, op_id="w1")


def test_every_planted_anomaly_is_found() -> None:
    """Of every kind, at every place."""
    counts: dict[str, int] = {}
    for kind, place, op in planted():
        ops = hot_key()
        ops[place] = op
        assert kind in kinds_of(ops), (kind, place)
        counts[kind] = counts.get(kind, 0) + 1
    assert len(counts) == 7
    assert min(counts.values()) > 190


def test_a_lost_field_is_found() -> None:
    """A blind write of a stale whole takes out what others had merged."""
    ops = [op.operation(n) for n, op in enumerate(hot_key())]

    def read(n: int, *fields: str) -> Operation:
        answered = ops[n].answered
        assert answered is not None
        return Operation(ops[n].called, msgspec.structs.replace(answered, fields=fields))

    assert check_document("hot", [*ops[:1], read(1, "a"), *ops[2:3], read(3, "a", "b")]) == []
    [anomaly] = check_document("hot", [*ops[:1], read(1, "a", "b"), *ops[2:3], read(3, "b", "c")])
    assert (anomaly.kind, anomaly.sentence) == ("lost_field", "hot: at version 2 these fields are gone: a")


def test_a_write_that_was_sent_again_is_one_write() -> None:
    """The first answer was lost; the second says what the first had done, also when others wrote in between."""
    first = Op("set", 1.0, 9.0, None, "a", if_version=0)
    between = Op("set", 2.0, 3.0, 2, "b", if_version=1)
    again = Op("set", 4.0, 5.0, 1, "a", if_version=2)
    assert kinds_of([first, between, again]) == []
    assert "overwritten" in kinds_of([between, again])


def test_an_anomaly_names_who_did_it() -> None:
    """Both writers of one version, and the document."""
    ops = [Op("merge", 1.0, 2.0, 1, "a"), Op("merge", 1.0, 2.0, 1, "b")]
    [anomaly] = check_document("hot", [op.operation(n) for n, op in enumerate(ops)])
    assert anomaly.op_ids == ("a", "b")
    assert anomaly.sentence == "hot: version 1 was made by a and by b: one of them is lost"


def test_a_version_beyond_all_reason_costs_no_memory() -> None:
    """A damaged number is a gap like any other."""
    assert "gap" in kinds_of([Op("merge", 1.0, 2.0, 1, "a"), Op("read", 3.0, 4.0, 2**60)])


def write_history(path: Path, *levels: list[Op]) -> None:
    """A file of it, each level 1000 s after the one before, by a process of its own."""
    lines: list[Called | Answered] = []
    for process, ops in enumerate(levels, start=1):
        for n, op in enumerate(ops):
            shift = 1000.0 * (process - 1)
            told = replace(op, called=op.called + shift, answered=op.answered + shift).operation(n)
            lines.append(msgspec.structs.replace(told.called, process=process))
            if told.answered is not None:
                lines.append(msgspec.structs.replace(told.answered, process=process))
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_store_may_go_on_or_begin_anew_with_a_level(tmp_path: Path, goes_on: bool) -> None:
    """Versions go on from the level before where the store does, and begin at 1 where it is a new one."""
    ops = hot_key()
    second = [replace(op, version=(op.version or 0) + 200) for op in ops] if goes_on else ops
    write_history(tmp_path / "h", ops, second)
    found = read_history(tmp_path / "h", {"10": 0.0, "25": 1000.0}, Damage())
    assert found is not None
    assert [(level.operations, level.anomalies) for level in found.values()] == [(400, []), (400, [])]


def test_an_anomaly_counts_in_its_level(tmp_path: Path) -> None:
    """By when its operations were called."""
    spoilt = [*hot_key(), Op("merge", 300.0, 301.0, 7, "late")]
    write_history(tmp_path / "h", hot_key(), spoilt)
    found = read_history(tmp_path / "h", {"10": 0.0, "25": 1000.0}, Damage())
    assert found is not None
    assert [{anomaly.kind for anomaly in level.anomalies} for level in found.values()] == [
        set(),
        {"duplicate_version"},
    ]


def test_an_answer_without_a_call_is_damage(tmp_path: Path) -> None:
    """The call is always written first."""
    path = tmp_path / "h"
    path.write_bytes(msgspec.json.encode(Answered(1, 1, 2.0, True, 1)) + b"\n")
    damage = Damage()
    assert read_history(path, {"10": 0.0}, damage) is not None
    assert damage.unreadable == 1


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    """Which is not the same as nothing wrong."""
    assert read_history(tmp_path / "none", {"10": 0.0}, Damage()) is None
