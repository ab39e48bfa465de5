"""From a run's files to its `summary.json`: the judge and the reports read nothing else of what was measured."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.errors import RunInvalid
from harness.observation.journal import Damage
from harness.observation.manifest import read_manifest
from harness.scenario.scenario import Load
from harness.statistics.level import LevelSummary, summarise_level
from harness.statistics.resources import read_resources
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
    torn: int  # journal lines cut at the end of the file, as a killed process leaves
    unreadable: int  # other damaged lines of journal and resources
    levels: tuple[LevelSummary, ...]


class _Driven(msgspec.Struct):
    """The part of `scenario.json` that says how load was applied."""

    load: Load


def summarise(run_dir: Path) -> Summary:
    """Read the run's files. Raises RunInvalid when they are not those of a run."""
    manifest = read_manifest(run_dir)
    load = _read_load(run_dir)
    tally = Tally()
    try:
        tally.read(run_dir / "journal.jsonl")
    except OSError as error:
        raise RunInvalid(f"{run_dir / 'journal.jsonl'} cannot be read: {error.strerror}") from None
    damage = Damage()
    found = read_resources(run_dir / "resources.jsonl", damage)
    in_flight_max = None if load.closed else load.in_flight_max
    return Summary(
        run_id=manifest.run_id,
        scenario=manifest.scenario,
        target=manifest.target,
        seed=manifest.seed,
        finished=manifest.finished,
        torn=tally.damage.torn + damage.torn,
        unreadable=tally.damage.unreadable + damage.unreadable,
        levels=tuple(
            summarise_level(label, manifest, tally.levels[label], found.get(label, []), in_flight_max)
            for label in manifest.levels
        ),
    )


def _read_load(run_dir: Path) -> Load:
    try:
        return msgspec.json.decode((run_dir / "scenario.json").read_bytes(), type=_Driven).load
    except (OSError, msgspec.DecodeError) as error:
        raise RunInvalid(f"{run_dir / 'scenario.json'} cannot be read: {error}") from None
