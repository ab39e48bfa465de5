"""What must never happen in a level, counted, with who did it; and what is missing to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.observation import llm
from harness.observation.manifest import Manifest
from harness.scenario.shapes import Step
from harness.statistics.calls import ANSWERED, NAMED, LevelCalls, having, step_names
from harness.statistics.declared import Declared
from harness.statistics.evidence import Evidence
from harness.statistics.ledger import LevelLedger
from harness.statistics.metrics import Metric
from harness.statistics.tally import OK, LevelTally, Rows, Tally, outcome

OFFENDERS_MAX = 20


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the levels of a run have in common."""

    manifest: Manifest
    declared: Declared
    journal: Path

    @property
    def graphs(self) -> dict[str, tuple[Step, ...]]:
        """By kind of workflow, its steps, where it is known that the target runs these and no others."""
        return self.declared.graphs() if self.manifest.target == "embedded" else {}


@dataclass(slots=True)
class Promises:
    """Counts of what must be none, by metric; who broke them (the first OFFENDERS_MAX); and the evidence that the
    run should hold and does not, a sentence each."""

    metrics: dict[str, Metric] = field(default_factory=dict)
    offenders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def note(self, metric: str, offenders: Sequence[str], n: int, count: int | None = None) -> None:
        """There are `count` of them, or as many as are named, of `n` looked at."""
        self.metrics[metric] = Metric(value=len(offenders) if count is None else count, n=n)
        if offenders:
            self.offenders[metric] = tuple(offenders[:OFFENDERS_MAX])


def count_promises(
    tally: LevelTally,
    by_kind: Mapping[str, Rows],
    duplicates: int,
    evidence: Evidence,
    run: RunFacts,
    *,
    final: bool,
    complete: bool,
) -> Promises:
    """Count over every phase of the level. `final`: we did not cut it, so what has no end will have none;
    `complete`: nor did the target, so it had the time to tell of all ends."""
    promises = Promises()
    n = sum(len(rows) for rows in by_kind.values()) + len(tally.open)
    promises.note("corrupted", tally.corrupted, n)
    again = Tally.names(run.journal, tally.ended_again()) if duplicates else []
    promises.note("duplicates", again, n, duplicates)
    lost = [workflow for workflow, accepted in tally.open.items() if accepted] if final else []
    if final and complete and run.manifest.state != "memory":  # what was promised there outlives whoever promised it
        lost += tally.untold
    promises.note("lost", lost, n)
    _effects(promises, by_kind, evidence.ledger, run)
    _updates(promises, by_kind, evidence, run)
    _stores(promises, evidence, run)
    _services(promises, evidence, run)
    _calls(promises, by_kind, evidence.calls, run, final=final)
    if not n:  # no workflow was sent: there is nothing that anything could tell of
        promises.missing.clear()
    return promises


def _effects(promises: Promises, by_kind: Mapping[str, Rows], ledger: LevelLedger | None, run: RunFacts) -> None:
    declared = run.declared.effects()
    if ledger is None:
        if declared:
            promises.missing.append("the scenario declares effects, and there is no ledger.jsonl of a witness")
        return
    acts = ledger.answers.total()
    for metric, answer in (("effects", "performed"), ("effects_replayed", "replayed"), ("effects_refused", "refused")):
        promises.metrics[metric] = Metric(value=ledger.answers[answer], n=acts)  # type: ignore[index]
    promises.note("dup_effects", ledger.duplicates, acts)
    promises.note("zombie_effects", ledger.zombies, acts)
    found, ended_ok = set(), 0
    missing: dict[str, frozenset[str]] = {}
    for kind, steps in declared.items():
        ok = _ok(by_kind.get(kind))
        ended_ok += len(ok)
        done = np.fromiter(ledger.workflows_with(steps), dtype=np.int64)
        without = {int(number) for number in ok[~np.isin(ok, done)]}
        found |= without
        names = Tally.names(run.journal, without)
        missing |= dict.fromkeys(names, steps)
    told = [f"{workflow}: {', '.join(ledger.missing(workflow, steps))}" for workflow, steps in missing.items()]
    promises.note("effects_missing", told, ended_ok, len(found))


def _calls(
    promises: Promises, by_kind: Mapping[str, Rows], calls: LevelCalls | None, run: RunFacts, *, final: bool
) -> None:
    declared = run.declared.calls() if run.manifest.llm else {}
    ended_ok = {kind: _ok(by_kind.get(kind)) for kind in declared}
    if calls is None or not len(calls):
        if any(len(ok) for ok in ended_ok.values()):
            what = f"there is no {llm.FILE}" if calls is None else f"{llm.FILE} holds nothing of the level"
            promises.missing.append(f"workflows that call models ended ok, and {what}")
        return
    rows = calls.rows
    answered = rows[having(rows, ANSWERED | NAMED)]
    steps, times = np.unique(answered["step"], return_counts=True)
    twice = {int(step) for step in steps[times > 1]}
    promises.note("calls_doubled", step_names(run.journal.with_name(llm.FILE), twice), len(steps), len(twice))
    if not final:  # what the provider had not written yet may be gone with it
        return
    without: dict[int, list[str]] = {}
    for kind, names in declared.items():
        for name in sorted(names):
            ok = ended_ok[kind]
            for workflow in ok[~np.isin(ok ^ np.int64(hash(name)), steps)]:
                without.setdefault(int(workflow), []).append(name)
    told = [f"{name}: {', '.join(without[hash(name)])}" for name in Tally.names(run.journal, without)]
    if declared:
        promises.note("calls_missing", told, sum(map(len, ended_ok.values())), len(without))


def _ok(rows: Rows | None) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The hashed ids of workflows that succeeded."""
    if rows is None:
        return np.empty(0, dtype=np.int64)
    hashes: np.ndarray[tuple[int], np.dtype[np.int64]] = rows["id_hash"][outcome(rows) == OK]
    return hashes


def _updates(promises: Promises, by_kind: Mapping[str, Rows], evidence: Evidence, run: RunFacts) -> None:
    history = evidence.history
    if run.declared.updates_shared:
        if history is None:
            promises.missing.append("shared documents are updated, and there is no history.jsonl of it")
        elif not history.operations and any(len(_ok(rows)) for rows in by_kind.values()):
            promises.missing.append("shared documents are updated, and history.jsonl holds nothing of it")
    if history is not None:
        told = [f"{anomaly.kind}: {anomaly.sentence}" for anomaly in history.anomalies]
        promises.note("lost_updates", told, history.operations)


def _stores(promises: Promises, evidence: Evidence, run: RunFacts) -> None:
    compared = sum(audit.compared for audit in evidence.audits)
    if evidence.audits:
        told = [f"{different.key}: {different.why}" for audit in evidence.audits for different in audit.different]
        promises.note("store_differences", told, compared)
    if run.manifest.state == "both" and not compared:
        promises.missing.append("state was kept in both stores, and audit.jsonl holds no comparison of them")


def _services(promises: Promises, evidence: Evidence, run: RunFacts) -> None:
    sampled = {sample.service for sample in evidence.health}
    promises.missing += [
        f"{used.service} was used, and health.jsonl holds no sample of it"
        for used in run.manifest.services
        if used.service not in sampled
    ]
