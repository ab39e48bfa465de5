"""How a level ends when something around it does not work."""

from __future__ import annotations

from pathlib import Path

from harness.child import Children
from harness.observation.machine import this_machine
from harness.observation.manifest import Manifest
from harness.run.following import level_end
from harness.run.provider import LlmChoice
from harness.run.provisions import Provisions
from harness.run.stage import Stage
from harness.scenario.scenario import Load, Scenario, State, Workflow


def test_a_level_that_could_not_be_audited_is_not_whole(tmp_path: Path) -> None:
    """Nobody knows whether both stores hold the same: that is no pass, and the rest of the run is kept."""
    load = Load(closed=(1,))
    stage = Stage(
        scenario=Scenario(
            name="s", description="d", load=load, workflow=(Workflow(kind="job"),), state=State(store="both")
        ),
        folder=tmp_path,
        level=load.levels[0],
        index=0,
        run_dir=tmp_path,
        manifest=Manifest(
            run_id="20260101-000000-s-0000", scenario="s", target="embedded", seed=1, started_at="", command="",
            levels=("1",), machine=this_machine(), t0=0.0,
        ),
        children=Children("r", tmp_path),
        provisions=Provisions(base="harness_test"),  # neither server is there any more
        llm=LlmChoice(),
        socket=tmp_path / "s",
    )  # fmt: skip
    end = stage._audited(level_end(stage.level, "complete"))
    assert end.status == "harness_failed"
    assert "could not be compared" in end.message
    assert not (tmp_path / "audit.jsonl").exists()
