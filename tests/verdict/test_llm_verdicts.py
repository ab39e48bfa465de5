"""What is judged of calls to models: limits on their metrics, answers that are missing, a budget that was spent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.errors import UsageError
from harness.observation.manifest import LevelEnd
from harness.observation.observation import Outcome, StepRecord
from harness.scenario.models import Ask
from harness.scenario.scenario import Load, Work
from harness.scenario.shapes import Step
from harness.verdict.judge import judge_run
from harness.verdict.limits import load_limits
from harness.verdict.verdict import Verdict

if TYPE_CHECKING:
    from tests.conftest import RunBuilder

LIMITS = """
[limits."10"]
ttft_p95 = "< 1 s"
amplification = "< 1.1"
cost_per_success = "< 0.002 USD"
rate_limited = "< 5 %"
sdk_cpu = "< 150 %"
agent.data.ttft_p95 = "< 1 s"
agent.data.overhead_p50 = "< 600 ms"
"""


@pytest.fixture
def asking(run: RunBuilder) -> RunBuilder:
    """400 workflows, each of which asked a model once and was answered in half a second."""
    run.llm, run.limits, run.load = "simulated", LIMITS, Load(closed=(10,), measure=20.0)
    run.work, run.workflow_steps = Work(llm=Ask(model="some-model")), (Step(name="look", agent="data"),)
    for number in range(400):
        at, name = 10.0 + number / 20.1, f"w-{number}"
        run.workflow(1.0, id=name, intended=at, accepted=at, target_accepted=at, target_ended=at + 1.0,
                     steps=(step_of(at),))  # fmt: skip
        run.call(name, "look", at=at, stream=True, ttft_s=0.2)
    run.phases()
    run.resources(llm_cpu=0.1, sdk_cpu=0.2)
    return run


def step_of(at: float) -> StepRecord:
    """The only step of a workflow that was accepted then."""
    return StepRecord("look", "data", at, at, at + 0.9, Outcome.OK)


def verdict_of(run: RunBuilder) -> Verdict:
    """Of the run as it is so far."""
    return judge_run(run.write()).verdict


def test_limits_on_calls_to_models_hold(asking: RunBuilder) -> None:
    """Of the level and of an agent, in dollars and in plain numbers."""
    verdict = verdict_of(asking)
    assert verdict.word == "pass", verdict.sentences
    assert [check.result for check in verdict.checks if check.kind == "limit"] == ["held"] * 7


def test_a_broken_limit_on_them_is_named(asking: RunBuilder) -> None:
    """In its own unit."""
    for number in range(400):
        asking.call(f"w-{number}", "look", at=30.0, status=500, cost_usd=0.0015)
    verdict = verdict_of(asking)
    assert set(verdict.failed) == {'limits."10".amplification', 'limits."10".cost_per_success'}
    assert "level 10: cost_per_success is 0.0025 USD (n = 400); the limit is < 0.002 USD" in verdict.sentences


def test_a_limit_on_calls_that_nobody_made_is_inconclusive(run: RunBuilder) -> None:
    """A run without models cannot hold it."""
    run.sound()
    run.limits = '[limits."10"]\nttft_p95 = "< 1 s"\ncost_per_success = "< 0.002 USD"'
    verdict = verdict_of(run)
    assert (verdict.word, verdict.exit_code) == ("inconclusive", 3)
    assert all("was not measured" in sentence for sentence in verdict.sentences)


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ('cost = "< 0.002"', '"0.02 USD"'),
        ('ttft_p96 = "< 1 s"', "ttft_p95"),
        ('agent.data.ttft_p96 = "< 1 s"', "agent.data.ttft_p95"),
        ('agent.data.cost_per_success = "< 1 USD"', "agent.data.cost"),
        ('rate_limited = "< 150 %"', "never above 100 %"),
        ('amplification = "< 1.1 s"', "count"),
    ],
)
def test_a_mistake_in_such_a_limit_is_a_usage_error(tmp_path: Path, limit: str, sentence: str) -> None:
    """With the way out, as for any other metric."""
    path = tmp_path / "limits.toml"
    path.write_text(f'[limits."10"]\n{limit}')
    with pytest.raises(UsageError) as caught:
        load_limits(path, levels=["10"], agents=["data"], drain_s=30.0, target="embedded")
    [mistake] = caught.value.mistakes
    assert sentence in mistake


def test_an_ok_workflow_without_an_answer_fails_the_run(asking: RunBuilder) -> None:
    """One is enough: its finding came from nowhere."""
    asking.workflow(1.0, id="w-x")
    verdict = verdict_of(asking)
    assert verdict.failed == ('invariant."10".calls_missing',)
    assert "1 workflow ended ok without the answers of its models (w-x: look)" in verdict.sentences[0]


def test_beside_damaged_lines_that_is_not_proven(asking: RunBuilder) -> None:
    """The line of its call may be what cannot be read."""
    asking.workflow(1.0, id="w-x")
    folder = asking.write()
    with (folder / "calls.jsonl").open("ab") as file:
        file.write(b"{torn\n")
    verdict = judge_run(folder).verdict
    assert (verdict.word, verdict.failed) == ("inconclusive", ())


def test_calls_that_nobody_wrote_down_are_inconclusive(asking: RunBuilder) -> None:
    """The run should hold them."""
    del asking.others["calls.jsonl"]
    verdict = verdict_of(asking)
    assert (verdict.word, verdict.failed) == ("inconclusive", ())
    assert any("there is no calls.jsonl" in sentence for sentence in verdict.sentences)


def test_a_spent_budget_is_inconclusive(asking: RunBuilder) -> None:
    """What it cut off speaks for no outcome, and the levels after it were not run for a reason."""
    asking.levels, asking.load = ("10", "25"), Load(closed=(10, 25), measure=20.0)
    asking.limits = LIMITS + '[limits."25"]\np95 = "< 5 s"'
    asking.workflow(8.0, Outcome.UNKNOWN, id="w-x", censored=True)
    asking.opened("w-y", accepted=True)
    asking.ended[:] = [LevelEnd(level="10", status="budget_spent", message="0.5 of 0.5 USD were spent on models")]
    verdict = verdict_of(asking)
    assert (verdict.word, verdict.exit_code, verdict.failed) == ("inconclusive", 3, ())
    assert any(
        "ended early: 0.5 of 0.5 USD were spent on models; 2 workflows were in flight" in sentence
        for sentence in verdict.sentences
    )
    assert any("level 25 was not run" in sentence for sentence in verdict.sentences)


def test_a_limit_broken_when_the_budget_was_spent_is_not_proven(asking: RunBuilder) -> None:
    """From the cap on we refused calls ourselves: what failed of that is not the target's doing."""
    asking.limits = LIMITS + 'calls = "< 10"'
    asking.ended[:] = [LevelEnd(level="10", status="budget_spent", message="all")]
    verdict = verdict_of(asking)
    assert (verdict.word, verdict.failed) == ("inconclusive", ())
    assert any("refused ourselves at the end" in sentence for sentence in verdict.sentences)
