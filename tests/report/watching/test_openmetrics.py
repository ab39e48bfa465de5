"""The metrics of a running run, as Prometheus' own parser reads them; and the dashboard that asks for them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from harness.load.control import PhaseChanged, Progress
from harness.observation.manifest import LevelEnd
from harness.observation.observation import ProcessUse, ResourceSample
from harness.report.watching.openmetrics import exposition
from harness.report.watching.state import RunState

ROOT = Path(__file__).parents[3]
HOSTILE = 'a "level"\\ of\nthree lines {x="y"} # EOF'


@pytest.fixture
def state() -> RunState:
    """In the middle of a level with a hostile name, a fault acting."""
    state = RunState()
    state.scenario_began("some", 7)
    state.level_started(HOSTILE, 0, 2)
    state.report(HOSTILE, PhaseChanged("measure", 1.0, 21.0), None)
    use = ProcessUse(
        cpu_s=12.5, rss_bytes=2**27, fds=1, threads=1, switches_voluntary=1, switches_involuntary=1, processes=1
    )
    report = Progress(
        at=6.0, phase="measure", users=25, in_flight=7, ok=100, failed=9, unknown=4, not_started=2, p50_s=0.5,
        p95_s=1.5, p99_s=2.5,
    )  # fmt: skip
    state.report(HOSTILE, report, ResourceSample(HOSTILE, 6.0, target=use))
    state.faults_changed(["redis.full"])
    return state


def families(state: RunState) -> dict[str, Metric]:
    """By name. The parser refuses what OpenMetrics does not allow."""
    return {family.name: family for family in text_string_to_metric_families(exposition(state))}


def values(family: Metric, label: str) -> dict[str, float]:
    """A family's samples by one of their labels."""
    return {sample.labels[label]: sample.value for sample in family.samples}


def test_every_number_is_there_with_its_unit(state: RunState) -> None:
    """Counts by outcome, in flight, phase, level, percentiles, CPU, memory and faults."""
    found = families(state)
    assert values(found["harness_workflows"], "outcome") == {"ok": 100, "failed": 5, "unknown": 4, "not_started": 2}
    assert values(found["harness_latency_seconds"], "percentile") == {"p50": 0.5, "p95": 1.5, "p99": 2.5}
    assert values(found["harness_phase"], "harness_phase") == {"warmup": 0, "measure": 1, "drain": 0}
    assert values(found["harness_fault_active"], "fault") == {"redis.full": 1}
    single = {
        "harness_workflows_in_flight": 7, "harness_users": 25, "harness_level_number": 1, "harness_levels": 2,
        "harness_phase_left_seconds": 15, "harness_target_cpu_seconds": 12.5, "harness_faults_active": 1,
        "harness_target_resident_memory_bytes": 2**27, "harness_run": 1,
    }  # fmt: skip
    assert {name: found[name].samples[0].value for name in single} == single
    assert {family.unit for family in found.values() if family.name.endswith("_seconds")} == {"seconds"}
    assert found["harness_target_resident_memory_bytes"].unit == "bytes"
    assert {found[name].type for name in ("harness_workflows", "harness_target_cpu_seconds")} == {"counter"}
    assert all(family.documentation for family in found.values())


def test_hostile_labels_stay_labels(state: RunState) -> None:
    """What a scenario is called ends no line and begins no metric."""
    levels = {sample.labels["level"] for family in families(state).values() for sample in family.samples}
    assert levels == {HOSTILE}


def test_a_level_that_is_over_keeps_its_counters_and_loses_its_gauges(state: RunState) -> None:
    """A scrape may come after its end; a fault that was lifted reads 0."""
    state.level_ended(LevelEnd(level=HOSTILE, status="complete"))
    found = families(state)
    assert values(found["harness_workflows"], "outcome")["ok"] == 100
    assert values(found["harness_fault_active"], "fault") == {"redis.full": 0}
    gone = {"harness_latency_seconds", "harness_workflows_in_flight", "harness_target_resident_memory_bytes"}
    assert not gone & set(found)


def test_before_the_first_level_there_is_a_valid_answer() -> None:
    """A scrape may come early, too."""
    assert families(RunState()) == {}


def queries(node: object) -> Iterator[str]:
    """Every query of a dashboard, those of its variables and annotations included."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("expr", "query") and isinstance(value, str):
                yield value
            else:
                yield from queries(value)
    elif isinstance(node, list):
        for each in node:
            yield from queries(each)


def test_the_dashboard_asks_only_for_metrics_and_labels_that_exist(state: RunState) -> None:
    """`docs/grafana.json`: each panel has a query, and each name in one is exported."""
    dashboard = json.loads((ROOT / "docs" / "grafana.json").read_text())
    samples = [sample for family in families(state).values() for sample in family.samples]
    names, labels = {sample.name for sample in samples}, {label for sample in samples for label in sample.labels}
    asked = [query for query in queries(dashboard) if "harness_" in query]
    assert len(asked) > len(dashboard["panels"])
    assert all(list(queries(panel)) for panel in dashboard["panels"])
    for query in asked:
        assert set(re.findall(r"harness_\w+", query)) <= names, query
        assert set(re.findall(r"[{,]\s*(\w+)\s*[=!]", query)) <= labels, query
        assert set(re.findall(r"by \((\w+)\)", query)) <= labels, query
    shown = re.findall(r"\{\{(\w+)\}\}", json.dumps(dashboard))
    assert shown
    assert set(shown) <= labels


def test_the_page_on_watching_names_every_metric_and_no_other(state: RunState) -> None:
    """`docs/watching.md` against what is exported."""
    text = (ROOT / "docs" / "watching.md").read_text()
    exported = {sample.name for family in families(state).values() for sample in family.samples}
    assert set(re.findall(r"`(harness_\w+)`", text)) == exported
