"""From a run's files to its `summary.json`: the judge and the reports read nothing else of what was measured."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.errors import RunInvalid
from harness.observation.journal import Damage
from harness.observation.manifest import Manifest, read_manifest, sizes_of
from harness.statistics.declared import read_declared
from harness.statistics.evidence import read_evidence
from harness.statistics.level import LevelSummary, summarise_level
from harness.statistics.promises import RunFacts
from harness.statistics.tally import Tally

SUMMARY_VERSION = 1


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured in a run."""

    schema_version: int = SUMMARY_VERSION
    run_id: str
    scenario: str
    target: str
    seed: int
    finished: bool
    torn: int  # lines cut at the end of a file, as a killed process leaves
    unreadable: int  # other damaged lines of the run's files
    altered: tuple[str, ...]  # files of lines that are not as the run left them
    levels: tuple[LevelSummary, ...]


def summarise(run_dir: Path) -> Summary:
    """Read the run's files. Raises RunInvalid when they are not those of a run."""
    manifest = read_manifest(run_dir)
    declared = read_declared(run_dir)
    journal = run_dir / "journal.jsonl"
    tally, damage = Tally(), Damage()
    try:
        tally.read(journal)
    except OSError as error:
        raise RunInvalid(f"{journal} cannot be read: {error.strerror}") from None
    evidence = read_evidence(run_dir, manifest, tally, damage)
    run = RunFacts(manifest, declared, journal)
    in_flight_max = None if declared.load.closed else declared.load.in_flight_max
    return Summary(
        run_id=manifest.run_id,
        scenario=manifest.scenario,
        target=manifest.target,
        seed=manifest.seed,
        finished=manifest.finished,
        torn=tally.damage.torn + damage.torn,
        unreadable=tally.damage.unreadable + damage.unreadable,
        altered=_altered(run_dir, manifest),
        levels=tuple(
            summarise_level(label, run, tally.levels[label], evidence[label], in_flight_max)
            for label in manifest.levels
        ),
    )


def _altered(run_dir: Path, manifest: Manifest) -> tuple[str, ...]:
    """The files that are shorter or longer than when the run ended, or gone."""
    now = sizes_of(run_dir)
    return tuple(
        f"{name} ({size} bytes, and {now[name]} now)" if name in now else f"{name} ({size} bytes, and gone now)"
        for name, size in manifest.sizes.items()
        if now.get(name) != size
    )
