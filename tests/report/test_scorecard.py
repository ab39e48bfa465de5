"""The scorecard of several broken runs."""

from __future__ import annotations

import io
from dataclasses import replace

import msgspec

from harness.report.scorecard import print_scorecard
from harness.statistics.metrics import Metric
from harness.verdict.control import Beside
from harness.verdict.judge import JudgedRun


def beside_control(run: JudgedRun) -> JudgedRun:
    """With a control arm that was quicker."""
    found = tuple(Beside(level="10", metric=name, broken=None, control=0.25) for name in ("success", "p95"))
    return replace(run, verdict=msgspec.structs.replace(run.verdict, beside=found))


def printed(*runs: JudgedRun) -> str:
    out = io.StringIO()
    print_scorecard(runs, out)
    return out.getvalue()


def test_a_row_a_level_and_the_words_counted(passed: JudgedRun, recovered: JudgedRun) -> None:
    """Broken and not, side by side; what was lost or done twice is in sight."""
    text = printed(passed, beside_control(recovered))
    lines = text.splitlines()
    assert lines[1] == "resilience"
    assert lines[2].split()[:5] == ["scenario", "level", "bites", "success", "control"]
    of_recovered = lines[-2].split()
    assert of_recovered[:4] == ["hand_written", "10", "breached", "9"]  # seven of the fault, two crashes
    assert "25" in of_recovered
    assert of_recovered[-2:] == ["0", "1"]
    assert lines[-1].startswith("2 runs: 1 pass, 1 failed")


def test_what_was_asked_is_told_beside_the_control_arm(passed: JudgedRun, recovered: JudgedRun) -> None:
    """Of the dependency that was asked most beyond it."""
    run = beside_control(recovered)
    [level] = run.summary.levels
    services = {"redis": {"commands": Metric(value=30.0, n=9)}, "postgres": {"commands": Metric(value=5.0, n=9)}}
    beside = tuple(
        Beside(level="10", metric=f"service.{name}.commands", broken=None, control=control)
        for name, control in (("redis", 12.0), ("postgres", 5.0))
    )
    told = replace(
        run,
        summary=msgspec.structs.replace(run.summary, levels=(msgspec.structs.replace(level, services=services),)),
        verdict=msgspec.structs.replace(run.verdict, beside=run.verdict.beside + beside),
    )
    assert "2.50x" in printed(passed, told).splitlines()[-2].split()


def test_one_run_or_none_that_was_broken_has_no_scorecard(passed: JudgedRun, recovered: JudgedRun) -> None:
    """The report says it all."""
    assert printed(passed, passed) == ""
    assert printed(beside_control(recovered)) == ""
