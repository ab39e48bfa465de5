"""What a run's numbers allow to say: `judge` turns a summary and limits into checks, a word and an exit code. Pure.

Each limit is judged on its own numbers, so a breach stands whatever else is wrong; doubts about the run spoil passes
only. The gate's decisions (`gated.py`) add checks of a kind of their own, and the words `regressed`, `improved`,
`suspect`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from harness.observation.manifest import Manifest
from harness.statistics.control import AgainstControl
from harness.statistics.level import CUT, REFUSED_BY_US, LevelSummary
from harness.statistics.summary import Summary
from harness.verdict.check import Check, Result
from harness.verdict.control import Beside
from harness.verdict.explanation import interval, signed
from harness.verdict.gate import LevelGate
from harness.verdict.invariants import invariants, workflows
from harness.verdict.limit_checks import check_limit
from harness.verdict.limits import Limits

VERDICT_VERSION = 1

Word = Literal[
    "pass", "improved", "failed: limit", "regressed", "failed: invariant", "inconclusive", "suspect", "incomplete"
]
EXIT_CODES: Mapping[Word, int] = {
    "pass": 0, "improved": 0,
    "failed: limit": 1, "regressed": 1, "failed: invariant": 1,
    "inconclusive": 3, "suspect": 3,
    "incomplete": 4,  # the harness itself failed, or the run was cut short
}  # fmt: skip

CENSORED_SHARE_MAX = 0.05
"""With more unfinished workflows than this the p95 itself is one that nobody saw end."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What may be said of a run, and all that it rests on."""

    schema_version: int = VERDICT_VERSION
    word: Word
    exit_code: int
    sentences: tuple[str, ...]  # the verdict for a person, the most important first
    failed: tuple[str, ...]  # names of broken limits and invariants, for CI to demand
    limits_judged: bool  # False: there were no limits, the run was judged on validity only
    checks: tuple[Check, ...]
    gate: tuple[LevelGate, ...] = ()  # of a run that was compared with its baseline
    beside: tuple[Beside, ...] = ()  # of a run with a control arm
    against: dict[str, AgainstControl] = {}  # by level: the same, workflow by workflow and window by window


WAYS_OUT: Mapping[str, str] = {
    "budget_spent": "allow more, set a lower max_tokens, or make fewer calls",
    "replay_ended": "replay the seed that was recorded, and shorter (--measure): no two runs get equally far",
}


def judge(
    summary: Summary,
    limits: Limits | None,
    manifest: Manifest,
    gates: Sequence[LevelGate] = (),
    further: Sequence[Check] = (),
) -> Verdict:
    """Judge a run by `limits`, by what the gate says of its levels, and by `further` checks, as of its control arm;
    without limits, only by whether it can be trusted, which is no pass."""
    checks = [*_run_checks(summary, manifest)]
    levels = [level.level for level in summary.levels]
    judged_by_limits = limits is not None and (not levels or any(limits.of(level) for level in levels))
    if not judged_by_limits:
        text = f"there are no limits to hold it against; write them into baselines/{summary.scenario}.toml"
        if limits is not None:
            text += ' as [limits."LEVEL"]: those of [ours] are for the embedded orchestrator alone'
        checks.append(Check(name="run.limits", kind="validity", result="unsure", sentence=text))
    for level in summary.levels:
        checks += _validity(level)
        checks += invariants(level, summary.unreadable, summary.altered)
        for limit in limits.of(level.level) if limits else ():
            check = check_limit(limit, level.metric(limit.metric))
            checks.append(_refused_by_us(check) if level.status in REFUSED_BY_US else check)
    for gate in gates:
        checks += _gate_checks(gate)
    checks += further
    word = _word(checks, gates)
    return Verdict(
        word=word,
        exit_code=EXIT_CODES[word],
        sentences=tuple(_sentences(word, checks, gates)),
        failed=tuple(check.name for check in checks if check.result == "breached"),
        limits_judged=judged_by_limits,
        checks=tuple(checks),
        gate=tuple(gates),
    )


def _gate_checks(gate: LevelGate) -> Iterator[Check]:
    """One check of the level; where something regressed one for each metric that did, so that CI can name it."""
    decision, name = gate.decision, f'gate."{gate.level}"'
    if decision.outcome == "regressed":
        for index, metric in enumerate(decision.worse):
            change = decision.change(metric)
            assert change is not None
            sentence = f"{metric} {signed(change)} ({interval(change)})" if index else gate.sentence
            yield Check(
                name=f"{name}.{metric}",
                level=gate.level,
                kind="gate",
                result="breached",
                metric=metric,
                sentence=sentence,
            )
        return
    result: Result = "held" if decision.outcome in ("pass", "improved") else "unsure"
    yield Check(name=name, level=gate.level, kind="gate", result=result, sentence=gate.sentence)


def _refused_by_us(check: Check) -> Check:
    """We refused calls at the end, and what failed of that is in all numbers: no breach is proven."""
    if check.result != "breached":
        return check
    text = f"{check.sentence}; calls that we refused ourselves at the end may be why"
    return msgspec.structs.replace(check, result="unsure", sentence=text)


def _word(checks: Sequence[Check], gates: Sequence[LevelGate]) -> Word:
    """The worst wins: cut short, then broken, then unsure."""
    outcomes = {gate.decision.outcome for gate in gates}
    if any(check.result == "cut" for check in checks):
        return "incomplete"
    broken = {check.kind for check in checks if check.result == "breached"}
    if "invariant" in broken:
        return "failed: invariant"
    if broken - {"gate"}:
        return "failed: limit"
    if broken:
        return "regressed"
    if any(check.result == "unsure" for check in checks):
        return "suspect" if "suspect" in outcomes else "inconclusive"
    return "improved" if "improved" in outcomes else "pass"


def _sentences(word: Word, checks: Sequence[Check], gates: Sequence[LevelGate]) -> Iterator[str]:
    if word in ("pass", "improved"):
        yield from (gate.sentence for gate in gates)
        held = sum(check.kind == "limit" for check in checks)
        promised = sum(check.kind == "invariant" for check in checks)
        yield f"all {held} limits held, and {promised} invariants"
        narrow = [check.name for check in checks if check.by_value]
        if narrow:
            alone = "1 of them by its value" if len(narrow) == 1 else f"{len(narrow)} of them by their value"
            yield f"{alone} alone, for which more workflows would have to vouch: {', '.join(narrow)}"
    for result in ("cut", "breached", "unsure"):
        yield from (check.sentence for check in checks if check.result == result)


def _run_checks(summary: Summary, manifest: Manifest) -> Iterator[Check]:
    """What concerns the run as a whole."""
    for end in manifest.ended:
        if end.level not in manifest.levels:
            yield Check(name="run.harness", kind="run", result="cut", sentence=f"the harness failed: {end.message}")
    if not manifest.finished and not any(level.status in CUT for level in summary.levels):
        yield Check(name="run.finished", kind="run", result="cut", sentence="the run was cut short between its levels")
    if manifest.unremoved:
        text = f"something of the run is left where it was: {'; '.join(manifest.unremoved)}; remove it by hand"
        yield Check(name="run.residue", kind="validity", result="unsure", sentence=text)
    if summary.altered:
        text = f"not as the run left it: {', '.join(summary.altered)}; what is missing there is not known"
        yield Check(name="run.files", kind="validity", result="unsure", sentence=text)
    if summary.unreadable:
        text = f"{summary.unreadable} damaged lines in the run's files were left out; run again to be sure"
        yield Check(name="run.journal", kind="validity", result="unsure", sentence=text)
    reasons = ("target_died", "target_unavailable", *REFUSED_BY_US)
    ended_early = any(level.status in reasons for level in summary.levels)
    for level in summary.levels:
        name = f'run."{level.level}"'
        if level.status in REFUSED_BY_US:
            text = f"level {level.level} ended early: {level.message}{_in_flight(level)}; {WAYS_OUT[level.status]}"
            yield Check(name=name, level=level.level, kind="validity", result="unsure", sentence=text)
        elif level.status in CUT:
            how = level.status.replace("_", " ")
            text = f"level {level.level} is incomplete ({how}): {level.message}{_in_flight(level)}"
            yield Check(name=name, level=level.level, kind="run", result="cut", sentence=text)
        elif level.status == "not_run":
            text = f"level {level.level} was not run: {level.message}"
            yield Check(
                name=name, level=level.level, kind="run", result="unsure" if ended_early else "cut", sentence=text
            )


def _in_flight(level: LevelSummary) -> str:
    """What was cut off, to go on a sentence with."""
    count = level.metric("unfinished").value
    return f"; {count:.0f} workflows were in flight and are in no other number" if count else ""


def _validity(level: LevelSummary) -> Iterator[Check]:
    """Why the level cannot carry a pass."""
    if level.status == "not_run" or level.status in CUT:  # said already
        return
    if level.status == "target_unavailable":
        yield _doubt(level, "available", f"the target could not be had: {level.message}")
        return
    doubts = []
    arrivals = level.metric("arrivals").value
    if not arrivals:
        doubts.append(("measured", "nothing was measured; a longer measure phase would change that"))
    elif not level.metric("ok").value:
        doubts.append(("measured", "no workflow succeeded, so there is nothing that a pass could speak of"))
    doubts += [("evidence", f"{what}, so what it would say is not known") for what in level.missing]
    doubts += [("faults", what) for what in level.not_fired if level.status == "complete"]
    doubts += [("services", f"{what}; see to the server, and run again") for what in level.undeclared]
    doubts += [("generator", f"{reason}; use a quieter or larger machine") for reason in level.contaminated]
    censored = level.metric("censored").value
    if arrivals and censored and censored / arrivals > CENSORED_SHARE_MAX and level.status != "target_died":
        text = (
            f"{censored:.0f} of {workflows(arrivals)} had not ended when the drain was over "
            f"(at most {CENSORED_SHARE_MAX:.0%} is sound); use a longer drain"
        )
        doubts.append(("censored", text))
    missing = level.metric("unfinished").value
    if level.status == "complete" and not level.ended:
        doubts.append(("complete", "the journal does not hold the end of the level; run again"))
    elif level.status not in CUT and missing:
        doubts.append(("complete", f"the journal has no end of {workflows(missing)} that were sent; run again"))
    for name, text in doubts:
        yield _doubt(level, name, text)


def _doubt(level: LevelSummary, name: str, text: str) -> Check:
    return Check(
        name=f'validity."{level.level}".{name}',
        level=level.level,
        kind="validity",
        result="unsure",
        sentence=f"level {level.level}: {text}",
    )
