"""The scenarios in the repository: they load, each has limits, and each is what its name says."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.scenario.loading import Known, list_scenarios, load_scenario
from harness.scenario.scenario import Scenario
from harness.scenario.units import parse
from harness.verdict.limits import load_limits

ROOT = Path(__file__).parents[2]
KNOWN = Known(
    targets={"embedded", "http"},
    models={"haiku-4.5", "sonnet-4", "opus-4.5", "sonnet-4.5"},
    served={"gpt-4.1-mini": "openai", "claude-haiku-4-5": "anthropic"},
)
NAMES = (
    *("canary", "capacity_closed", "chain_enterprise", "chain_sequential", "chain_supervisor", "concurrent_workflows"),
    *("concurrent_workflows_weekly", "contention", "cpu_contention", "cpu_pattern", "fan_out", "memory_contention"),
    *("llm_anthropic", "llm_openai", "llm_rate_limited"),
    *("memory_pattern", "mixed_burst", "open_poisson", "pool_exhaustion", "queue_overflow", "queue_redis"),
    *("capacity_open", "ramp", "regression", "spike"),
    *("soak", "state_consistency", "state_fallback", "state_hot_key", "state_recovery", "state_shared_context"),
    *("state_ttl",),
)
LATENCIES = ("p50", "p95", "p99")


def shipped(name: str) -> Scenario:
    return load_scenario(ROOT / "scenarios" / f"{name}.toml", known=KNOWN)


def limits(name: str) -> dict[str, dict[str, Any]]:
    """Per level, the limits of both sections; a key of both is there twice, with its section in front."""
    document = tomllib.loads((ROOT / "baselines" / f"{name}.toml").read_text())
    assert document.keys() <= {"limits", "ours"}
    return {
        level: {
            f"{section}.{metric}": limit for section in document for metric, limit in document[section][level].items()
        }
        for level in document["limits"]
    }


def test_the_list_is_complete() -> None:
    """Nothing is shipped that these tests do not know, and the other way round."""
    listed = [(name, description) for _, name, description in list_scenarios(ROOT / "scenarios")]
    assert {name for name, _ in listed} >= set(NAMES)
    assert all(10 < len(description) <= 100 for _, description in listed), listed


@pytest.mark.parametrize("name", NAMES)
def test_every_level_limits_the_three_percentiles(name: str) -> None:
    """Limits exist for exactly the levels that run; p50, p95 and p99 are all among them."""
    of_level = limits(name)
    assert list(of_level) == [level.label for level in shipped(name).load.levels]
    for found in of_level.values():
        assert {key.partition(".")[2] for key in found} >= {"success", *LATENCIES}


@pytest.mark.parametrize("name", NAMES)
def test_limits_agree_with_their_scenario(name: str) -> None:
    """Metrics, units, levels and agents that the limits name exist; no limit contradicts another."""
    scenario = shipped(name)
    levels = [level.label for level in scenario.load.levels]
    found = load_limits(
        ROOT / "baselines" / f"{name}.toml",
        levels=levels,
        agents=list(scenario.agent),
        drain_s=scenario.load.drain,
        target=scenario.target,
    )
    assert {limit.level for limit in found.limits} == set(levels)


@pytest.mark.parametrize("name", NAMES)
def test_the_drain_outlasts_every_latency_limit(name: str) -> None:
    """A workflow that is still running when the drain ends has broken each of them."""
    drain_s = shipped(name).load.drain
    for found in limits(name).values():
        latencies = [limit for key, limit in found.items() if key.endswith(LATENCIES)]
        assert max(parse(limit.lstrip("<= "), "duration") for limit in latencies) <= drain_s


def test_the_floor_is_that_of_the_mission() -> None:
    """The main job's limits for any target, as they were asked for."""
    document = tomllib.loads((ROOT / "baselines" / "concurrent_workflows.toml").read_text())
    keys = ("success", "p95", "rss_peak", "error", "cpu")
    assert {level: tuple(found[key] for key in keys) for level, found in document["limits"].items()} == {
        "10": (">= 80 %", "< 5 s", "< 512 MiB", "< 5 %", "< 80 %"),
        "25": (">= 80 %", "< 10 s", "< 1 GiB", "< 20 %", "< 90 %"),
        "50": (">= 70 %", "< 30 s", "< 2 GiB", "< 30 %", "< 95 %"),
    }


def test_the_weekly_scenario_runs_the_same_workflows() -> None:
    """What the gate compares over the weeks is the main job, only longer."""
    main, weekly = shipped("concurrent_workflows"), shipped("concurrent_workflows_weekly")
    assert (weekly.load.until_ok, weekly.load.measure) == (2000, 900.0)
    same = replace(weekly, name=main.name, description=main.description, load=main.load)
    assert same == main
    assert weekly.load.closed == main.load.closed


def cpu_s_per_workflow(scenario: Scenario) -> float:
    """CPU seconds that the agents of an average workflow burn."""
    total = sum(
        workflow.weight * workflow.work.get(step.agent, scenario.agent[step.agent].work).cpu
        for workflow in scenario.workflow
        for step in workflow.declared_steps
    )
    return total / sum(workflow.weight for workflow in scenario.workflow)


@pytest.mark.parametrize(
    ("name", "cpu_s"),
    [("concurrent_workflows", 0.0062), ("cpu_contention", 0.15), ("cpu_pattern", 0.1), ("memory_contention", 0.0)],
)
def test_cpu_is_what_the_comments_compute(name: str, cpu_s: float) -> None:
    """The arithmetic in a file's comments is that of its numbers."""
    assert cpu_s_per_workflow(shipped(name)) == pytest.approx(cpu_s)


def test_mixed_burst_has_the_counts_it_is_named_for() -> None:
    """One deck of kinds is the whole burst, so the counts hold for every seed."""
    scenario = shipped("mixed_burst")
    assert {workflow.kind: workflow.weight for workflow in scenario.workflow} == {
        "simple": 20, "complex": 15, "data-intensive": 10, "optimization": 5,
    }  # fmt: skip
    assert scenario.load.burst == (50,)


def test_queue_overflow_rejects_exactly_what_does_not_fit() -> None:
    """Arrivals are slots + queue + 50, and the accepted ones end within their deadline and the drain."""
    scenario = shipped("queue_overflow")
    slots, queue = scenario.orchestrator.slots, scenario.orchestrator.queue
    assert scenario.load.burst == (slots + queue + 50,)
    assert scenario.load.burst_size is None
    (workflow,) = scenario.workflow
    (step,) = workflow.declared_steps
    assert scenario.agent[step.agent].pool >= slots
    rounds = (slots + queue) / slots
    assert rounds * scenario.agent[step.agent].work.wait < min(workflow.deadline, scenario.load.drain)


def test_pool_exhaustion_has_more_users_than_instances() -> None:
    """By the utilisation law the pool is the bottleneck: the other agent alone could serve all users at once."""
    scenario = shipped("pool_exhaustion")
    (users,) = scenario.load.closed
    assert (users, scenario.agent["data"].pool) == (75, 20)
    assert scenario.agent["triage"].pool >= users


def test_the_canary_breaks_its_limit_on_p50_and_no_other() -> None:
    """The built-in wait alone is longer than the limit on p50 and shorter than those on p95 and p99."""
    wait_s = shipped("canary").agent["data"].work.wait
    found = {key: parse(limit.lstrip("< "), "duration") for key, limit in limits("canary")["10"].items() if "p" in key}
    assert found["limits.p50"] < wait_s < found["limits.p95"] <= found["limits.p99"]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("chain_sequential", "sequential"),
        ("chain_supervisor", "supervisor"),
        ("chain_enterprise", "enterprise"),
        ("fan_out", "fan-out"),
    ],
)
def test_a_chain_runs_its_one_shape(name: str, shape: str) -> None:
    """Ten users, one kind, the shape of the name."""
    scenario = shipped(name)
    assert [workflow.shape for workflow in scenario.workflow] == [shape]
    assert scenario.load.closed == (10,)
