"""Several instances of the target behind one load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Instances of the target, each a process with state of its own. A workflow stays with the one it was sent to."""

    size: int = 1  # how many
    balance: Literal["round_robin", "least_loaded"] = "round_robin"  # least_loaded: fewest in flight of this sender's


def instances(fleet: Fleet | None) -> int:
    """How many there are."""
    return 1 if fleet is None else fleet.size
