"""The files of a duet's folder: `duet.json`, what is compared; `arms.jsonl`, a line for each run of an arm."""

from __future__ import annotations

from typing import Literal

import msgspec

from harness.observation.build import Build

DUET_VERSION = 1
DUET_FILE = "duet.json"
ARMS_FILE = "arms.jsonl"
PAIRS_FOLDER = "pairs"
LOOKS = (10, 20, 30)
"""Pairs after which the duet is looked at; GATE.md, section 3, step 5."""
ARM_SHARE, ARM_WORKFLOWS = 5, 400
"""An arm of a pair drives a fifth of the gated run's workflows, and at least so many: with a tenth, as GATE.md has it,
thirty pairs find a p95 that is 10 % slower in 80 % of the simulated cases, with a fifth in 92 %."""

Side = Literal["a", "b"]
"""a: the baseline, b: the candidate."""


class ArmUsed(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two builds, as it was named and as it was found."""

    named: str  # as on the command line
    build: Build
    python: str  # interpreter of the target's host
    folder: str = ""  # from which a `python:` target is imported


class Duet(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared, and how."""

    schema_version: int = DUET_VERSION
    duet_id: str
    scenario: str
    level: str
    seed: int  # of the order of arms, and of what they drive
    pairs_max: int
    workflows: int  # successes an arm a pair; 0 where arms last `measure_s`
    a: ArmUsed
    b: ArmUsed
    command: str
    started_at: str
    measure_s: float | None = None
    finished: bool = False  # as many pairs were run as were wanted; else it was cut short


class ArmRun(msgspec.Struct, frozen=True, kw_only=True):
    """One arm of one pair was run: its folder lies in `pairs/` beside this file."""

    pair: int  # from 0
    side: Side
    first: bool  # of the pair
    run: str  # the folder's name
