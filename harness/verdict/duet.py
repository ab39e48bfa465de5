"""A duet's folder read back: the two arms of each pair as readings, and what went wrong with the others."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import msgspec

from harness.errors import RunInvalid
from harness.observation.duet import ARMS_FILE, DUET_FILE, DUET_VERSION, PAIRS_FOLDER, ArmRun, Duet, Side
from harness.observation.journal import Damage, read_lines
from harness.statistics.paired import Pairs, pair_change
from harness.statistics.reading import COMPARED, Reading, reading_of
from harness.statistics.summary import summarise
from harness.verdict.explanation import explain
from harness.verdict.gate import MARGIN, PAIRS_MIN, Decision, LevelGate, confirm

SIDES: dict[Side, str] = {"a": "baseline", "b": "candidate"}


class DuetRead(NamedTuple):
    """A duet, its whole pairs in the order they were run, and a sentence for each arm that is in none."""

    duet: Duet
    pairs: Pairs
    problems: tuple[str, ...]


def read_duet(folder: Path) -> DuetRead:
    """Read it. Raises RunInvalid when the folder is no duet's, or one of another version."""
    path = folder / DUET_FILE
    try:
        duet = msgspec.json.decode(path.read_bytes(), type=Duet)
    except (OSError, msgspec.DecodeError) as error:
        raise RunInvalid(f"{path} cannot be read: {error}") from None
    if duet.schema_version != DUET_VERSION:
        raise RunInvalid(f"{path} has schema version {duet.schema_version}; this harness reads {DUET_VERSION}")
    arms: defaultdict[int, dict[Side, Reading]] = defaultdict(dict)
    problems = []
    if (folder / ARMS_FILE).exists():
        damage = Damage()
        for run in read_lines(folder / ARMS_FILE, msgspec.json.Decoder(ArmRun), damage):
            found = _reading(folder / PAIRS_FOLDER / run.run, duet.level)
            if isinstance(found, Reading):
                arms[run.pair][run.side] = found
            else:
                problems.append(f"pair {run.pair + 1}, {SIDES[run.side]}: {found}")
        if damage.unreadable:
            problems.append(f"{damage.unreadable} damaged lines in {ARMS_FILE} were left out")
    pairs = [(arm["a"], arm["b"]) for _, arm in sorted(arms.items()) if len(arm) == len(SIDES)]
    return DuetRead(duet, pairs, tuple(problems))


def _reading(run_dir: Path, label: str) -> Reading | str:
    """What an arm measured, or why it counts for nothing."""
    try:
        levels = {level.level: level for level in summarise(run_dir).levels}
    except RunInvalid as error:
        return str(error)
    level = levels.get(label)
    if level is None:
        return f"{run_dir.name} holds no level {label}"
    if level.status != "complete":
        return f"{level.status.replace('_', ' ')}: {level.message}"
    reading = reading_of(level)
    return reading if reading.ok else "no workflow succeeded"


class JudgedDuet(msgspec.Struct, frozen=True, kw_only=True):
    """A duet, and what may be said of it: all that its reports are made of."""

    schema_version: int = 1
    word: str  # pass | improved | regressed | inconclusive | incomplete
    exit_code: int
    sentences: tuple[str, ...]
    gate: LevelGate
    duet: Duet
    problems: tuple[str, ...]


EXIT_CODES = {"pass": 0, "improved": 0, "regressed": 1, "inconclusive": 3, "incomplete": 4}


def judge_duet(folder: Path, *, margin: float = MARGIN) -> JudgedDuet:
    """Judge a duet that was run for its own sake, on everything that both arms have. Raises RunInvalid."""
    read = read_duet(folder)
    duet, pairs = read.duet, read.pairs
    decision = decide_duet(read, margin=margin, last=True)
    gate = LevelGate(
        level=duet.level,
        sentence="",
        decision=decision,
        build=duet.a.build,
        pairs=len(pairs),
        command=duet.command,
        margin=margin,
    )
    sentence = explain(duet.scenario, gate)
    cut = not duet.finished and decision.outcome != "regressed"
    word = "incomplete" if cut else str(decision.outcome)
    sentences = ("the duet was cut short", sentence) if cut else (sentence,)
    return JudgedDuet(
        word=word,
        exit_code=EXIT_CODES[word],
        sentences=(*sentences, *read.problems),
        gate=msgspec.structs.replace(gate, sentence=sentence),
        duet=duet,
        problems=read.problems,
    )


def decide_duet(read: DuetRead, *, margin: float, last: bool) -> Decision:
    """One look at all metrics that these pairs are long enough for."""
    pairs = read.pairs
    if len(pairs) < PAIRS_MIN:
        reason = f"{len(pairs)} whole pairs say nothing; {PAIRS_MIN} are the least"
        return Decision(outcome="inconclusive" if last else "undecided", step="duet", reasons=(reason,))
    return confirm(pairs, compared_in(pairs), margin=margin, pairs_max=read.duet.pairs_max, last=last)


def compared_in(pairs: Pairs) -> tuple[str, ...]:
    """What there are enough workflows for, over all pairs."""
    ok = min(sum(reading.ok for reading in side) for side in zip(*pairs, strict=True))
    names = [
        name
        for name, compared in COMPARED.items()
        if ok >= compared.n_min and any(pair_change(name, *pair) is not None for pair in pairs)
    ]
    return (*names, "success")
