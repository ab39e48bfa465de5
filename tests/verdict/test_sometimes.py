"""What has to have happened: reached, or the run is inconclusive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.observation.observation import Outcome
from harness.verdict.judge import judge_run

if TYPE_CHECKING:
    from tests.conftest import RunBuilder

LOOSE = '[limits."10"]\np95 = "< 5 s"'


def wanting(run: RunBuilder, *names: str, retried: bool = True) -> None:
    """A sound run, one step of which was tried twice where `retried`, and one workflow of which failed."""
    run.sound()
    run.workflow(steps=(run.step(attempts=2 if retried else 1),))
    run.workflow(outcome=Outcome.FAILED, error_class="step_timeout")
    run.sometimes, run.limits = names, LOOSE


def test_what_happened_is_said_and_spoils_nothing(run: RunBuilder) -> None:
    """Metrics of the level, of agents, and classes of errors."""
    wanting(run, "retries", "agent.data.retries", "error.step_timeout")
    verdict = judge_run(run.write()).verdict
    held = [check.name for check in verdict.checks if check.name.startswith("sometimes.") and check.result == "held"]
    assert held == [
        'sometimes."10".retries',
        'sometimes."10".agent.data.retries',
        'sometimes."10".error.step_timeout',
    ]
    assert verdict.word == "pass"


def test_what_never_happened_is_no_pass(run: RunBuilder) -> None:
    """Nor a failure: nothing was shown."""
    wanting(run, "retries", "breaker_probes", "error.bulkhead_full", retried=False)
    verdict = judge_run(run.write()).verdict
    assert (verdict.word, verdict.exit_code) == ("inconclusive", 3)
    unsure = [check.sentence for check in verdict.checks if check.result == "unsure"]
    assert [sentence.split(" was to happen")[0] for sentence in unsure] == [
        "level 10: retries",
        "level 10: breaker_probes",
        "level 10: error.bulkhead_full",
    ]


def test_a_level_that_was_cut_is_not_asked(run: RunBuilder) -> None:
    """It may have come there, had it been let."""
    wanting(run, "breaker_probes")
    run.ended.clear()
    checks = judge_run(run.write()).verdict.checks
    assert not [check for check in checks if check.name.startswith("sometimes.")]
