"""Metrics of calls to models: which calls count, and what is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.observation.observation import Outcome, Phase
from harness.scenario.models import Ask
from harness.scenario.scenario import Work
from harness.scenario.shapes import Step
from harness.statistics.level import LevelSummary
from harness.statistics.metrics import LLM_METRICS
from harness.statistics.summary import summarise

if TYPE_CHECKING:
    from tests.conftest import RunBuilder

ASKS = Work(llm=Ask(model="some-model"))


@pytest.fixture
def asking(run: RunBuilder) -> RunBuilder:
    """Two workflows of measure, w-1 and w-2, whose only step asks a model; one of warm-up."""
    run.llm, run.work, run.workflow_steps = "simulated", ASKS, (Step(name="look", agent="data"),)
    for name, phase, at in (("w-0", Phase.WARMUP, 5.0), ("w-1", Phase.MEASURE, 15.0), ("w-2", Phase.MEASURE, 16.0)):
        run.workflow(1.0, id=name, phase=phase, intended=at, target_accepted=at, target_ended=at + 1.0)
    run.phases()
    run.resources(cpu=0.5, llm_cpu=0.2, sdk_cpu=0.3)
    return run


def level(run: RunBuilder) -> LevelSummary:
    """The run's only level."""
    [found] = summarise(run.write()).levels
    return found


def values(run: RunBuilder, *names: str) -> list[float | None]:
    """These metrics of it."""
    found = level(run)
    return [found.metric(name).value for name in names]


def test_a_run_without_calls_has_no_such_metric(run: RunBuilder) -> None:
    """They would be noise in every other report."""
    run.sound()
    assert not set(level(run).metrics) & set(LLM_METRICS)


def test_a_call_counts_if_its_workflow_does(asking: RunBuilder) -> None:
    """Even when it came after measure; those of warm-up's workflows do not, though they came within it."""
    asking.call("w-0", "look", at=12.0)
    asking.call("w-1", "look", at=31.0)
    asking.call("w-9", "look", at=15.0)
    assert values(asking, "attempts", "calls", "call_rate") == [1, 1, 1 / 20]


def test_a_call_without_a_name_counts_by_when_it_came(asking: RunBuilder) -> None:
    """A target that is not ours sends prompts of its own; the SDK says which requests are repeats."""
    for at, attempt in ((5.0, 0), (15.0, 0), (16.0, 1), (17.0, 0), (30.5, 0)):
        asking.call(at=at, agent="", attempt=attempt)
    assert values(asking, "attempts", "calls", "amplification") == [3, 2, 1.5]


def test_calls_that_name_only_their_workflow_are_counted_one_by_one(asking: RunBuilder) -> None:
    """A target that is not ours may have no steps: its calls are neither repeats nor doubled for that."""
    for at, attempt in ((15.0, 0), (15.6, 0), (16.2, 1)):
        asking.call("w-1", at=at, attempt=attempt)
    assert values(asking, "calls", "amplification", "calls_doubled") == [2, 1.5, 0]


def test_attempts_are_counted_against_what_was_meant(asking: RunBuilder) -> None:
    """Amplification, refusals and errors; a stream that was cut is an error though its status is 200."""
    asking.call("w-1", "look", at=15.0, status=429)
    asking.call("w-1", "look", at=15.1, status=500, attempt=1)
    asking.call("w-1", "look", at=15.2, complete=False, attempt=2)
    asking.call("w-1", "look", at=15.3, attempt=3)
    asking.call("w-2", "look", at=16.0)
    names = ("attempts", "calls", "amplification", "attempts_per_workflow", "rate_limited", "llm_errors")
    assert values(asking, *names) == [5, 2, 2.5, 2.5, 0.2, 0.4]


def test_cost_and_tokens_are_of_all_attempts(asking: RunBuilder) -> None:
    """What failed was paid, too; and what a workflow that failed had asked."""
    asking.workflow(1.0, Outcome.FAILED, id="w-3", intended=17.0)
    asking.workflow(None, Outcome.NOT_STARTED, id="w-4", intended=17.0)
    asking.call("w-1", "look", complete=False, unread_tokens=9, output_tokens=2)
    asking.call("w-1", "look", at=15.7)
    asking.call("w-2", "look", at=16.0)
    asking.call("w-3", "look", at=17.0, cost_usd=0.003)
    names = ("input_tokens", "output_tokens", "unread_tokens", "cost", "cost_per_workflow", "cost_per_success")
    assert values(asking, *names) == pytest.approx([1200, 155, 9, 0.006, 0.002, 0.003])


def test_a_call_without_a_price_leaves_the_cost_unknown(asking: RunBuilder) -> None:
    """It was not free: a sum without it would be too small, and is not given."""
    asking.call("w-1", "look", cost_usd=0.001)
    asking.call("w-2", "look", cost_usd=None)
    assert values(asking, "cost", "cost_per_workflow", "cost_per_success") == [None, None, None]
    assert values(asking, "attempts", "output_tokens") == [2, 102]


def test_nothing_that_succeeded_has_no_cost_a_success(asking: RunBuilder) -> None:
    """Nothing divided by nothing is not measured."""
    asking.lines = [line for line in asking.lines if getattr(line, "id", "") not in ("w-1", "w-2")]
    asking.workflow(1.0, Outcome.FAILED, id="w-3")
    asking.call("w-3", "look")
    assert values(asking, "cost_per_workflow", "cost_per_success") == [pytest.approx(0.001), None]


def test_times_are_of_answered_calls(asking: RunBuilder) -> None:
    """First tokens and times a token of streams only; an answer of one token has no time between tokens."""
    asking.call("w-1", "look", took_s=1.1, stream=True, ttft_s=0.1)
    asking.call("w-2", "look", took_s=0.3, stream=True, ttft_s=0.2, output_tokens=1)
    asking.call("w-2", "look", took_s=9.0, stream=True, ttft_s=8.0, complete=False)
    asking.call("w-2", "plain", took_s=2.0, ttft_s=0.4)
    found = level(asking)
    assert [found.metric(name).n for name in ("ttft_p50", "tpot_p50", "llm_p50")] == [2, 1, 3]
    assert values(asking, "ttft_p99", "tpot_p50", "llm_p50", "llm_p99") == pytest.approx([0.2, 0.02, 1.1, 2.0])


def test_the_providers_own_lateness_is_told_apart(asking: RunBuilder) -> None:
    """What it had drawn is the call; what came on top, its own."""
    asking.call("w-1", "look", took_s=0.53, ended_planned_s=0.5, queued_s=0.2)
    asking.call("w-2", "look", took_s=0.5)
    assert values(asking, "llm_lateness_p99", "llm_queued_p95") == pytest.approx([0.03, 0.2])


def test_each_agent_has_its_own(asking: RunBuilder) -> None:
    """Also one that told of no step."""
    asking.call("w-1", "look")
    asking.call("w-1", "other", agent="stranger", status=529)
    agents = level(asking).agents
    assert agents["data"]["calls"].value == agents["stranger"]["calls"].value == 1
    assert [agents[name]["llm_errors"].value for name in ("data", "stranger")] == [0, 1]


def test_the_sdks_cpu_is_a_share_of_the_targets(asking: RunBuilder) -> None:
    """The host tells of both; the provider's own is beside them."""
    asking.call("w-1", "look")
    names = ("sdk_cpu", "sdk_share", "sdk_cpu_per_call", "llm_cpu", "llm_rss_peak")
    assert values(asking, *names) == pytest.approx([0.3, 0.6, 0.03, 0.2, 100 * 2**20])


def test_an_ok_workflow_without_its_answer_is_missing_a_call(asking: RunBuilder) -> None:
    """Asked is not answered; and warm-up counts, too."""
    asking.call("w-0", "look", at=5.0)
    asking.call("w-1", "look", complete=False)
    asking.call("w-2", "elsewhere")
    found = level(asking)
    assert found.metric("calls_missing").value == 2
    assert found.offenders["calls_missing"] == ("w-1: look", "w-2: look")


def test_a_call_that_was_answered_twice_is_doubled(asking: RunBuilder) -> None:
    """Paid for twice, and only one of them was used."""
    asking.call("w-1", "look")
    asking.call("w-1", "look", at=15.6)
    asking.call("w-2", "look", status=500)
    found = level(asking)
    assert found.metric("calls_doubled").value == 1
    assert found.offenders["calls_doubled"] == ("w-1 look",)


@pytest.mark.parametrize("written", [False, True])
def test_calls_that_nobody_wrote_down_are_missing_evidence(asking: RunBuilder, *, written: bool) -> None:
    """Without the file, or without a line of it, nothing is known of them."""
    if written:
        asking.others["calls.jsonl"] = []
    found = level(asking)
    assert len(found.missing) == 1
    assert "calls.jsonl" in found.missing[0]
    assert "calls_missing" not in found.metrics


def test_a_python_target_need_not_call(asking: RunBuilder) -> None:
    """Nobody declared that it would."""
    asking.target, asking.agents, asking.workflow_steps = "python:bot:run", (), ()
    asking.others["calls.jsonl"] = []
    assert level(asking).missing == ()


def test_a_damaged_line_is_counted(asking: RunBuilder) -> None:
    """No attempt lasts less than nothing."""
    asking.call("w-1", "look")
    asking.call("w-2", "look", took_s=-1.0)
    summary = summarise(asking.write())
    assert summary.unreadable == 1
    assert summary.levels[0].metric("attempts").value == 1


def test_overhead_is_found_from_the_runs_files(asking: RunBuilder) -> None:
    """A workflow of 1 s whose model took 0.75 s, and its step of 0.85 s; warm-up's does not count."""
    for name, at in (("w-0", 5.0), ("w-3", 15.0)):
        phase = Phase.WARMUP if at < 10 else Phase.MEASURE
        step = msgspec.structs.replace(asking.step(waited_s=0.1, took_s=0.75), name="look")
        stamps = {"target_accepted": at, "target_ended": at + 1.0}
        asking.workflow(1.0, id=name, phase=phase, intended=at, steps=(step,), **stamps)
        asking.call(name, "look", at=at, took_s=0.75)
    found = level(asking)
    assert found.metric("overhead_p50") == msgspec.structs.replace(found.metric("overhead_p50"), value=0.25, n=1)
    assert found.metric("overhead_share").value == pytest.approx(0.25)
    assert found.metric("agent.data.overhead_p99").value == pytest.approx(0.1)
