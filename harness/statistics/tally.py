"""One pass over a run's journal: from a million lines to compact columns, level by level.

A row of numbers a workflow and one a step are kept, nothing else, so that memory stays far below the file's size.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.observation.journal import Damage, read_lines
from harness.observation.observation import LoadCheck, Opened, PhaseMark

NOT_KNOWN = math.nan

# The last column of a workflow's row: its outcome and flags.
OK, FAILED, UNKNOWN, NOT_STARTED = range(4)
OUTCOME_MASK = 3
MEASURE, REJECTED, CENSORED, DEGRADED = 4, 8, 16, 32
# Plain strings here: hashing and comparing a StrEnum's members would take a fifth of the time of the whole pass.
OutcomeText = Literal["ok", "failed", "unknown", "not_started"]
PhaseText = Literal["warmup", "measure", "drain"]
CODES: Mapping[OutcomeText, int] = {"ok": OK, "failed": FAILED, "unknown": UNKNOWN, "not_started": NOT_STARTED}
WORKFLOW_COLUMNS = 7
STEP_COLUMNS = 3
_pack_workflow = Struct(f"{WORKFLOW_COLUMNS}d").pack
_pack_step = Struct(f"{STEP_COLUMNS}d").pack


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
    ended: float = NOT_KNOWN
    target_accepted: float = NOT_KNOWN
    target_started: float = NOT_KNOWN
    target_ended: float = NOT_KNOWN
    error_class: str = ""
    rejected: bool = False
    censored: bool = False
    degraded: tuple[str, ...] = ()
    steps: tuple[SeenStep, ...] = ()


class Columns:
    """Rows of workflows, by column: times in s from t0 (NaN: not known) and what the code says."""

    def __init__(self, rows: NDArray[np.float64]) -> None:
        self._rows = rows
        self.intended, self.started, self.ended = rows[:, 0], rows[:, 1], rows[:, 2]
        self.target_accepted, self.target_started, self.target_ended = rows[:, 3], rows[:, 4], rows[:, 5]
        self._codes = rows[:, 6].astype(np.int64)
        self.outcome = self._codes & OUTCOME_MASK

    def __len__(self) -> int:
        return len(self._rows)

    def flagged(self, flag: int) -> NDArray[np.bool_]:
        """Which rows carry the flag."""
        chosen: NDArray[np.bool_] = (self._codes & flag) != 0
        return chosen

    def where(self, chosen: NDArray[np.bool_]) -> Columns:
        """Only the chosen rows."""
        return Columns(self._rows[chosen])

    @staticmethod
    def joined(parts: list[Columns]) -> Columns:
        """The rows of all parts."""
        if not parts:
            return Columns(np.empty((0, WORKFLOW_COLUMNS)))
        return Columns(np.concatenate([part._rows for part in parts]))


@dataclass(slots=True)
class LevelTally:
    """What the journal says of one level."""

    # Packed rows of doubles: a third of the time that array("d").extend takes.
    workflows: defaultdict[str, bytearray] = field(default_factory=lambda: defaultdict(bytearray))  # by kind
    steps: defaultdict[str, bytearray] = field(default_factory=lambda: defaultdict(bytearray))  # by agent, of measure
    steps_failed: Counter[str] = field(default_factory=Counter)  # by agent
    steps_retries: Counter[str] = field(default_factory=Counter)  # by agent
    errors: Counter[str] = field(default_factory=Counter)  # by error class, of measure
    degraded: Counter[str] = field(default_factory=Counter)  # by reason, of measure
    marks: dict[str, float] = field(default_factory=dict)  # phase -> when it began (the first, of several processes)
    checks: list[LoadCheck] = field(default_factory=list)
    open: dict[str, bool] = field(default_factory=dict)  # id -> accepted, of workflows without an end so far
    corrupted: int = 0
    duplicates: int = 0
    last_at: float = 0.0

    def columns(self, kind: str) -> Columns:
        """The workflows of one kind."""
        return Columns(np.frombuffer(self.workflows[kind], dtype=np.float64).reshape(-1, WORKFLOW_COLUMNS))

    def step_times(self, agent: str) -> NDArray[np.float64]:
        """A row a step of the agent: queued, started, ended, in s from t0."""
        return np.frombuffer(self.steps.get(agent, b""), dtype=np.float64).reshape(-1, STEP_COLUMNS)


class Tally:
    """All levels of a journal, and what of it could not be read."""

    def __init__(self) -> None:
        self.levels: defaultdict[str, LevelTally] = defaultdict(LevelTally)
        self.damage = Damage()
        self._ended: set[str] = set()

    def read(self, path: Path) -> None:
        """Take in every line of the journal."""
        decoder = msgspec.json.Decoder(Seen | Opened | PhaseMark | LoadCheck)
        for line in read_lines(path, decoder, self.damage):
            level = self.levels[line.level]
            if isinstance(line, Seen):
                self._observation(level, line)
            elif isinstance(line, Opened):
                if line.id not in self._ended:
                    level.open[line.id] = line.accepted is not None or level.open.get(line.id, False)
            elif isinstance(line, PhaseMark):
                level.marks.setdefault(line.phase, line.at)
                level.last_at = max(level.last_at, line.at)
            else:
                level.checks.append(line)
                level.last_at = max(level.last_at, line.at)

    def _observation(self, level: LevelTally, seen: Seen) -> None:
        known = len(self._ended)
        self._ended.add(seen.id)
        if len(self._ended) == known:
            level.duplicates += 1
            return
        if level.open:
            level.open.pop(seen.id, None)
        if seen.ended > level.last_at:
            level.last_at = seen.ended
        code = CODES[seen.outcome]
        if seen.censored:
            code |= CENSORED
        if seen.error_class == "corrupted":
            level.corrupted += 1
        if seen.phase == "measure":
            code |= MEASURE
            if seen.error_class or seen.rejected or seen.degraded:
                code |= _note_exceptions(level, seen)
            rows_of = level.steps
            for step in seen.steps:
                rows = rows_of[step.agent]
                rows += _pack_step(step.queued, step.started, step.ended)
                if step.outcome != "ok" or step.attempts != 1:
                    level.steps_failed[step.agent] += step.outcome != "ok"
                    level.steps_retries[step.agent] += step.attempts - 1
        rows = level.workflows[seen.kind]
        rows += _pack_workflow(
            seen.intended,
            seen.started,
            seen.ended,
            seen.target_accepted,
            seen.target_started,
            seen.target_ended,
            code,
        )


def _note_exceptions(level: LevelTally, seen: Seen) -> int:
    """Count what was unusual about a workflow of measure; the flags for its row."""
    flags = 0
    if seen.error_class:
        level.errors[seen.error_class] += 1
    if seen.rejected:
        flags |= REJECTED
    if seen.degraded:
        flags |= DEGRADED
        level.degraded.update(seen.degraded)
    return flags
