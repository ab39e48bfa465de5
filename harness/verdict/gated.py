"""The gate's part of a run's verdict: from the files that a gated run leaves in its folder to a decision a level.

A gated run's folder holds, beside what any run has: `gate.json`, `baselines/` (copies of what it was compared with),
`reference/` (the runs of the frozen reference) and `duet/` (a folder a level that had to be confirmed). So judging it
again needs nothing else, and says the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from harness.errors import RunInvalid
from harness.observation.duet import DUET_FILE
from harness.observation.ids import file_stem
from harness.observation.manifest import Manifest
from harness.statistics.change import relative
from harness.statistics.comparison import History, Observed, Pooled, exclusion, pooled_spread
from harness.statistics.drift import reference_drifted
from harness.statistics.reading import COMPARED, Reading, reading_of
from harness.statistics.summary import Summary, summarise
from harness.verdict.baseline import Entry
from harness.verdict.baseline_file import baseline_path, read_baseline
from harness.verdict.duet import read_duet
from harness.verdict.explanation import explain
from harness.verdict.fingerprint import Fingerprint, fingerprint, machine_class, scenario_digest, unlike
from harness.verdict.gate import (
    MARGIN,
    PAIRS_MIN,
    Decision,
    LevelGate,
    confirm,
    gated_metrics,
    settled_without_duet,
    standing_decision,
    too_blind,
)
from harness.verdict.sittings import history_of, in_window, learned, standing

GATE_FILE = "gate.json"
BASELINES, REFERENCE, DUET = "baselines", "reference", "duet"


class GateFacts(msgspec.Struct, frozen=True, kw_only=True):
    """`gate.json`: what a run was compared with, besides what lies beside it."""

    schema_version: int = 1
    margin: float = MARGIN
    baselines: dict[str, str] = {}  # level -> its baseline's file, seen from the run's folder
    pooled: dict[str, dict[str, Pooled]] = {}  # level -> metric -> what sibling scenarios say of the spread
    no_duet: dict[str, str] = {}  # level -> why there was none


def gate_levels(
    run_dir: Path, manifest: Manifest, summary: Summary, against: Path | None = None
) -> tuple[LevelGate, ...]:
    """Every level's decision; none for a run that was not gated. Raises RunInvalid for damaged evidence.

    It is compared with the baselines it was run against; with `against`, with those that lie in that folder now.
    """
    facts = read_facts(run_dir)
    if facts is None:
        return ()
    if against is not None:
        facts = current_facts(against, manifest, facts)
    seen = history_of_run(run_dir, manifest, summary, facts)
    return tuple(_gate(level, each, run_dir, manifest, facts) for level, each in seen.items())


class Seen(NamedTuple):
    """What the history says of a level, and what it is."""

    candidate: Observed
    decision: Decision
    sittings: Sequence[Sequence[Entry]]
    newest: Entry | None
    differs: dict[str, tuple[str, str]]

    @property
    def to_confirm(self) -> tuple[str, ...]:
        """The metrics that a duet has to decide; all, where the history could compare none."""
        return self.decision.undecided or gated_metrics(self.candidate.reading)


def history_of_run(run_dir: Path, manifest: Manifest, summary: Summary, facts: GateFacts) -> dict[str, Seen]:
    """Steps 1 to 4 for every level that was measured whole."""
    return {
        label: _by_history(run_dir, label, measured, facts, manifest.started_at)
        for label, measured in measured_levels(run_dir, manifest, summary).items()
    }


class Measured(NamedTuple):
    """What a level gives to a comparison, and the conditions under which it was measured."""

    observed: Observed
    fingerprint: Fingerprint


def measured_levels(run_dir: Path, manifest: Manifest, summary: Summary) -> dict[str, Measured]:
    """Level -> what it gives, of every level that was measured whole. Which reference ran beside it is a condition."""
    found, references = fingerprint(run_dir, manifest), _references(run_dir)
    levels = {}
    for level in summary.levels:
        if level.status == "complete":
            reading, digest = references.get(level.level, (None, "none"))
            levels[level.level] = Measured(Observed(reading_of(level), reading), {**found, "reference": digest})
    return levels


def read_facts(run_dir: Path) -> GateFacts | None:
    """`gate.json` of a run; None when the run was not gated."""
    path = run_dir / GATE_FILE
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=GateFacts)
    except (OSError, msgspec.DecodeError) as error:
        raise RunInvalid(f"{path} cannot be read: {error}") from None


def current_facts(baselines: Path, manifest: Manifest, facts: GateFacts) -> GateFacts:
    """The same, against the baselines that lie in a folder of baselines now."""
    found = {
        level: path
        for level in manifest.levels
        if (path := find_baseline(baselines, manifest.scenario, machine_class(manifest.machine), level)) is not None
    }
    pooled = {level: pooled_spreads(path, manifest.started_at) for level, path in found.items()}
    return msgspec.structs.replace(facts, baselines={level: str(path) for level, path in found.items()}, pooled=pooled)


def find_baseline(baselines: Path, scenario: str, of_class: str, level: str) -> Path | None:
    """A level's baseline for this class of machines; else the one of another class that was last added to.

    What another machine measured is not compared with; but its build can be run here, beside the candidate.
    """
    own = baseline_path(baselines, scenario, of_class, level)
    if own.exists():
        return own
    others = {path: read_baseline(path).entries for path in (baselines / scenario).glob(f"*/{own.name}")}
    return max((path for path in others if others[path]), key=lambda path: others[path][-1].accepted_at, default=None)


def pooled_spreads(path: Path, at: str) -> dict[str, Pooled]:
    """By metric, what the baselines of other levels and scenarios on the same class of machines say of the spread."""
    others = sorted(path.parent.parent.parent.glob(f"*/{path.parent.name}/*.json"))
    histories = [history_of(in_window(read_baseline(other), at)) for other in others if other != path]
    found = {metric: pooled_spread(histories, metric) for metric in COMPARED}
    return {metric: pooled for metric, pooled in found.items() if pooled is not None}


def _references(run_dir: Path) -> dict[str, tuple[Reading, str]]:
    """Level -> the reading of the frozen reference that was run for it, and which reference that was."""
    return {
        level.level: (reading_of(level), scenario_digest(path.parent))
        for path in sorted((run_dir / REFERENCE).glob("*/run.json"))
        for level in summarise(path.parent).levels
        if level.status == "complete"
    }


def duet_folder(run_dir: Path, level: str) -> Path:
    """Where the duet of a level of a gated run lies."""
    return run_dir / DUET / file_stem(level)


def _by_history(run_dir: Path, level: str, measured: Measured, facts: GateFacts, at: str) -> Seen:
    """What the baseline allows to say of one level. `at` is the run's start, so that judging again sees the same."""
    candidate, found = measured
    baseline = read_baseline(run_dir / facts.baselines[level]) if level in facts.baselines else None
    sittings = in_window(baseline, at) if baseline is not None else ()
    newest = sittings[-1][-1] if sittings else None
    differs = unlike(found, newest.fingerprint) if newest is not None else {}
    history, pooled = history_of(sittings), facts.pooled.get(level, {})
    why_not = list(_why_not(sittings, differs, candidate, history, facts))
    usable = [] if differs else history
    decision = standing_decision(candidate, usable, why_not, margin=facts.margin, pooled=pooled)
    return Seen(candidate, decision, sittings, newest, differs)


def _why_not(
    sittings: Sequence[Sequence[Entry]],
    differs: Mapping[str, tuple[str, str]],
    candidate: Observed,
    history: History,
    facts: GateFacts,
) -> Iterator[str]:
    """Why the history may not decide, if it may not."""
    if differs:
        changed = "; ".join(f"{name} was {theirs} and is {ours}" for name, (ours, theirs) in differs.items())
        yield f"unlike the baseline, so not compared with it ({changed}); record one that is like this run"
        return
    if standing(sittings) == "learning":
        yield f"{learned(sittings)}{_would_see(candidate, history)}"
        return
    stored = [seen.reference for sitting in history for seen in sitting if seen.reference is not None]
    for metric, what in (("p50", "took"), ("cpu_per_workflow", "needed")):
        drift = None if candidate.reference is None else reference_drifted(candidate.reference, stored, metric)
        if drift is not None:
            yield f"the machine is not as it was: the frozen reference {what} {drift:+.0%}; only a duet can tell here"
    if (blind := too_blind(candidate, history, facts.margin)) is not None:
        yield blind


def _would_see(candidate: Observed, history: History) -> str:
    change = exclusion("p95", candidate, history)
    return "" if change is None else f"; the smallest change at p95 that they would see is {relative(change.mde):.0%}"


def _gate(level: str, seen: Seen, run_dir: Path, manifest: Manifest, facts: GateFacts) -> LevelGate:
    decision, pairs, command = seen.decision, 0, ""
    folder = duet_folder(run_dir, level)
    if decision.outcome == "undecided" and (folder / DUET_FILE).exists():
        duet = read_duet(folder)
        if len(duet.pairs) >= PAIRS_MIN:
            decision, pairs, command = (
                confirm(duet.pairs, seen.to_confirm, margin=facts.margin, pairs_max=duet.duet.pairs_max),
                len(duet.pairs),
                duet.duet.command,
            )
        else:
            decision = settled_without_duet(decision, f"its duet has only {len(duet.pairs)} whole pairs")
    decision = settled_without_duet(decision, facts.no_duet.get(level, "there was no duet"))
    gate = LevelGate(
        level=level,
        sentence="",
        decision=decision,
        history=seen.decision if decision is not seen.decision else None,
        sittings=len(seen.sittings),
        runs=tuple(entry.run for sitting in seen.sittings for entry in sitting),
        build=seen.newest.build if seen.newest else None,
        unlike=seen.differs,
        pairs=pairs,
        command=command,
        margin=facts.margin,
    )
    return msgspec.structs.replace(gate, sentence=explain(manifest.scenario, gate))
