"""Baselines: accepted runs of one level on one class of machines, append-only, each link of the chain checked.

`baselines/<scenario>/<machine class>/<level>.json` holds the entries, a `.npz` beside it the exact samples of each.
Only `harness baseline` writes there, never a run. What can be derived (centre, spread, what could be seen) is not
stored.
"""

from __future__ import annotations

import msgspec

from harness.observation.build import Build
from harness.statistics.reading import Reading
from harness.verdict.fingerprint import Fingerprint

BASELINE_VERSION = 1
WINDOW_RUNS = 20
WINDOW_DAYS = 90
SITTING_GAP_MIN = 10.0
"""A run that starts later than this after the end of the one before it, on the same machine, begins a new sitting."""
SITTINGS_MIN, DAYS_MIN = 5, 2
SITTINGS_GATING = 10


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One accepted run of the level."""

    run: str  # its id
    started_at: str  # ISO 8601, UTC
    sitting: str  # the id of its first run: runs of one sitting are one observation of the machine
    epoch: int
    accepted_at: str
    accepted_by: str
    verdict: str
    build: Build
    fingerprint: Fingerprint
    reading: Reading
    reference: Reading | None = None  # of the frozen reference scenario, in the same sitting
    samples: str = ""  # the .npz beside this file
    samples_sha256: str = ""
    checksum: str = ""  # SHA-256 of the entry without it, and of the checksum before it: nothing can be edited or cut


class Epoch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """From here on the level is meant to be as it is then: earlier entries are kept, and not compared with."""

    number: int
    began_at: str
    by: str
    why: str
    checksum: str = ""


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """One level's file."""

    schema_version: int = BASELINE_VERSION
    scenario: str
    level: str
    machine_class: str
    links: int = 0  # epochs and entries
    head: str = ""  # the checksum of the last of them
    epochs: tuple[Epoch, ...]
    entries: tuple[Entry, ...]
