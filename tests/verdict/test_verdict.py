"""The word and the exit code: nothing measured is never a pass, and a breach stands whatever else is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.observation.manifest import LevelEnd, read_manifest, sizes_of
from harness.observation.observation import Outcome
from harness.verdict.judge import judge_run
from harness.verdict.verdict import EXIT_CODES, Verdict

if TYPE_CHECKING:
    from tests.conftest import RunBuilder

LIMITS = '[limits."10"]\nsuccess = ">= 80 %"\np95 = "< 5 s"\nrss_peak = "< 512 MiB"'


UNCONCERNED = '[limits."10"]\nduplicates = "== 0"'
"""Limits that say nothing about what is doubtful in a run."""


def verdict_of(run: RunBuilder, limits: str | None = LIMITS) -> Verdict:
    """The verdict on the run as written."""
    run.limits = limits
    return judge_run(run.write()).verdict


def test_a_sound_run_within_its_limits_passes(run: RunBuilder) -> None:
    """And says how many limits that was."""
    run.sound()
    verdict = verdict_of(run)
    assert (verdict.word, verdict.exit_code, verdict.failed) == ("pass", 0, ())
    assert verdict.sentences == ("all 3 limits held, and 3 invariants",)


def test_a_broken_limit_fails_by_its_name(run: RunBuilder) -> None:
    """The name is what CI demands."""
    run.sound(latency_s=6.0)
    verdict = verdict_of(run)
    assert (verdict.word, verdict.exit_code) == ("failed: limit", 1)
    assert verdict.failed == ('limits."10".p95',)
    assert verdict.sentences == ("level 10: p95 is 6 s (n = 400), at least 6 s at 95 %; the limit is < 5 s",)


def test_a_suspicion_is_inconclusive(run: RunBuilder) -> None:
    """One of ten is beyond: that proves nothing about p95."""
    run.workflows(9)
    run.workflow(9.0)
    run.phases()
    run.resources()
    verdict = verdict_of(run)
    assert (verdict.word, verdict.exit_code, verdict.failed) == ("inconclusive", 3, ())
    assert "would settle it" in verdict.sentences[0]


def test_without_limits_nothing_is_a_pass(run: RunBuilder) -> None:
    """However sound the run is: there was nothing to hold it against, and the way out is named."""
    run.sound()
    verdict = verdict_of(run, limits=None)
    assert (verdict.word, verdict.exit_code, verdict.limits_judged) == ("inconclusive", 3, False)
    assert "no limits" in verdict.sentences[0]
    assert "baselines/" in verdict.sentences[0]


def test_limits_of_another_target_are_none(run: RunBuilder) -> None:
    """Those of `ours` say nothing of a target that is not ours: a pass by them alone would be one by nothing."""
    run.sound()
    run.target = "python:my_bot:run"
    verdict = verdict_of(run, limits='[ours."10"]\np95 = "< 1 ms"')
    assert (verdict.word, verdict.exit_code, verdict.limits_judged) == ("inconclusive", 3, False)
    assert "[ours] are for the embedded orchestrator alone" in verdict.sentences[0]


def test_a_pass_names_what_too_few_workflows_vouch_for(run: RunBuilder) -> None:
    """A value within its limit, whose 95 % bound is not, holds; the verdict claims no more than that."""
    run.sound()
    verdict = verdict_of(run)
    assert verdict.word == "pass"
    assert not any(check.by_value for check in verdict.checks)
    few = verdict_of(run, LIMITS + '\ndegraded = "< 0.1 %"')  # 0 of 400: the true share may be 0.7 %
    assert few.word == "pass"
    assert [check.name for check in few.checks if check.by_value] == ['limits."10".degraded']
    assert "by its value alone" in few.sentences[1]
    assert 'limits."10".degraded' in few.sentences[1]


def test_a_run_in_which_nothing_succeeded_never_passes(run: RunBuilder) -> None:
    """Even if no limit speaks of success."""
    run.workflows(400, outcome=Outcome.FAILED)
    run.phases()
    run.resources()
    verdict = verdict_of(run, '[limits."10"]\np95 = "< 5 s"')
    assert (verdict.word, verdict.exit_code) == ("inconclusive", 3)
    assert "no workflow succeeded" in verdict.sentences[0]


def nothing_measured(run: RunBuilder) -> None:
    run.phases()
    run.resources()


def contaminated(run: RunBuilder) -> None:
    run.workflows(400)
    run.phases()
    run.resources(load_cpu=0.95)


def much_censored(run: RunBuilder) -> None:
    run.sound()
    for _ in range(30):
        run.workflow(30.0, Outcome.UNKNOWN, censored=True)


def never_closed(run: RunBuilder) -> None:
    run.sound()
    run.lines = [line for line in run.lines if getattr(line, "phase", "") != "end"]


def unaccounted(run: RunBuilder) -> None:
    run.sound()
    run.opened("asked", accepted=False)


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (nothing_measured, "measured"),
        (contaminated, "generator"),
        (much_censored, "censored"),
        (never_closed, "complete"),
        (unaccounted, "complete"),
    ],
)
def test_a_doubtful_run_never_passes(run: RunBuilder, spoil: Callable[[RunBuilder], None], name: str) -> None:
    """It is inconclusive, for a reason of its own."""
    spoil(run)
    verdict = verdict_of(run, UNCONCERNED)
    assert (verdict.word, verdict.exit_code) == ("inconclusive", 3)
    assert [check.name for check in verdict.checks if check.result == "unsure"] == [f'validity."10".{name}']


def test_a_breach_stands_in_a_doubtful_run(run: RunBuilder) -> None:
    """Validity spoils passes only."""
    run.workflows(400, 6.0)
    run.phases()
    run.resources(load_cpu=0.95)
    assert verdict_of(run).word == "failed: limit"


def test_damaged_lines_spoil_a_pass(run: RunBuilder) -> None:
    """What they said is not known."""
    run.sound()
    folder = run.write()
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(b"{broken}\n")
    assert judge_run(folder).verdict.word == "inconclusive"


def lost(run: RunBuilder) -> None:
    run.opened("promised", accepted=True)


def doubled(run: RunBuilder) -> None:
    run.workflow(id="twice")
    run.workflow(id="twice")


def corrupted(run: RunBuilder) -> None:
    run.workflow(outcome=Outcome.FAILED, error_class="corrupted")


@pytest.mark.parametrize(("breaks", "name"), [(lost, "lost"), (doubled, "duplicates"), (corrupted, "corrupted")])
def test_a_single_broken_promise_fails_the_run(
    run: RunBuilder, breaks: Callable[[RunBuilder], None], name: str
) -> None:
    """However many went well."""
    breaks(run)
    run.sound()
    verdict = verdict_of(run)
    assert (verdict.word, verdict.exit_code, verdict.failed) == (
        "failed: invariant",
        1,
        (f'invariant."10".{name}',),
    )


def test_a_loss_beside_damaged_lines_is_not_proven(run: RunBuilder) -> None:
    """The missing end may be the line that cannot be read."""
    run.opened("promised", accepted=True)
    run.sound()
    folder = run.write()
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(b"{broken}\n")
    assert judge_run(folder).verdict.word == "inconclusive"


def test_a_target_that_died_fails_the_run(run: RunBuilder) -> None:
    """Later levels were not run; that is a consequence, not a cut."""
    run.levels = ("10", "25")
    run.sound()
    run.ended = [LevelEnd(level="10", status="target_died", message="the target's process ended (exit -9)")]
    verdict = verdict_of(run, limits=None)
    assert (verdict.word, verdict.exit_code, verdict.failed) == ("failed: invariant", 1, ('invariant."10".alive',))
    assert "exit -9" in verdict.sentences[0]


@pytest.mark.parametrize("status", ["interrupted", "harness_failed"])
def test_a_run_that_was_cut_is_incomplete(run: RunBuilder, status: str) -> None:
    """Worse than a breach, which is named all the same."""
    run.sound(latency_s=6.0)
    run.ended = [LevelEnd(level="10", status=status, message="the disk is full")]  # type: ignore[arg-type]
    verdict = verdict_of(run)
    assert (verdict.word, verdict.exit_code) == ("incomplete", 4)
    assert verdict.failed == ('limits."10".p95',)
    assert "the disk is full" in verdict.sentences[0]


def test_a_killed_run_is_incomplete(run: RunBuilder) -> None:
    """What was measured is judged, and named so."""
    run.workflows(400)
    run.phases(last="measure")
    run.finished = False
    assert verdict_of(run).word == "incomplete"


def test_a_run_killed_between_levels_is_incomplete(run: RunBuilder) -> None:
    """All that ran was whole, but not all ran."""
    run.levels = ("10", "25")
    run.sound()
    run.finished = False
    assert verdict_of(run, limits=None).word == "incomplete"


def test_levels_that_were_never_run_make_a_run_incomplete(run: RunBuilder) -> None:
    """A person who interrupted between two levels."""
    run.levels = ("10", "25")
    run.sound()
    verdict = verdict_of(run, limits=None)
    assert verdict.word == "incomplete"
    assert verdict.sentences[0].startswith("level 25 was not run")


def test_a_failure_of_the_harness_after_all_levels_is_told(run: RunBuilder) -> None:
    """Such as processes that were left behind."""
    run.sound()
    run.ended.append(LevelEnd(level="", status="harness_failed", message="processes were left behind"))
    verdict = verdict_of(run)
    assert verdict.exit_code == 4
    assert "processes were left behind" in verdict.sentences[0]


def test_a_limit_on_what_was_not_measured_is_inconclusive(run: RunBuilder) -> None:
    """No resource samples, no memory."""
    run.workflows(400)
    run.phases()
    verdict = verdict_of(run)
    assert verdict.word == "inconclusive"
    assert any("rss_peak was not measured" in sentence for sentence in verdict.sentences)


def test_exit_codes_are_those_of_the_manual() -> None:
    """0 pass or improved, 1 failed or regressed, 3 not decided, 4 cut short."""
    assert {code: {word for word in EXIT_CODES if EXIT_CODES[word] == code} for code in (0, 1, 3, 4)} == {
        0: {"pass", "improved"},
        1: {"failed: limit", "failed: invariant", "regressed"},
        3: {"inconclusive", "suspect"},
        4: {"incomplete"},
    }


def test_what_could_not_be_removed_is_told_and_spoils_a_pass(run: RunBuilder) -> None:
    """Such as documents in a given server that went away."""
    run.sound()
    run.unremoved = ("the namespace 'h' in the redis at 127.0.0.1:1 could not be removed: ConnectionError",)
    verdict = verdict_of(run)
    assert verdict.word == "inconclusive"
    assert "remove it by hand" in verdict.sentences[0]


def test_a_service_that_was_away_unasked_spoils_a_pass(run: RunBuilder) -> None:
    """Whatever the limits say."""
    run.sound()
    run.health(*[0.001] * 15, *[None] * 5, *[0.001] * 10)
    verdict = verdict_of(run)
    assert verdict.word == "inconclusive"
    assert any("redis did not answer for 6.0 s" in sentence for sentence in verdict.sentences)


@pytest.mark.parametrize("name", ["ledger.jsonl", "history.jsonl", "health.jsonl", "journal.jsonl"])
@pytest.mark.parametrize("is_gone", [True, False])
def test_a_file_that_was_cut_or_removed_is_never_a_pass(run: RunBuilder, name: str, is_gone: bool) -> None:
    """The run wrote down how long its files were when it ended."""
    run.sound()
    run.effect("w0", "one")
    run.health(*[0.001] * 30)
    run.others.setdefault("history.jsonl", [])
    run.limits = LIMITS
    folder = run.write()
    path = folder / name
    whole = msgspec.structs.replace(read_manifest(folder), sizes={**sizes_of(folder), name: path.stat().st_size + 1})
    whole.write(folder)
    if is_gone and name != "journal.jsonl":
        path.unlink()
    verdict = judge_run(folder).verdict
    assert verdict.exit_code != 0
    assert any(f"not as the run left it: {name}" in sentence for sentence in verdict.sentences)
