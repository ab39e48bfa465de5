"""Everything that was written beside the journal while a level ran, read once and kept by level."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.observation import breakers, faults, history, ledger, llm
from harness.observation.breakers import BreakerEvent
from harness.observation.faults import FaultEvent
from harness.observation.journal import Damage, read_lines
from harness.observation.manifest import Manifest
from harness.observation.observation import AuditResult, CrashFired, HealthSample, ResourceSample
from harness.statistics.breakers import read_breakers
from harness.statistics.calls import LevelCalls, read_calls
from harness.statistics.crashes import read_crashes
from harness.statistics.faults import read_faults
from harness.statistics.health import read_health
from harness.statistics.histories import LevelHistory, read_history
from harness.statistics.ledger import LevelLedger, read_ledger
from harness.statistics.resources import read_resources
from harness.statistics.tally import Tally


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one level beside its journal. Without a file for it, `ledger`, `history`
    and `calls` are None."""

    samples: Sequence[ResourceSample] = ()
    health: Sequence[HealthSample] = ()
    crashes: Sequence[CrashFired] = ()
    audits: Sequence[AuditResult] = ()
    faults: Sequence[FaultEvent] = ()
    breakers: Sequence[BreakerEvent] = ()
    ledger: LevelLedger | None = None
    history: LevelHistory | None = None
    calls: LevelCalls | None = None


def read_evidence(run_dir: Path, manifest: Manifest, tally: Tally, damage: Damage) -> dict[str, Evidence]:
    """The run's other files, by level. Files that are not there hold nothing."""
    levels = manifest.levels
    began = {label: min(tally.levels[label].marks.values()) for label in levels if tally.levels[label].marks}
    samples = read_resources(run_dir / "resources.jsonl", damage)
    health = read_health(run_dir / "health.jsonl", damage)
    crashes = read_crashes(run_dir / "crashes.jsonl", damage)
    broken = read_faults(run_dir / faults.FILE, damage)
    opened = read_breakers(run_dir / breakers.FILE, damage)
    audits = _read_audits(run_dir / "audit.jsonl", damage)
    ledgers = read_ledger(run_dir / ledger.FILE, levels, damage)
    histories = read_history(run_dir / history.FILE, began, damage)
    calls = read_calls(run_dir / llm.FILE, damage)
    return {
        label: Evidence(
            samples=samples.get(label, ()),
            health=health.get(label, ()),
            crashes=crashes.get(label, ()),
            audits=audits.get(label, ()),
            faults=broken.get(label, ()),
            breakers=opened.get(label, ()),
            ledger=None if ledgers is None else ledgers[label],
            history=None if histories is None else histories.get(label, LevelHistory()),
            calls=None if calls is None else calls.get(label, LevelCalls()),
        )
        for label in levels
    }


def _read_audits(path: Path, damage: Damage) -> dict[str, list[AuditResult]]:
    found: defaultdict[str, list[AuditResult]] = defaultdict(list)
    if path.exists():
        for audit in read_lines(path, msgspec.json.Decoder(AuditResult), damage):
            found[audit.level].append(audit)
    return found
