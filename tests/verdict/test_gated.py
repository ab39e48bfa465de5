"""A gated run's folder is judged again from its files alone, and says the same."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.errors import RunInvalid
from harness.verdict.baseline_file import read_baseline
from harness.verdict.gated import find_baseline
from harness.verdict.judge import judge_run
from tests.conftest import RunBuilder
from tests.verdict.gated_run import LIMITS, Gated, with_history


@pytest.fixture
def gated(run: RunBuilder, tmp_path: Path) -> Gated:
    return Gated(run, tmp_path)


def test_a_run_like_its_history_passes(gated: Gated) -> None:
    """And the sentence holds the change, its bound, and what would not have been seen."""
    with_history(gated)
    word, outcome, sentence = gated.judged()
    assert (word, outcome) == ("pass", "pass")
    assert "8 sittings, the newest of 3f2c1a0" in sentence
    assert "would not have been seen" in sentence


def test_judging_again_writes_the_same_bytes(gated: Gated) -> None:
    """Whatever was accepted meanwhile."""
    with_history(gated)
    gated.judged()
    first = (gated.run_dir / "verdict.json").read_bytes()
    gated.accept(-3.0, 2.0)
    judge_run(gated.run_dir)
    assert (gated.run_dir / "verdict.json").read_bytes() == first


def test_it_can_be_judged_against_what_lies_in_a_folder_now(gated: Gated) -> None:
    """`harness judge RUN --against DIR`."""
    with_history(gated)
    gated.judged()
    (gated.baselines / "hand_written.toml").write_text(LIMITS)
    elsewhere = judge_run(gated.run_dir, against=gated.baselines)
    assert elsewhere.verdict.word == "pass"
    gated.path.unlink()
    assert judge_run(gated.run_dir, against=gated.baselines).verdict.gate[0].decision.outcome == "learning"


def test_without_a_baseline_it_is_learning(gated: Gated) -> None:
    """Which is no pass."""
    word, outcome, sentence = gated.judged(no_duet={"10": "there is no baseline yet"})
    assert (word, outcome) == ("inconclusive", "learning")
    assert "0 of 5 sittings" in sentence
    assert "there is no baseline yet" in sentence


def test_a_young_baseline_says_what_it_would_see(gated: Gated) -> None:
    """Learning, with the minimum detectable effect."""
    for day in (3.0, 2.0, 1.0):
        gated.accept(day, 1.0 + day / 50)
    _, outcome, sentence = gated.judged()
    assert outcome == "learning"
    assert "3 of 5 sittings" in sentence
    assert "the smallest change at p95 that they would see is" in sentence


def test_another_python_is_not_compared_with(gated: Gated) -> None:
    """The conditions that differ are named."""
    with_history(gated, python="3.10.1")
    word, outcome, sentence = gated.judged()
    assert (word, outcome) == ("inconclusive", "learning")
    assert "python was 3.10.1 and is 3.11.7" in sentence


def test_slower_than_its_history_and_no_duet_is_suspect(gated: Gated) -> None:
    """Nobody is accused by the history alone."""
    with_history(gated, 0.7)
    word, outcome, sentence = gated.judged(no_duet={"10": "the build cannot be had"})
    assert (word, outcome) == ("suspect", "suspect")
    assert "the build cannot be had" in sentence


def test_a_duet_confirms_what_the_history_left_open(gated: Gated) -> None:
    """Side by side it regressed; the metrics that did are named, for CI to demand."""
    with_history(gated, 0.7)
    gated.duet(1.2)
    word, outcome, sentence = gated.judged()
    assert (word, outcome) == ("regressed", "regressed")
    assert "10 side-by-side pairs against 3f2c1a0" in sentence
    assert set(judge_run(gated.run_dir).verdict.failed) >= {'gate."10".p50', 'gate."10".p95'}


def test_a_duet_acquits(gated: Gated) -> None:
    """A slow day that both builds had."""
    with_history(gated, 0.7)
    gated.duet(1.0)
    assert gated.judged()[:2] == ("pass", "pass")


def test_a_duet_of_two_pairs_says_nothing(gated: Gated) -> None:
    """As one that was interrupted at its beginning."""
    with_history(gated, 0.7)
    gated.duet(1.2, 2, finished=False)
    word, outcome, sentence = gated.judged()
    assert (word, outcome) == ("suspect", "suspect")
    assert "only 2 whole pairs" in sentence


def test_a_broken_limit_outranks_the_gate(gated: Gated) -> None:
    """The worst is what is said first."""
    with_history(gated)
    (gated.run_dir / "limits.toml").write_text(LIMITS.replace("< 9 s", "< 0.5 s"))
    assert gated.judged()[0] == "failed: limit"


def test_an_edited_baseline_is_refused(gated: Gated) -> None:
    """It is not compared with, and the way out is named."""
    with_history(gated)
    gated.path.write_text(gated.path.read_text().replace("somebody", "nobody", 1))
    with pytest.raises(RunInvalid, match=r"not as it was written.*restore it"):
        gated.judged()


def test_a_baseline_of_another_machine_without_entries_is_passed_over(gated: Gated) -> None:
    """It says nothing of any build."""
    with_history(gated)
    baseline = msgspec.structs.replace(read_baseline(gated.path), epochs=(), entries=(), links=0)
    anchor = f"{baseline.scenario}\n{baseline.machine_class}\n{baseline.level}\n"
    elsewhere = gated.path.parents[1] / "another-class" / gated.path.name
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(msgspec.json.encode(msgspec.structs.replace(baseline, head=anchor)))
    gated.path.unlink()
    assert find_baseline(gated.baselines, "hand_written", gated.of_class, "10") is None
