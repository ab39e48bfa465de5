"""An orchestrator that does nothing: what the rig itself can drive, and no more.

`python:harness.target.null:run` answers every workflow at once. Whoever comes near its throughput has measured the
load processes and the wire, not the orchestrator.
"""

from __future__ import annotations

from harness.target.target import Watch, WorkflowRequest


async def run(request: WorkflowRequest, watch: Watch) -> dict[str, str]:
    """Done."""
    return {}
