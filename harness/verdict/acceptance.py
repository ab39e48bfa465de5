"""May a run enter its baseline? Every reason why not, at once; and the entry that it becomes."""

from __future__ import annotations

from collections.abc import Iterator

from harness.verdict.baseline import Baseline, Entry
from harness.verdict.fingerprint import unlike
from harness.verdict.gate import invalid
from harness.verdict.gated import Measured
from harness.verdict.judge import JudgedRun
from harness.verdict.sittings import sitting_of

ACCEPTED = ("pass", "learning")
"""Outcomes of the gate that may enter: as it was, or there is too little to say."""
ACCEPTED_FIRST = (*ACCEPTED, "improved", "regressed")
"""Those of the first run of an epoch, which somebody said is meant to be different."""


def reasons_against(
    judged: JudgedRun, level: str, measured: Measured | None, baseline: Baseline | None
) -> Iterator[str]:
    """Why this level of the run must not be accepted, each with the way out; nothing when it may."""
    verdict, manifest = judged.verdict, judged.manifest
    for check in verdict.checks:
        if check.result == "held" or (check.level not in ("", level)) or check.kind == "gate":
            continue
        yield f"{check.sentence} ({check.name})"
    of_epoch = _of_epoch(baseline)
    gate = next((gate for gate in verdict.gate if gate.level == level), None)
    if gate is None:
        yield "it was compared with nothing, and no frozen reference ran beside it: run it with --gate"
    elif gate.decision.outcome not in (ACCEPTED if of_epoch or baseline is None else ACCEPTED_FIRST):
        yield _not_as_it_was(gate.decision.outcome)
    build = manifest.build
    if build.dirty:
        files = ", ".join(build.dirty[:5])
        yield f"its build was never committed, so it could not be run again: {files}; commit, and run again"
    if measured is None:
        yield f"level {level} was not measured whole"
        return
    yield from invalid(measured.observed.reading)
    if baseline is None:
        return
    if any(entry.run == manifest.run_id for entry in baseline.entries):
        yield "it was accepted before"
    if of_epoch:
        for name, (ours, theirs) in unlike(measured.fingerprint, of_epoch[-1].fingerprint).items():
            yield (
                f"{name} is {ours}, and was {theirs} in this epoch: "
                "begin a new one, if it is to be so (`harness baseline epoch`)"
            )
        if manifest.started_at < of_epoch[-1].started_at:
            yield "it began before the newest entry did; entries are in the order of time"


def _of_epoch(baseline: Baseline | None) -> list[Entry]:
    """The entries of the current epoch."""
    if baseline is None:
        return []
    return [entry for entry in baseline.entries if entry.epoch == baseline.epochs[-1].number]


def entry_of(judged: JudgedRun, measured: Measured, baseline: Baseline | None, *, by: str, at: str) -> Entry:
    """The run as an entry; its epoch, samples and checksum come when it is appended."""
    manifest = judged.manifest
    return Entry(
        run=manifest.run_id,
        started_at=manifest.started_at,
        sitting=sitting_of(baseline, manifest.run_id, manifest.started_at),
        epoch=baseline.epochs[-1].number if baseline is not None else 1,
        accepted_at=at,
        accepted_by=by,
        verdict=judged.verdict.word,
        build=manifest.build,
        fingerprint=measured.fingerprint,
        reading=measured.observed.reading,
        reference=measured.observed.reference,
    )


def _not_as_it_was(outcome: str) -> str:
    if outcome == "improved":
        return (
            "it is better than its baseline: so that this is meant to last, begin an epoch that says why "
            "(`harness baseline epoch`), and accept it then"
        )
    return f"the gate says {outcome}, and only what passed enters a baseline"
