"""A duet's folder, read back and judged."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.errors import RunInvalid
from harness.observation.build import Build
from harness.observation.duet import ARMS_FILE, DUET_FILE, PAIRS_FOLDER, ArmRun, ArmUsed, Duet, Side
from harness.observation.manifest import LevelEnd
from harness.statistics.reading import reading_of
from harness.statistics.summary import summarise
from harness.verdict.duet import judge_duet, read_duet
from tests.conftest import RunBuilder

USED = ArmUsed(named="HEAD", build=Build(kind="git", revision="3f2c1a0"), python="", folder="")
DUET = Duet(
    duet_id="d-1",
    scenario="hand_written",
    level="10",
    seed=1,
    pairs_max=10,
    workflows=200,
    a=USED,
    b=USED,
    command="harness duet HEAD . hand_written",
    started_at="2026-01-01T00:00:00+00:00",
    finished=True,
)
FULL = 10


class DuetBuilder:
    """A duet written by hand, arm by arm."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / PAIRS_FOLDER).mkdir(parents=True)
        self.describe(DUET)

    def describe(self, duet: Duet) -> None:
        """Write `duet.json`."""
        (self.folder / DUET_FILE).write_bytes(msgspec.json.encode(duet))

    def arm(self, pair: int, side: Side, *, died: bool = False, latency_s: float = 1.0) -> Path:
        """One arm, whole unless its target died."""
        name = f"{pair}-{side}"
        run = RunBuilder(self.folder / PAIRS_FOLDER / name)
        if died:
            run.phases(last="measure")
            run.ended.append(LevelEnd(level="10", status="target_died", message="it ended (exit 7)"))
        else:
            run.sound(100, latency_s=latency_s * (1 + 0.001 * pair))  # no two pairs are quite alike
        self.note(ArmRun(pair=pair, side=side, first=side == "a", run=name))
        return run.write()

    def note(self, run: ArmRun) -> None:
        """A line of `arms.jsonl`."""
        with (self.folder / ARMS_FILE).open("ab") as file:
            file.write(msgspec.json.encode(run) + b"\n")

    def pairs(self, count: int, *, slower: float = 1.0) -> None:
        """Whole pairs, the candidate slower by a factor."""
        for pair in range(count):
            self.arm(pair, "b", latency_s=slower)
            self.arm(pair, "a")


@pytest.fixture
def duet(tmp_path: Path) -> DuetBuilder:
    """A duet to be written by hand."""
    return DuetBuilder(tmp_path / "duet")


def test_a_pair_is_the_readings_of_both_arms(duet: DuetBuilder) -> None:
    """Baseline first, in the order of the pairs, whichever arm was run first."""
    runs = {(pair, side): duet.arm(pair, side) for pair, side in ((0, "b"), (0, "a"), (1, "a"), (1, "b"))}
    readings = {key: reading_of(summarise(run).levels[0]) for key, run in runs.items()}
    read = read_duet(duet.folder)
    assert list(read.pairs) == [(readings[0, "a"], readings[0, "b"]), (readings[1, "a"], readings[1, "b"])]
    assert read.problems == ()
    assert read.duet == DUET


def test_a_pair_counts_only_whole(duet: DuetBuilder) -> None:
    """An arm that died, one that is gone and one that was never run leave the other one alone; each is named."""
    duet.arm(0, "a")
    duet.arm(0, "b", died=True)
    duet.note(ArmRun(pair=1, side="a", first=True, run="gone"))
    duet.arm(1, "b")
    duet.arm(2, "a")
    duet.arm(2, "b")
    duet.arm(3, "a")
    read = read_duet(duet.folder)
    assert len(read.pairs) == 1
    died, gone = read.problems
    assert died == "pair 1, candidate: target died: it ended (exit 7)"
    assert gone.startswith("pair 2, baseline: ")
    assert gone.endswith("is not a run: it has no run.json")


def test_a_line_that_was_cut_costs_its_arm_alone(duet: DuetBuilder) -> None:
    """As a killed process leaves it."""
    duet.arm(0, "a")
    duet.arm(0, "b")
    duet.arm(1, "a")
    with (duet.folder / ARMS_FILE).open("ab") as file:
        file.write(b'{"pair":1,"si')
    read = read_duet(duet.folder)
    assert len(read.pairs) == 1
    assert read.problems == ()


def test_a_damaged_line_is_told(duet: DuetBuilder) -> None:
    """It was an arm."""
    duet.arm(0, "a")
    with (duet.folder / ARMS_FILE).open("ab") as file:
        file.write(b"damaged\n")
    duet.arm(0, "b")
    read = read_duet(duet.folder)
    assert len(read.pairs) == 1
    assert read.problems == ("1 damaged lines in arms.jsonl were left out",)


def test_what_is_no_duet_is_refused(duet: DuetBuilder) -> None:
    """With its place."""
    with pytest.raises(RunInvalid, match=r"pairs/duet.json cannot be read"):
        read_duet(duet.folder / PAIRS_FOLDER)
    (duet.folder / DUET_FILE).write_text('{"duet_id": 7}')
    with pytest.raises(RunInvalid, match=r"duet.json cannot be read: .*duet_id"):
        read_duet(duet.folder)
    duet.describe(msgspec.structs.replace(DUET, schema_version=99))
    with pytest.raises(RunInvalid, match="has schema version 99; this harness reads 1"):
        read_duet(duet.folder)


@pytest.mark.parametrize(
    ("slower", "word", "exit_code"), [(1.0, "pass", 0), (0.8, "improved", 0), (1.3, "regressed", 1)]
)
def test_a_duet_is_judged_by_its_pairs(slower: float, word: str, exit_code: int, duet: DuetBuilder) -> None:
    """The candidate is the same, faster or slower beyond doubt; the sentence names what it was compared with."""
    duet.pairs(FULL, slower=slower)
    judged = judge_duet(duet.folder)
    assert (judged.word, judged.exit_code) == (word, exit_code)
    assert judged.gate.pairs == FULL
    assert "hand_written" in judged.sentences[0]


def test_a_duet_that_was_cut_short_passes_nothing(duet: DuetBuilder) -> None:
    """Nobody knows what the pairs would have said that were not run; what is certain already stands."""
    duet.describe(msgspec.structs.replace(DUET, finished=False))
    duet.pairs(FULL)
    judged = judge_duet(duet.folder)
    assert (judged.word, judged.exit_code) == ("incomplete", 4)
    assert judged.sentences[0] == "the duet was cut short"


def test_two_pairs_say_nothing(duet: DuetBuilder) -> None:
    """Not even when they agree."""
    duet.pairs(2, slower=2.0)
    judged = judge_duet(duet.folder)
    assert (judged.word, judged.exit_code) == ("inconclusive", 3)
