"""What is wrong with a folder of baselines, a line each with the way out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from harness.errors import RunInvalid
from harness.observation.build import lock_digest
from harness.observation.ids import file_stem
from harness.verdict.baseline import WINDOW_DAYS, Baseline
from harness.verdict.baseline_file import LOCK_DIGITS, LOCKS, WAY_OUT, read_baseline, read_samples
from harness.verdict.fingerprint import unlike
from harness.verdict.sittings import in_window


def findings(folder: Path, at: str) -> Iterator[str]:
    """Look at every baseline below `folder`; `at` (ISO 8601) is now."""
    named: set[Path] = set()
    damaged: set[Path] = set()
    for path in sorted(folder.glob("*/*/*.json")):
        try:
            baseline = read_baseline(path)
        except RunInvalid as error:
            yield str(error)
            damaged.add(path.parent)
            continue
        named |= {path.parent / entry.samples for entry in baseline.entries if entry.samples}
        for finding in _of_baseline(path, baseline, at):
            yield f"{path}: {finding}"
    yield from _strays(folder, named, damaged)
    for file in sorted(folder.glob(f"*/{LOCKS}/*.txt")):
        if lock_digest(file.read_bytes().decode(errors="replace"))[:LOCK_DIGITS] != file.stem:
            yield f"{file}: is not as it was written; {WAY_OUT}"


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


def _strays(folder: Path, named: set[Path], damaged: set[Path]) -> Iterator[str]:
    """Samples that no entry of any level names; where a baseline cannot be read, nobody knows which are its own."""
    for file in sorted(folder.glob("*/*/*.npz")):
        if file not in named and file.parent not in damaged:
            yield f"{file}: no entry names it; remove it"
    for file in sorted(folder.glob("*/*/*.part")):
        yield f"{file}: is left of a write that was cut short; remove it"
