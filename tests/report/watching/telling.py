"""What a load process says of its progress, for the tests of what shows it."""

from __future__ import annotations

from typing import Any

from harness.load.control import Progress
from harness.report.watching.state import RunState


def tell(state: RunState, ok: int, **fields: Any) -> None:
    """So many were ok at level 25, a second for each unless told otherwise."""
    usual = {"at": float(ok), "phase": "measure", "users": 1, "in_flight": 1, "failed": 0, "not_started": 0}
    state.report("25", Progress(ok=ok, **{**usual, **fields}), None)
