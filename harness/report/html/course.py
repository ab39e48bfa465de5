"""How each level went: a run's files read once more, for what is drawn rather than judged."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from harness.observation.journal import Damage
from harness.observation.manifest import Manifest
from harness.observation.observation import Observation
from harness.statistics.evidence import Evidence, read_evidence
from harness.statistics.quantile import Floats, quantile, samples
from harness.statistics.tally import MEASURE, NOT_STARTED, WORKFLOW_ROW, LevelTally, Rows, Tally, flagged, outcome

SAMPLED = 2000
"""Workflows a level of which every step is read again, evenly spaced over it. There are few runs with more."""
SLOWEST = 3


@dataclass(frozen=True, slots=True)
class Course:
    """One level. Times are s from t0; it lasted from `zero` to `end`."""

    level: str
    zero: float
    end: float
    marks: dict[str, float]  # phase -> when it began
    workflows: Rows  # all of them, by intended start
    evidence: Evidence
    sampled: tuple[Observation, ...]  # of measure, with their steps
    shown: tuple[Observation, ...]  # the typical one, and the slowest

    @property
    def of_measure(self) -> Rows:
        """Those whose intended start lies in measure."""
        chosen: Rows = self.workflows[flagged(self.workflows, MEASURE)]
        return chosen


def read_courses(run_dir: Path, manifest: Manifest) -> dict[str, Course]:
    """By level, of those that began. Lines that cannot be read were told by whoever judged the run."""
    tally, damage = Tally(), Damage()
    tally.read(run_dir / "journal.jsonl")
    evidence = read_evidence(run_dir, manifest, tally, damage)
    found = {label: tally.levels[label] for label in manifest.levels if tally.levels[label].marks}
    everything = {label: _by_start(level) for label, level in found.items()}
    evenly = {label: _evenly(rows) for label, rows in everything.items()}
    striking = {label: _striking(rows) for label, rows in everything.items()}
    wanted = {name for table in (evenly, striking) for hashes in table.values() for name in hashes}
    told = _told(run_dir / "journal.jsonl", wanted)
    return {
        label: Course(
            level=label,
            zero=min(level.marks.values()),
            end=level.marks.get("end", level.last_at),
            marks=level.marks,
            workflows=everything[label],
            evidence=evidence[label],
            sampled=tuple(told[name] for name in evenly[label] if name in told),
            shown=tuple(told[name] for name in striking[label] if name in told),
        )
        for label, level in found.items()
    }


def latencies(rows: Rows) -> Floats:
    """From the intended start, s; NaN for what was never started."""
    found: Floats = np.where(outcome(rows) == NOT_STARTED, np.nan, rows["ended"] - rows["intended"])
    return found


def _by_start(level: LevelTally) -> Rows:
    by_kind, _ = level.ended_once()
    rows: Rows = np.concatenate(list(by_kind.values())) if by_kind else np.empty(0, dtype=WORKFLOW_ROW)
    return rows[np.argsort(rows["intended"], kind="stable")]


def _started(rows: Rows) -> Rows:
    of_measure = rows[flagged(rows, MEASURE)]
    return of_measure[~np.isnan(latencies(of_measure))]


def _evenly(rows: Rows) -> list[int]:
    """Hashed ids, SAMPLED at most."""
    chosen = _started(rows)
    places = np.unique(np.linspace(0, len(chosen) - 1, min(SAMPLED, len(chosen))).astype(np.int64))
    return [int(name) for name in chosen["id_hash"][places]]


def _striking(rows: Rows) -> list[int]:
    """Hashed ids: the one whose latency is the median, then the slowest, the very slowest first."""
    chosen = _started(rows)
    if not len(chosen):
        return []
    took = latencies(chosen)
    typical = int(np.argmin(np.abs(took - quantile(samples(took), 0.5))))
    slowest = np.argsort(-took, kind="stable")[:SLOWEST]
    places = dict.fromkeys([typical, *(int(place) for place in slowest)])
    return [int(chosen["id_hash"][place]) for place in places]


class _Named(msgspec.Struct, gc=False):
    id: str = ""


def _told(journal: Path, wanted: Collection[int]) -> dict[int, Observation]:
    """The whole observations behind these hashed ids."""
    return {hash(found.id): found for found in _observations(journal, wanted)}


def _observations(journal: Path, wanted: Collection[int]) -> Iterator[Observation]:
    named, whole = msgspec.json.Decoder(_Named).decode, msgspec.json.Decoder(Observation).decode
    with journal.open("rb") as lines:
        for line in lines:
            try:
                if hash(named(line).id) in wanted:
                    yield whole(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # a line of another type of the same workflow, or one that is damaged and was counted
