"""The resilience catalogue: every row is whole, and six are walked, short: the fault bites, the promises hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.run.controlled import execute_controlled
from harness.run.listening import Interrupt, Silent
from harness.run.plan import Options, prepare
from harness.verdict.judge import judge_run

ROOT = Path(__file__).parents[2]
ROWS = sorted((ROOT / "scenarios" / "resilience").glob("*.toml"))
WALKED = (
    "a2_target_frozen",
    "b01_agent_cascade",
    "l6_lying_agent",
    "n4_reply_lost",
    "p3_tables_locked",
    "s3_redis_full",
)
PROMISES = ("corrupted", "lost", "dup_effects", "zombie_effects", "effects_missing")


@pytest.mark.parametrize("path", ROWS, ids=lambda path: path.stem)
def test_each_row_is_whole(path: Path) -> None:
    """Levels of 10, 25 and 50, something that breaks, a control arm, and limits that hold it to the promises."""
    plan = prepare(path, Options(), "")
    scenario = plan.scenario
    assert (10, 25, 50) in (scenario.load.closed, scenario.load.open)
    assert scenario.control
    assert scenario.fault or scenario.crash or scenario.outage or (scenario.llm and scenario.llm.fault)
    assert plan.limits_path is not None
    text = plan.limits_path.read_text()
    for promise in PROMISES:
        assert text.count(f'{promise} = "== 0"') == 3
    assert "# Hypothesis: " in path.read_text()


@pytest.mark.parametrize("name", WALKED)
def test_a_row_walked_short(name: str, tmp_path: Path) -> None:
    """Nothing is lost or done twice, the fault did bite, and the control arm stands beside it."""
    path = ROOT / "scenarios" / "resilience" / f"{name}.toml"
    plan = prepare(path, Options(levels=("10",), reports=tmp_path), "")
    judged = judge_run(execute_controlled(plan, Silent(), Interrupt(), lambda _: None))
    [level] = judged.summary.levels
    assert level.status == "complete", level.message
    assert level.not_fired == ()
    assert level.faults[0].bites > 0
    assert not [check.sentence for check in judged.verdict.checks if check.result == "breached"]
    assert {each.metric for each in judged.verdict.beside} >= {"success", "p95"}
