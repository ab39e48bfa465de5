"""The control arm: what a level did with the same load and seed, and nothing broken.

It tells what the faults cost, and keeps them from being blamed for what is so without them, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from harness.observation.manifest import Manifest
from harness.statistics.control import AgainstControl, against_control, arms_of
from harness.statistics.level import LevelSummary
from harness.statistics.summary import Summary, summarise
from harness.verdict.check import Check
from harness.verdict.limit_checks import check_limit
from harness.verdict.limits import Limits

CONTROL = "control"
"""The folder of a run in which its control arm's folder is."""

SHOWN = (
    *("success", "p50", "p95", "p99", "throughput", "degraded", "cpu_per_workflow", "amplification"),
    *("service.redis.commands", "service.postgres.commands"),
)


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of a level, with its faults and without; None: nothing was measured."""

    level: str
    metric: str
    broken: float | None
    control: float | None


class _Declared(msgspec.Struct):
    control: bool = False


def read_control(run_dir: Path) -> Mapping[str, LevelSummary] | None:
    """The levels of the control arm by label; None when the scenario asked for none. Without a run: none of them."""
    declared = msgspec.json.decode((run_dir / "scenario.json").read_bytes(), type=_Declared)
    if not declared.control:
        return None
    runs = sorted((run_dir / CONTROL).glob("*/run.json"))
    return {level.level: level for level in summarise(runs[-1].parent).levels} if runs else {}


def control_checks(
    manifest: Manifest, control: Mapping[str, LevelSummary] | None, limits: Limits | None
) -> Iterator[Check]:
    """Why the control arm keeps a run from passing, or its breaches from being the faults' doing."""
    if control is None:
        return
    for label in manifest.levels:
        level = control.get(label)
        name = f'control."{label}"'
        if level is None or level.status != "complete" or not level.metric("ok").value:
            why = "there is none" if level is None else level.message or "nothing succeeded in it"
            text = f"level {label} has no control arm to be compared with: {why}; run again"
            yield Check(name=name, level=label, kind="validity", result="unsure", sentence=text)
            continue
        found = [check_limit(limit, level.metric(limit.metric)) for limit in (limits.of(label) if limits else ())]
        if broken := [check for check in found if check.result == "breached"]:
            text = f"level {label}, with nothing broken: {'; '.join(check.sentence for check in broken)}"
            yield Check(
                name=name, level=label, kind="validity", result="unsure", sentence=f"{text}, so it is no fault's"
            )


def paired(run_dir: Path, control: Mapping[str, LevelSummary] | None) -> dict[str, AgainstControl]:
    """By level, both arms, workflow by workflow. Both are read here, in one process, as their ids are hashed."""
    runs = sorted((run_dir / CONTROL).glob("*/run.json")) if control else []
    if not runs:
        return {}
    ours, theirs = arms_of(run_dir), arms_of(runs[-1].parent)
    found = {label: against_control(ours[label], theirs[label]) for label in ours if label in theirs}
    return {label: pair for label, pair in found.items() if pair is not None}


def beside(summary: Summary, control: Mapping[str, LevelSummary] | None) -> Iterator[Beside]:
    """What is told of each level and its control arm."""
    for level in summary.levels:
        other = (control or {}).get(level.level)
        for metric in SHOWN if other is not None else ():
            pair = (level.metric(metric).value, other.metric(metric).value) if other is not None else (None, None)
            if pair != (None, None):
                yield Beside(level=level.level, metric=metric, broken=pair[0], control=pair[1])
