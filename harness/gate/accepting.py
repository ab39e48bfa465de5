"""Accepting a run: judged again from its files, refused with every reason, or added to the baseline of each level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError, unknown_name
from harness.observation.build import lock_digest, lock_text
from harness.statistics.block_samples import block_samples
from harness.terminal import shown
from harness.verdict.acceptance import entry_of, reasons_against
from harness.verdict.baseline import SITTINGS_GATING, Baseline
from harness.verdict.baseline_file import append, baseline_path, keep_lock, read_baseline
from harness.verdict.fingerprint import machine_class
from harness.verdict.gated import measured_levels
from harness.verdict.judge import JudgedRun, judge_run
from harness.verdict.sittings import in_window, learned, standing


def accept(run_dir: Path, baselines: Path, *, levels: Sequence[str], by: str, at: str, dry_run: bool) -> list[str]:
    """Add the run's levels (all, when none is named) to their baselines; what was done, a line each.

    Raises UsageError with everything that speaks against it; then nothing was written.
    """
    judged = judge_run(run_dir)
    manifest = judged.manifest
    mistakes = [f"--level {label}: {unknown_name('level', label, manifest.levels)}" for label in levels
                if label not in manifest.levels]  # fmt: skip
    if mistakes:
        raise UsageError(mistakes)
    measured = measured_levels(run_dir, manifest, judged.summary)
    of_class = machine_class(manifest.machine)
    paths = {label: baseline_path(baselines, manifest.scenario, of_class, label) for label in levels or manifest.levels}
    known = {label: read_baseline(path) if path.exists() else None for label, path in paths.items()}
    for label in paths:
        mistakes += [
            f"level {label}: {why}" for why in reasons_against(judged, label, measured.get(label), known[label])
        ]
    if mistakes:
        raise UsageError(
            [f"{shown(run_dir)} is not accepted:", *(f"  {mistake}" for mistake in dict.fromkeys(mistakes))]
        )
    if dry_run:
        return [f"{shown(path)}: would be added to" for path in paths.values()]
    done = []
    for label, path in paths.items():
        entry = entry_of(judged, measured[label], known[label], by=by, at=at)
        append(path, entry, _samples(run_dir, judged, label))
        done.append(f"{shown(path)}: {describe(read_baseline(path), at)}")
    return [*done, *_locked(baselines / manifest.scenario, judged)]


def describe(baseline: Baseline, at: str) -> str:
    """How far a baseline has come."""
    sittings = in_window(baseline, at)
    how = standing(sittings)
    if how == "learning":
        return learned(sittings)
    if how == "provisional":
        return f"provisional: {len(sittings)} of {SITTINGS_GATING} sittings; it may pass runs"
    return f"gating: {len(sittings)} sittings"


def _samples(run_dir: Path, judged: JudgedRun, label: str) -> list[NDArray[np.float32]]:
    [level] = [each for each in judged.summary.levels if each.level == label]
    return block_samples(run_dir / "journal.jsonl", level)


def _locked(folder: Path, judged: JudgedRun) -> Iterator[str]:
    """Keep what else was installed, so that the build can be run again as it was."""
    text, wanted = lock_text(), judged.manifest.build.lock
    if wanted and lock_digest(text) == wanted:
        keep_lock(folder, text)
    elif wanted:
        yield "what is installed has changed since the run, so its build could be run again only with what is here then"
