"""What is wrong with a folder of baselines, a line each with the way out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from harness.errors import RunInvalid
from harness.observation.ids import file_stem
from harness.verdict.baseline import WINDOW_DAYS, Baseline
from harness.verdict.baseline_file import read_baseline, read_samples
from harness.verdict.fingerprint import unlike
from harness.verdict.sittings import in_window


def findings(folder: Path, at: str) -> Iterator[str]:
    """Look at every baseline below `folder`; `at` (ISO 8601) is now."""
    for path in sorted(folder.glob("*/*/*.json")):
        try:
            baseline = read_baseline(path)
        except RunInvalid as error:
            yield str(error)
            continue
        for finding in _of_baseline(path, baseline, at):
            yield f"{path}: {finding}"
        yield from _strays(path, baseline)


def _of_baseline(path: Path, baseline: Baseline, at: str) -> Iterator[str]:
    place = (path.parent.parent.name, path.parent.name, path.stem)
    named = (baseline.scenario, baseline.machine_class, file_stem(baseline.level))
    if place != named:
        yield f"is the baseline of {'/'.join(named)}; move it back there"
    if not baseline.entries:
        yield "holds no run; accept one, or remove it"
        return
    for before, entry in zip(baseline.entries, baseline.entries[1:], strict=False):
        if entry.started_at < before.started_at:
            yield f"{entry.run} began before {before.run}, which stands before it: a clock ran backwards"
        if entry.epoch == before.epoch and (differs := unlike(entry.fingerprint, before.fingerprint)):
            yield f"{entry.run} was measured under other conditions, in no epoch of its own: {', '.join(differs)}"
    for entry in baseline.entries:
        if entry.build.dirty:
            yield f"{entry.run} is of a build that was never committed"
        try:
            if entry.samples:
                read_samples(path, entry)
        except RunInvalid as error:
            yield str(error)
    newest = datetime.fromisoformat(baseline.entries[-1].started_at)
    if newest > datetime.fromisoformat(at):
        yield f"{baseline.entries[-1].run} began in the future: a clock is wrong"
    elif not in_window(baseline, at):
        days = (datetime.fromisoformat(at) - newest) / timedelta(days=1)
        yield (
            f"expired: the newest run is {days:.0f} days old, and runs count for {WINDOW_DAYS} days and within their "
            "epoch; record new ones"
        )


def _strays(path: Path, baseline: Baseline) -> Iterator[str]:
    """Samples that no entry names."""
    known = {entry.samples for entry in baseline.entries}
    for file in sorted(path.parent.glob(f"{path.stem}.*.npz")):
        if file.name not in known:
            yield f"{file}: no entry names it; remove it"
    for file in sorted(path.parent.glob("*.part")):
        yield f"{file}: is left of a write that was cut short; remove it"
