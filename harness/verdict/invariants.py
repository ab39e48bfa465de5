"""What must never happen, however rarely: each promise of a level held, broken, or not known, with who broke it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.statistics.level import LevelSummary
from harness.statistics.metrics import Metric
from harness.verdict.check import Check, Result

OFFENDERS_TOLD = 3

WORKFLOWS = {
    "lost": "accepted and never ended",
    "duplicates": "ended more than once",
    "corrupted": "ended with a wrong result",
}
"""Of these a workflow is the unit."""

PROMISES: Mapping[str, tuple[str, str]] = {
    "dup_effects": ("effect was performed more than once", "effects were performed more than once"),
    "zombie_effects": (
        "act was done for an owner that had been replaced", "acts were done for an owner that had been replaced"
    ),
    "effects_missing": (
        "workflow ended ok without all of its effects", "workflows ended ok without all of their effects"
    ),
    "calls_missing": (
        "workflow ended ok without the answers of its models", "workflows ended ok without the answers of their models"
    ),
    "lost_updates": (
        "contradiction in what the shared documents answered", "contradictions in what the shared documents answered"
    ),
    "store_differences": (
        "document differs between Redis and PostgreSQL", "documents differ between Redis and PostgreSQL"
    ),
}  # fmt: skip
"""Metric -> what is said of one and of several. Judged where there was something to count."""

NEEDS_ALL_LINES = ("lost", "effects_missing", "calls_missing", "lost_updates")
"""Beside damaged lines a breach of these is not proven: what is missed may be what could not be read."""


def invariants(level: LevelSummary, unreadable: int, altered: tuple[str, ...] = ()) -> Iterator[Check]:
    """The checks of a level; `unreadable` lines of the run's files were damaged, and files `altered` since."""
    if level.status in ("not_run", "target_unavailable"):
        return
    if level.status == "target_died":
        text = f"level {level.level}: {level.message or 'the target died'}"
        yield _invariant(level, "alive", text, "breached")
    for metric in (*WORKFLOWS, *PROMISES):
        measured = level.metric(metric)
        if measured.value is None and metric in PROMISES:
            continue
        if not measured.value:
            yield _invariant(level, metric, f"level {level.level}: {metric} is 0", "held", measured)
            continue
        text = f"level {level.level}: {_told(metric, measured.value)}{_named(level, metric, measured.value)}"
        if metric in NEEDS_ALL_LINES and (unreadable or altered):
            what = f"{unreadable} damaged lines let" if unreadable else f"what is left of {', '.join(altered)} lets"
            text += f", as far as {what} us see; run again"
            yield _invariant(level, metric, text, "unsure", measured)
        else:
            yield _invariant(level, metric, text, "breached", measured)


def workflows(count: float) -> str:
    """So many workflows, in words."""
    return f"{count:.0f} workflow{'' if count == 1 else 's'}"


def _told(metric: str, count: float) -> str:
    if metric in WORKFLOWS:
        return f"{workflows(count)} {WORKFLOWS[metric]}"
    return f"{count:.0f} {PROMISES[metric][0 if count == 1 else 1]}"


def _named(level: LevelSummary, metric: str, count: float) -> str:
    """The first of who did it; the report has more of them."""
    told = level.offenders.get(metric, ())[:OFFENDERS_TOLD]
    more = f" and {count - len(told):.0f} more" if count > len(told) else ""
    return f" ({'; '.join(told)}{more})" if told else ""


def _invariant(level: LevelSummary, name: str, sentence: str, result: Result, measured: Metric | None = None) -> Check:
    return Check(
        name=f'invariant."{level.level}".{name}',
        level=level.level,
        kind="invariant",
        metric=name if measured else "",
        measured=measured,
        result=result,
        sentence=sentence,
    )
