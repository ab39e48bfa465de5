"""`faults.jsonl`: what was broken, and when: a line for each turn of each fault, flushed before the turn is taken.

Whoever breaks something says so first; whoever reads knows of every fault that may have acted, also when the writer
was killed between the line and the act.
"""

from __future__ import annotations

from typing import Literal

import msgspec

FILE = "faults.jsonl"

Turn = Literal["begins", "began", "bit", "lifts", "lifted", "failed"]
"""begins, lifts: about to be done. began, lifted: done. bit: what it was to act on met it for the first time.
failed: could not be begun, or could not be lifted; `detail` says why."""


class FaultEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One turn of one fault. `at` is s from t0."""

    level: str
    fault: int  # its place among the scenario's faults
    kind: str
    turn: Turn
    at: float
    bites: int = 0  # lifted: how often it acted on something: calls, connections, bytes, whatever the kind counts
    detail: str = ""
