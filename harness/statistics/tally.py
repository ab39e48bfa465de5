"""One pass over a run's journal: from a million lines to compact columns, level by level.

A row of numbers a workflow and one a step are kept, nothing else, so that memory stays far below the file's size.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.observation.journal import Damage, read_lines
from harness.observation.observation import LoadCheck, LoadWorker, Opened, PhaseMark

NOT_KNOWN = math.nan

# The last column of a workflow's row: its outcome and flags.
OK, FAILED, UNKNOWN, NOT_STARTED = range(4)
OUTCOME_MASK = 3
MEASURE, REJECTED, CENSORED, DEGRADED = 4, 8, 16, 32
# Plain strings here: hashing and comparing a StrEnum's members would take a fifth of the time of the whole pass.
OutcomeText = Literal["ok", "failed", "unknown", "not_started"]
PhaseText = Literal["warmup", "measure", "drain"]
CODES: Mapping[OutcomeText, int] = {"ok": OK, "failed": FAILED, "unknown": UNKNOWN, "not_started": NOT_STARTED}

WORKFLOW_ROW = np.dtype(
    [
        *((name, "f8") for name in ("intended", "started", "ended")),  # s from t0; NaN: not known
        *((name, "f8") for name in ("target_accepted", "target_started", "target_ended")),
        ("id_hash", "i8"),
        ("code", "i8"),
    ]
)
STEP_ROW = np.dtype([("queued", "f8"), ("started", "f8"), ("ended", "f8"), ("key", "i8")])  # key: as in calls.py
# Rows are packed into bytearrays as they come: a third of the time that array("d").extend takes.
_pack_workflow = Struct("6d2q").pack
_pack_step = Struct("3dq").pack

Rows = NDArray[np.void]
"""Workflows or steps as a structured array of WORKFLOW_ROW or STEP_ROW."""


class SeenStep(msgspec.Struct, array_like=True, gc=False):
    """The part of a StepRecord that metrics are made of."""

    name: str
    agent: str
    queued: float
    started: float
    ended: float
    outcome: OutcomeText
    attempts: int = 1


class Seen(msgspec.Struct, tag_field="type", tag="observation", gc=False):
    """The part of an Observation that metrics are made of. A time that was not written is NaN, never None."""

    id: str
    kind: str
    level: str
    phase: PhaseText
    intended: float
    outcome: OutcomeText
    started: float = NOT_KNOWN
    accepted: float = NOT_KNOWN
    ended: float = NOT_KNOWN
    target_accepted: float = NOT_KNOWN
    target_started: float = NOT_KNOWN
    target_ended: float = NOT_KNOWN
    error_class: str = ""
    rejected: bool = False
    censored: bool = False
    degraded: tuple[str, ...] = ()
    steps: tuple[SeenStep, ...] = ()


class _Named(msgspec.Struct, gc=False):
    """The part of any line that names its workflow."""

    id: str = ""


def outcome(rows: Rows) -> NDArray[np.int64]:
    """OK, FAILED, UNKNOWN or NOT_STARTED of each workflow."""
    codes: NDArray[np.int64] = rows["code"] & OUTCOME_MASK
    return codes


def flagged(rows: Rows, flag: int) -> NDArray[np.bool_]:
    """Which workflows carry the flag."""
    chosen: NDArray[np.bool_] = (rows["code"] & flag) != 0
    return chosen


@dataclass(slots=True)
class LevelTally:
    """What the journal says of one level."""

    workflows: defaultdict[str, bytearray] = field(default_factory=lambda: defaultdict(bytearray))  # by kind
    steps: defaultdict[str, bytearray] = field(default_factory=lambda: defaultdict(bytearray))  # by agent, of measure
    steps_failed: Counter[str] = field(default_factory=Counter)  # by agent
    steps_retries: Counter[str] = field(default_factory=Counter)  # by agent
    errors: Counter[str] = field(default_factory=Counter)  # by error class, of measure
    degraded: Counter[str] = field(default_factory=Counter)  # by reason, of measure
    marks: dict[str, float] = field(default_factory=dict)  # phase -> when it began (the first, of several processes)
    checks: list[LoadCheck] = field(default_factory=list)
    workers: dict[str, LoadWorker] = field(default_factory=dict)  # by name, of several load processes: the newest line
    open: dict[str, bool] = field(default_factory=dict)  # id -> accepted, of workflows without an end so far
    corrupted: list[str] = field(default_factory=list)  # ids
    untold: list[str] = field(default_factory=list)  # ids: accepted, and no end was told before we stopped waiting
    last_at: float = 0.0

    def ended_once(self) -> tuple[dict[str, Rows], int]:
        """The workflows by kind, each id once, and how many further ends there were.

        Ids are told apart by a 64-bit hash: keeping a million of them would cost a quarter of the whole pass, and
        two of a million are taken for one in 3e-8 of runs.
        """
        kinds = sorted(self.workflows)
        by_kind = {kind: np.frombuffer(self.workflows[kind], dtype=WORKFLOW_ROW) for kind in kinds}
        hashes = np.concatenate([rows["id_hash"] for rows in by_kind.values()] or [np.empty(0, dtype=np.int64)])
        if len(hashes) == len(np.unique(hashes)):
            return by_kind, 0
        is_first = np.zeros(len(hashes), dtype=np.bool_)
        is_first[np.unique(hashes, return_index=True)[1]] = True
        parts = np.split(is_first, np.cumsum([len(rows) for rows in by_kind.values()])[:-1])
        firsts = {kind: rows[part] for (kind, rows), part in zip(by_kind.items(), parts, strict=True)}
        return firsts, int(np.sum(~is_first))

    def ended_again(self) -> set[int]:
        """The hashed ids of workflows with further ends."""
        hashes = np.concatenate(
            [np.frombuffer(rows, dtype=WORKFLOW_ROW)["id_hash"] for rows in self.workflows.values()]
        )
        found, counts = np.unique(hashes, return_counts=True)
        return {int(number) for number in found[counts > 1]}

    def step_rows(self, agent: str) -> Rows:
        """The steps of one agent."""
        return np.frombuffer(self.steps.get(agent, b""), dtype=STEP_ROW)


class Tally:
    """All levels of a journal, and what of it could not be read."""

    def __init__(self) -> None:
        self.levels: defaultdict[str, LevelTally] = defaultdict(LevelTally)
        self.damage = Damage()

    @staticmethod
    def names(path: Path, hashes: Collection[int]) -> list[str]:
        """The ids behind these hashes, in file order. It costs a second pass, for what should never be needed."""
        if not hashes:
            return []
        seen = (line.id for line in read_lines(path, msgspec.json.Decoder(_Named), Damage()))
        return list(dict.fromkeys(name for name in seen if hash(name) in hashes))

    def read(self, path: Path) -> None:
        """Take in every line of the journal."""
        decoder = msgspec.json.Decoder(Seen | Opened | PhaseMark | LoadCheck | LoadWorker)
        levels = self.levels
        for line in read_lines(path, decoder, self.damage):
            if isinstance(line, Seen):
                if line.ended < line.intended:  # no clock of ours says so: the line is damaged
                    self.damage.unreadable += 1
                else:
                    _add(levels[line.level], line)
            elif isinstance(line, Opened):
                # Written before its end is: a batch holds the ends first, and opens only what is still open.
                was_accepted = levels[line.level].open.get(line.id, False)
                levels[line.level].open[line.id] = was_accepted or line.accepted is not None
            else:
                level = levels[line.level]
                level.last_at = max(level.last_at, line.at)
                if isinstance(line, PhaseMark):
                    level.marks.setdefault(line.phase, line.at)
                elif isinstance(line, LoadCheck):
                    level.checks.append(line)
                else:
                    level.workers[line.name] = line


def _add(level: LevelTally, seen: Seen) -> None:
    """Take in one arrival; this is most of the time that judging takes."""
    was_accepted = level.open.pop(seen.id, False) if level.open else False
    ended = seen.ended
    if ended > level.last_at:
        level.last_at = ended
    code = CODES[seen.outcome]
    if code == UNKNOWN and _is_untold(seen, was_accepted=was_accepted):
        level.untold.append(seen.id)
    if seen.error_class or seen.rejected or seen.degraded or seen.censored:
        code |= _note_exceptions(level, seen)
    if seen.phase == "measure":
        code |= MEASURE
        rows_of, workflow = level.steps, hash(seen.id)
        for step in seen.steps:
            rows = rows_of[step.agent]
            rows += _pack_step(step.queued, step.started, step.ended, workflow ^ hash(step.name))
            if step.outcome != "ok" or step.attempts != 1:
                level.steps_failed[step.agent] += step.outcome != "ok"
                level.steps_retries[step.agent] += step.attempts - 1
    rows = level.workflows[seen.kind]
    rows += _pack_workflow(
        seen.intended,
        seen.started,
        ended,
        seen.target_accepted,
        seen.target_started,
        seen.target_ended,
        hash(seen.id),
        code,
    )


def _is_untold(seen: Seen, *, was_accepted: bool) -> bool:
    """Whether the target had promised to end the workflow, and never told that it did."""
    accepted = was_accepted or not (math.isnan(seen.accepted) and math.isnan(seen.target_accepted))
    return accepted and (math.isnan(seen.target_ended) or seen.error_class == "host_stopped")


def _note_exceptions(level: LevelTally, seen: Seen) -> int:
    """Count what was unusual about a workflow; the flags for its row."""
    flags = (REJECTED if seen.rejected else 0) | (CENSORED if seen.censored else 0)
    if seen.error_class == "corrupted":
        level.corrupted.append(seen.id)
    if seen.degraded:
        flags |= DEGRADED
    if seen.phase == "measure":
        level.degraded.update(seen.degraded)
        if seen.error_class:
            level.errors[seen.error_class] += 1
    return flags
