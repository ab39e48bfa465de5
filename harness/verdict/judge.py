"""From a run's folder to its verdict: the one entry point for the commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import HarnessError, RunInvalid, UsageError
from harness.observation.json_file import replace_json
from harness.observation.manifest import Manifest, read_manifest
from harness.scenario.scenario import Load
from harness.statistics.summary import Summary, summarise
from harness.verdict.control import beside, control_checks, paired, read_control
from harness.verdict.gated import gate_levels
from harness.verdict.limits import Limits, load_limits
from harness.verdict.sometimes import read_sometimes, sometimes_checks
from harness.verdict.verdict import Verdict, judge

LIMITS_FILE = "limits.toml"
SUMMARY_FILE = "summary.json"
VERDICT_FILE = "verdict.json"


@dataclass(frozen=True, slots=True)
class JudgedRun:
    """A run, what was measured in it, and what may be said of it: all that a report is made of."""

    run_dir: Path
    manifest: Manifest
    summary: Summary
    verdict: Verdict


def judge_run(run_dir: Path, *, against: Path | None = None) -> JudgedRun:
    """Judge the run from its files and write `summary.json` and `verdict.json` beside them.

    It is judged by the limits it was run with; with `against`, by the scenario's file in that folder, and then
    nothing is written. Raises RunInvalid when the files are not those of a run, UsageError for mistakes in limits.
    """
    manifest = read_manifest(run_dir)
    limits = _limits(run_dir, manifest, against)
    summary = summarise(run_dir)
    gates = gate_levels(run_dir, manifest, summary, against)
    control = read_control(run_dir)
    further = [*control_checks(manifest, control, limits), *sometimes_checks(summary, read_sometimes(run_dir))]
    verdict = msgspec.structs.replace(
        judge(summary, limits, manifest, gates, further),
        beside=tuple(beside(summary, control)),
        against=paired(run_dir, control),
    )
    judged = JudgedRun(run_dir, manifest, summary, verdict)
    if against is None:
        try:
            replace_json(run_dir / SUMMARY_FILE, summary)
            replace_json(run_dir / VERDICT_FILE, judged.verdict)
        except OSError as error:
            raise HarnessError(f"cannot write into {run_dir}: {error.strerror}") from error
    return judged


class _Declared(msgspec.Struct):
    """The part of `scenario.json` that limits must agree with."""

    load: Load
    agent: Mapping[str, Any]


def _limits(run_dir: Path, manifest: Manifest, against: Path | None) -> Limits | None:
    path = run_dir / LIMITS_FILE if against is None else against / f"{manifest.scenario}.toml"
    if not path.exists():
        if against is not None:
            raise UsageError(f"{against}: has no {path.name} to judge this run by")
        return None
    try:
        declared = msgspec.json.decode((run_dir / "scenario.json").read_bytes(), type=_Declared)
    except (OSError, msgspec.DecodeError) as error:
        raise RunInvalid(f"{run_dir / 'scenario.json'} cannot be read: {error}") from None
    return load_limits(
        path,
        levels=[level.label for level in declared.load.levels],
        agents=list(declared.agent),
        drain_s=declared.load.drain,
        target=manifest.target,
    )
