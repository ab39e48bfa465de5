"""Promises counted from a witness: a single broken one fails a run, and one that cannot be known never passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.observation.manifest import ServiceUsed
from harness.observation.observation import Outcome
from harness.scenario.scenario import Crash, Outage, Work
from harness.scenario.shapes import Step
from harness.statistics.summary import Summary
from harness.verdict.judge import JudgedRun, judge_run

if TYPE_CHECKING:
    from tests.conftest import RunBuilder

LIMITS = '[limits."10"]\nsuccess = ">= 80 %"'
REDIS = ServiceUsed(service="redis", provider="embedded", version="9.1.2", address="127.0.0.1:4711")


@pytest.fixture
def durable(run: RunBuilder) -> RunBuilder:
    """A run that uses everything: effects, a shared document, both stores, a service, a crash. Nothing is wrong."""
    run.limits = LIMITS
    run.state, run.services = "both", (REDIS,)
    run.work, run.workflow_steps = Work(effect=True, update=("hot",)), (Step(name="pay", agent="data"),)
    run.crash = Crash(kill=("after_effect",))
    run.crashed("after_effect", 20.0)
    for number in range(1, 401):
        at = 10.0 + number / 20.1
        run.workflow(0.5, id=f"10-{number}", intended=at, accepted=at, target_accepted=at, target_ended=at + 0.5)
        run.effect(f"10-{number}", "pay")
        run.update(f"10-{number}/pay", number, at)
    run.phases()
    run.resources()
    run.health(*[0.001] * 30)
    run.audit(400)
    return run


def judged(run: RunBuilder) -> JudgedRun:
    """The verdict on the run as written."""
    return judge_run(run.write())


def test_a_run_whose_promises_all_hold_passes(durable: RunBuilder) -> None:
    """Each of them is named, with how much was looked at."""
    verdict = judged(durable).verdict
    assert (verdict.word, verdict.sentences) == ("pass", ("all 1 limits held, and 8 invariants",))
    counted = {
        check.metric: check.measured.n for check in verdict.checks if check.kind == "invariant" and check.measured
    }
    assert counted == {
        "lost": 400, "duplicates": 400, "corrupted": 400, "dup_effects": 400, "zombie_effects": 400,
        "effects_missing": 400, "lost_updates": 400, "store_differences": 400,
    }  # fmt: skip


def lost(run: RunBuilder) -> str:
    run.workflow(id="10-900", outcome=Outcome.UNKNOWN, accepted=15.0, censored=True, error_class="censored")
    return "10-900"


def dup_effects(run: RunBuilder) -> str:
    run.effect("10-7", "pay")
    return "10-7 pay (2 times)"


def zombie_effects(run: RunBuilder) -> str:
    run.effect("10-900", "pay", owner=2)
    run.effect("10-901", "pay", owner=1, token=4)
    return "10-901 pay (owner 1, token 4)"


def effects_missing(run: RunBuilder) -> str:
    run.workflow(id="10-900")
    return "10-900: pay"


def lost_updates(run: RunBuilder) -> str:
    run.update("10-900/pay", 7)
    return "duplicate_version: hot: version 7 was made by 10-7/pay and by 10-900/pay: one of them is lost"


def store_differences(run: RunBuilder) -> str:
    run.audit(1, "workflow/10-7")
    return "workflow/10-7: version 3 in PostgreSQL, 2 in Redis"


BROKEN = [lost, dup_effects, zombie_effects, effects_missing, lost_updates, store_differences]


@pytest.mark.parametrize("breaks", BROKEN)
def test_a_single_broken_promise_fails_the_run_and_names_who_broke_it(
    durable: RunBuilder, breaks: Callable[[RunBuilder], str]
) -> None:
    """In the sentence, and in the summary that is written."""
    offender = breaks(durable)
    found = judged(durable)
    name = breaks.__name__
    assert (found.verdict.word, found.verdict.exit_code) == ("failed: invariant", 1)
    assert found.verdict.failed == (f'invariant."10".{name}',)
    assert offender in found.verdict.sentences[0]
    written = msgspec.json.decode((found.run_dir / "summary.json").read_bytes(), type=Summary)
    assert offender in written.levels[0].offenders[name]


def test_a_sentence_names_the_first_and_counts_the_rest(durable: RunBuilder) -> None:
    """The report has more of them."""
    for number in range(1, 11):
        durable.effect(f"10-{number}", "pay")
    [sentence] = judged(durable).verdict.sentences
    assert sentence == (
        "level 10: 10 effects were performed more than once "
        "(10-1 pay (2 times); 10-2 pay (2 times); 10-3 pay (2 times) and 7 more)"
    )


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("ledger.jsonl", "the scenario declares effects, and there is no ledger.jsonl of a witness"),
        ("history.jsonl", "shared documents are updated, and there is no history.jsonl of it"),
        ("health.jsonl", "redis was used, and health.jsonl holds no sample of it"),
        ("audit.jsonl", "state was kept in both stores, and audit.jsonl holds no comparison of them"),
        ("crashes.jsonl", "the fault did not fire: kill at after_effect"),
    ],
)
@pytest.mark.parametrize("left", [None, b""])
def test_missing_evidence_is_never_a_pass(durable: RunBuilder, file: str, sentence: str, left: bytes | None) -> None:
    """Each file on its own: one that is not there, and one in which nothing is."""
    folder = durable.write()
    if left is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(left)
    verdict = judge_run(folder).verdict
    if (file, left) == ("ledger.jsonl", b""):  # a witness that saw nothing says that nothing was done
        assert verdict.failed == ('invariant."10".effects_missing',)
        return
    assert (verdict.word, verdict.exit_code) == ("inconclusive", 3)
    expected = sentence.replace("there is no history.jsonl of it", "history.jsonl holds nothing of it")
    assert (sentence if left is None else expected) in verdict.sentences[0]


@pytest.mark.parametrize(
    ("file", "breaks"), [("ledger.jsonl", effects_missing), ("history.jsonl", lost_updates), ("journal.jsonl", lost)]
)
def test_what_damaged_lines_may_explain_is_not_proven(
    durable: RunBuilder, file: str, breaks: Callable[[RunBuilder], str]
) -> None:
    """The line that cannot be read may be the one that is missed."""
    breaks(durable)
    folder = durable.write()
    with (folder / file).open("ab") as lines:
        lines.write(b"{broken}\n")
    verdict = judge_run(folder).verdict
    assert (verdict.word, verdict.failed) == ("inconclusive", ())
    assert any("damaged lines let us see" in sentence for sentence in verdict.sentences)


def test_what_was_done_twice_was_done_twice_whatever_else_is_damaged(durable: RunBuilder) -> None:
    """Two lines of the witness are proof."""
    dup_effects(durable)
    folder = durable.write()
    with (folder / "ledger.jsonl").open("ab") as lines:
        lines.write(b"{broken}\n")
    assert judge_run(folder).verdict.word == "failed: invariant"


def test_an_outage_that_did_not_show_is_inconclusive(durable: RunBuilder) -> None:
    """What was to be tested was not."""
    durable.outage = (Outage(service="redis", at=5.0, lasts=2.0),)
    verdict = judged(durable).verdict
    assert verdict.word == "inconclusive"
    assert "no sample shows redis away 5 s into measure" in verdict.sentences[0]


def test_a_run_in_memory_is_asked_for_none_of_it(run: RunBuilder) -> None:
    """No effects, no documents, no services: the three promises that always hold."""
    run.limits = LIMITS
    run.sound()
    verdict = judged(run).verdict
    assert verdict.word == "pass"
    assert [check.metric for check in verdict.checks if check.kind == "invariant"] == [
        "lost",
        "duplicates",
        "corrupted",
    ]
