"""Several instances of a target behind one load."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.observation.observation import ResourceSample
from harness.run.listening import Interrupt, Silent
from harness.run.plan import Options, prepare
from harness.run.run import execute
from harness.verdict.judge import judge_run

SCENARIO = """
name = "fleet"
time_scale = 0.05
description = "three of everything"
[load]
closed = [6]
warmup = "0 s"
measure = "1 s"
drain = "5 s"
[fleet]
size = 3
[state]
store = "redis"
[[workflow]]
kind = "job"
steps = [{ name = "only", agent = "data" }]
[agent.data]
pool = 2
work = { think = { model = "haiku-4.5", output_tokens = 5 } }
"""


def test_instances_have_a_process_and_a_namespace_each_and_are_measured_together(
    tmp_path: Path, redis_url: str
) -> None:
    """What one promises another does not know; pools and processes are summed; nothing is lost."""
    path = tmp_path / "fleet.toml"
    path.write_text(SCENARIO)
    plan = prepare(path, Options(reports=tmp_path / "reports", redis_url=redis_url), "harness run")
    run_dir = execute(plan, Silent(), Interrupt())
    [level] = judge_run(run_dir).summary.levels
    assert (level.status, level.metric("success").value) == ("complete", 1.0)
    assert level.metric("lost").value == 0
    lines = (run_dir / "resources.jsonl").read_bytes().splitlines()
    samples = [msgspec.json.decode(line, type=ResourceSample) for line in lines]
    hosts = [sample.host for sample in samples if sample.host is not None]
    assert {host.pools["data"].size for host in hosts if "data" in host.pools} == {6}
    assert max(sample.target.processes for sample in samples if sample.target is not None) >= 3
    assert {log.stem for log in (run_dir / "logs").glob("target-*.log")} == {"target-6", "target-6-2", "target-6-3"}
