"""A gated run's folder is judged again from its files alone, and says the same."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from harness.errors import RunInvalid
from harness.observation.build import Build
from harness.observation.duet import ARMS_FILE, DUET_FILE, PAIRS_FOLDER, ArmRun, ArmUsed, Duet
from harness.observation.manifest import read_manifest
from harness.statistics.reading import Reading, reading_of
from harness.statistics.summary import summarise
from harness.verdict.baseline import Entry
from harness.verdict.baseline_file import append, baseline_path
from harness.verdict.fingerprint import fingerprint, machine_class
from harness.verdict.gated import GATE_FILE, GateFacts, duet_folder
from harness.verdict.judge import judge_run
from tests.conftest import RunBuilder

STARTED = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
LIMITS = '[limits."10"]\nsuccess = ">= 90 %"\np50 = "< 9 s"\np95 = "< 9 s"\np99 = "< 9 s"\n'


def slower(reading: Reading, scale: float) -> Reading:
    """The same run, `scale` times as slow."""
    blocks = tuple(
        msgspec.structs.replace(block, p50=(block.p50 or 0) * scale, p95=(block.p95 or 0) * scale)
        for block in reading.blocks
    )
    quantiles = {name: value * scale for name, value in reading.quantiles.items()}
    return msgspec.structs.replace(reading, blocks=blocks, quantiles=quantiles)


class Gated:
    """A run of 800 workflows of 1 s, and baselines like it."""

    def __init__(self, run: RunBuilder, tmp_path: Path) -> None:
        run.limits = LIMITS
        run.sound(800)
        self.builder, self.run_dir, self.baselines = run, run.write(), tmp_path / "baselines"
        self.manifest = read_manifest(self.run_dir)
        self.reading = reading_of(summarise(self.run_dir).levels[0])
        self.of_class = machine_class(self.manifest.machine)
        self.path = baseline_path(self.baselines, "hand_written", self.of_class, "10")

    def accept(self, days_ago: float, scale: float = 1.0, **changed: str) -> None:
        """Add an entry to the baseline."""
        at = (STARTED - timedelta(days=days_ago)).isoformat()
        append(
            self.path,
            Entry(
                run=f"run-{days_ago}",
                started_at=at,
                sitting=f"run-{days_ago}",
                epoch=1,
                accepted_at=at,
                accepted_by="somebody",
                verdict="pass",
                build=Build(kind="git", revision="3f2c1a0" * 5),
                fingerprint={**fingerprint(self.run_dir, self.manifest), "reference": "none", **changed},
                reading=slower(self.reading, scale),
            ),
        )

    def judged(self, **facts: object) -> tuple[str, str, str]:
        """Verdict, the gate's outcome of level 10, and its sentence."""
        stored = GateFacts(baselines={"10": str(self.path)} if self.path.exists() else {}, **facts)  # type: ignore[arg-type]
        (self.run_dir / GATE_FILE).write_bytes(msgspec.json.encode(stored))
        verdict = judge_run(self.run_dir).verdict
        [gate] = verdict.gate
        return verdict.word, gate.decision.outcome, gate.sentence

    def duet(self, scale: float, count: int = 10, *, finished: bool = True) -> None:
        """A duet in which the candidate is `scale` times as slow; its arms are real folders of runs."""
        folder = duet_folder(self.run_dir, "10")
        side = ArmUsed(named="x", build=Build(), python="")
        duet = Duet(
            duet_id="d", scenario="hand_written", level="10", seed=1, pairs_max=30, workflows=200, a=side, b=side,
            command="harness duet 3f2c1a0 . hand_written", started_at=STARTED.isoformat(), finished=finished,
        )  # fmt: skip
        lines = []
        for pair in range(count):
            for name, seconds in (("a", 1.0), ("b", scale * (1 + 0.002 * (pair % 3)))):
                arm = RunBuilder(folder / PAIRS_FOLDER / f"{pair}{name}")
                arm.sound(100, latency_s=seconds)
                arm.write()
                lines.append(ArmRun(pair=pair, side=name, first=name == "a", run=f"{pair}{name}"))  # type: ignore[arg-type]
        (folder / DUET_FILE).write_bytes(msgspec.json.encode(duet))
        (folder / ARMS_FILE).write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


@pytest.fixture
def gated(run: RunBuilder, tmp_path: Path) -> Gated:
    return Gated(run, tmp_path)


def with_history(gated: Gated, scale: float = 1.0, **changed: str) -> None:
    """Eight sittings on eight days, that differ by a percent."""
    for day in range(8, 0, -1):
        gated.accept(day, scale * (1.01 if day % 2 else 0.99), **changed)


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
