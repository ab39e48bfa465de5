"""What GitHub shows beside the lines of a limits file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.report.annotations import Annotated, workflow_commands
from harness.verdict.judge import JudgedRun, judge_run

if TYPE_CHECKING:
    from tests.conftest import RunBuilder

ROOT = Path("/repository")
LIMITS_PATH = ROOT / "baselines" / "hand_written.toml"


def told(judged: JudgedRun, path: Path | None = LIMITS_PATH) -> list[str]:
    """Of one run."""
    return workflow_commands([Annotated(judged, path)], ROOT)


def test_a_run_that_passed_says_nothing(passed: JudgedRun) -> None:
    """There is no line to look at."""
    assert told(passed) == []


def test_a_broken_limit_is_told_at_its_line(run: RunBuilder) -> None:
    """File, line, title and the sentence, its percent signs escaped."""
    run.limits = '# first\n[limits."10"]\n\np95 = "< 1 s"\nsuccess = ">= 99 %"\n'
    run.workflows(400, 2.0)
    run.phases()
    run.resources()
    (line,) = told(judge_run(run.write()))
    head, _, message = line.removeprefix("::").partition("::")
    assert head == 'error file=baselines/hand_written.toml,line=4,title=hand_written%3A limits."10".p95'
    assert "2 s" in message
    assert "\n" not in line


def test_an_invariant_has_no_line(failed: JudgedRun) -> None:
    """It is written in no file; what is undecided is a warning."""
    lines = told(failed)
    assert any('title=hand_written%3A invariant."10".lost::' in line and "file=" not in line for line in lines)
    assert any(line.startswith("::warning ") for line in lines)
    assert all("\x1b" not in line for line in lines)


def test_the_eleventh_is_summed_up(run: RunBuilder) -> None:
    """GitHub would drop it without a word."""
    agents = tuple(f"agent{number}" for number in range(14))
    run.agents = agents
    run.limits = '[limits."10"]\n' + "".join(f'agent.{agent}.p95 = "< 1 ms"\n' for agent in agents)
    run.workflows(400, 2.0, steps=tuple(run.step(agent) for agent in agents))
    run.phases()
    run.resources()
    *shown, last = told(judge_run(run.write()))
    assert [line.split(" ")[0] for line in shown] == ["::error"] * 10
    assert last == "::notice title=harness::4 more errors: see the step summary, or report.md"


def test_a_file_elsewhere_is_named_whole(run: RunBuilder) -> None:
    """Limits that do not lie in the repository."""
    run.limits = '[limits."10"]\np95 = "< 1 s"\n'
    run.workflows(400, 2.0)
    run.phases()
    run.resources()
    (line,) = told(judge_run(run.write()), Path("/elsewhere/limits.toml"))
    assert "file=/elsewhere/limits.toml,line=2," in line
