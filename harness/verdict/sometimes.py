"""What has to have happened in a run that is to show something: its scenario's `sometimes`.

A run in which no breaker opened says nothing of breakers, however well it went. As Antithesis's and FoundationDB's
"sometimes" assertions, each is reached or not; what is not reached makes the run inconclusive, never a pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from harness.scenario.fault_checks import ERROR
from harness.statistics.level import LevelSummary
from harness.statistics.summary import Summary
from harness.verdict.check import Check


class _Declared(msgspec.Struct):
    sometimes: tuple[str, ...] = ()


def read_sometimes(run_dir: Path) -> tuple[str, ...]:
    """The names of what the run's scenario wants to have happened."""
    return msgspec.json.decode((run_dir / "scenario.json").read_bytes(), type=_Declared).sometimes


def sometimes_checks(summary: Summary, names: Sequence[str]) -> Iterator[Check]:
    """A check of every level that was run to its end, for each of them."""
    for level in summary.levels:
        if level.status != "complete":
            continue
        for name in names:
            times = times_of(level, name)
            what = f"level {level.level}: {name}"
            yield Check(
                name=f'sometimes."{level.level}".{name}',
                level=level.level,
                kind="validity",
                result="held" if times > 0 else "unsure",
                sentence=f"{what} happened"
                if times > 0
                else f"{what} was to happen and never did, so nothing is shown"
                " of it; more load, a longer measure or a longer fault may get there",
            )


def times_of(level: LevelSummary, name: str) -> float:
    """How much of it there was; 0: none, or nobody counted it."""
    if name.startswith(ERROR):
        return level.errors.get(name.removeprefix(ERROR), 0)
    return level.metric(name).value or 0
