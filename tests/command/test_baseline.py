"""`harness baseline`: the commands as a person runs them, with their exit codes, and a run that is really recorded."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from harness.cli import main
from harness.observation.build import Build, lock_digest, lock_text
from harness.observation.manifest import read_manifest
from harness.verdict.baseline_file import append, baseline_path, read_baseline, read_lock
from tests.conftest import RunBuilder
from tests.gate.test_gating import LIMITS, Project
from tests.verdict.accepted import CLASS, entry
from tests.verdict.gated_run import Gated

NOW = datetime.now(UTC)


class Ended(NamedTuple):
    """A command that ended."""

    code: int
    stdout: str
    stderr: str


Harness = Callable[..., Ended]


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Harness:
    """`harness baseline …` in `tmp_path`, as ada runs it, whom git does not know."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "USER": "ada"}.items():
        monkeypatch.setenv(name, value)

    def run(*words: str) -> Ended:
        monkeypatch.setattr("sys.argv", ["harness", "baseline", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Ended(int(ended.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def gated(tmp_path: Path) -> Gated:
    """A run of five minutes ago that passed its limits, and was compared with nothing yet."""
    gated = Gated(RunBuilder(tmp_path / "run"), tmp_path)
    changed(gated, started_at=(NOW - timedelta(minutes=5)).isoformat(timespec="seconds"))
    gated.judged()
    return gated


def changed(gated: Gated, **fields: object) -> None:
    """Another manifest."""
    msgspec.structs.replace(read_manifest(gated.run_dir), **fields).write(gated.run_dir)


@pytest.fixture
def accepted(tmp_path: Path) -> Path:
    """`baselines/`: six weeks of sample at 10, with the newest run of a week ago, and three of 6/s."""
    for level, weeks in (("10", 6), ("6/s", 3)):
        for week in range(weeks):
            at = (NOW - timedelta(weeks=weeks - week)).isoformat()
            path = baseline_path(tmp_path / "baselines", "sample", CLASS, level)
            append(path, msgspec.structs.replace(entry(week, 1.0), started_at=at))
    return tmp_path / "baselines"


def test_accept_says_where_and_how_far(gated: Gated, harness: Harness, tmp_path: Path) -> None:
    """It is signed by the user where git knows no name; the lock stands beside it when it is that of the run."""
    lock = lock_digest(lock_text())
    changed(gated, build=Build(kind="git", revision="a" * 40, lock=lock))
    place = gated.path.relative_to(tmp_path)
    assert harness("accept", "run") == (0, f"{place}: learning: 1 of 5 sittings, on 1 of 2 days\n", "")
    [found] = read_baseline(gated.path).entries
    assert (found.accepted_by, found.build.lock) == ("ada", lock)
    assert read_lock(gated.baselines, "hand_written", lock) == lock_text()


def test_a_lock_that_is_not_of_the_run_is_left_out_and_said(gated: Gated, harness: Harness) -> None:
    """What is installed now would be kept as what was installed then."""
    changed(gated, build=Build(kind="git", revision="a" * 40, lock="0" * 64))
    done = harness("accept", "run")
    assert done.code == 0
    assert "what is installed has changed since the run" in done.stdout
    assert not list(gated.baselines.rglob("locks"))


def test_accept_refuses_with_every_reason(gated: Gated, harness: Harness) -> None:
    """As a usage error, and nothing is there afterwards."""
    changed(gated, build=Build(kind="git", revision="a" * 40, dirty=("flow.py",)), finished=False)
    (gated.run_dir / "limits.toml").write_text('[limits."10"]\np50 = "< 0.5 s"\n')
    done = harness("accept", "run")
    assert done.code == 2
    for words in ("run is not accepted", "never committed", "cut short", 'limits."10".p50'):
        assert words in done.stderr, done.stderr
    assert not gated.baselines.exists()


def test_git_knows_who_accepts(gated: Gated, harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless somebody else is named; a dry run writes nothing."""
    for name, value in (("COUNT", "1"), ("KEY_0", "user.name"), ("VALUE_0", "Grace Hopper")):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    assert "would be added to" in harness("accept", "run", "--dry-run").stdout
    assert not gated.baselines.exists()
    assert harness("accept", "run").code == 0
    assert harness("epoch", "hand_written", "--why", "twice the checks", "--by", "Alan").code == 0
    baseline = read_baseline(gated.path)
    assert baseline.entries[0].accepted_by == "Grace Hopper"
    assert [each.by for each in baseline.epochs] == ["Grace Hopper", "Alan"]


def test_somebody_without_a_name_is_asked_for_one(
    gated: Gated, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's user may have none: that is no bug of ours, and who accepts is on record."""

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nobody)
    monkeypatch.setenv("USER", "")
    done = harness("accept", "run")
    assert done.code == 2
    assert done.stderr.startswith("harness: --by: ")
    assert not gated.path.exists()


def test_an_epoch_begins_for_every_level(accepted: Path, harness: Harness) -> None:
    """Or for one; who and why are in the file, and every entry is still there."""
    done = harness("epoch", "sample", "--why", " checked twice ")
    assert done.code == 0, done.stderr
    assert done.stdout.count("epoch 2 begins, by ada: checked twice\n") == 2
    assert "epoch 3 begins" in harness("epoch", "sample", "--level", "6/s", "--why", "again").stdout
    found = {path.stem: read_baseline(path) for path in accepted.glob("*/*/*.json")}
    counted = {stem: (len(each.epochs), len(each.entries)) for stem, each in found.items()}
    assert counted == {"10": (2, 6), "6-per-s": (3, 3)}


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["epoch", "sample"], 2, "--why"),
        (["epoch", "sample", "--why", "  "], 2, "--why: say what changed"),
        (["epoch", "absent", "--why", "x"], 2, "has no baseline; there are some of sample; `harness baseline record"),
        (["show", "absent"], 2, "has no baseline; there are some of sample"),
        (["show", "sample", "--level", "99"], 2, "--level 99: sample has baselines of 10, 6/s"),
        (["accept", "nowhere"], 2, "nowhere"),
        (["accept", "baselines"], 3, "baselines is not a run"),
        (["doctor", "nowhere"], 2, "nowhere"),
    ],
)
def test_mistakes_name_the_way_out(accepted: Path, harness: Harness, words: list[str], code: int, told: str) -> None:
    """And change nothing."""
    before = {path: path.read_bytes() for path in accepted.rglob("*") if path.is_file()}
    done = harness(*words)
    assert (done.code, told in done.stderr) == (code, True), done
    assert {path: path.read_bytes() for path in accepted.rglob("*") if path.is_file()} == before


def test_show_is_a_table_and_what_could_be_seen(accepted: Path, harness: Harness) -> None:
    """A row a run, the oldest first; a table of a level that was asked for alone."""
    done = harness("show", "sample", "--level", "10")
    assert done.code == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if "run-" in line]
    assert [row[2] for row in rows] == [f"run-{week}" for week in range(6)]
    assert "provisional: 6 sittings count now" in done.stdout
    assert re.search(r"centre and spread between sittings: p50 \S+ m?s ± [\d.]+%, p95", done.stdout), done.stdout
    assert "smallest change that would be seen" in done.stdout
    assert "cannot see" not in done.stdout


def test_a_baseline_that_cannot_see_what_it_is_asked_to_is_refused(accepted: Path, harness: Harness) -> None:
    """With what it can see, and with what would help."""
    path = baseline_path(accepted, "sample", CLASS, "20")
    for week in range(6):
        at = (NOW - timedelta(weeks=6 - week)).isoformat()
        append(path, msgspec.structs.replace(entry(week, 1.3 if week % 2 else 0.7, referenced=False), started_at=at))
    assert "cannot see +10% at p95" in harness("show", "sample", "--level", "20").stdout
    assert "cannot see" not in harness("show", "sample", "--level", "20", "--margin", "900 %").stdout


def test_show_as_json_is_the_files(accepted: Path, harness: Harness) -> None:
    """One document for machines, all levels in it."""
    documents = json.loads(harness("show", "sample", "--json").stdout)
    assert [(each["baseline"]["level"], len(each["baseline"]["entries"])) for each in documents] == [
        ("10", 6),
        ("6/s", 3),
    ]


def test_doctor_says_so_when_all_is_well_and_ends_in_1_when_not(accepted: Path, harness: Harness) -> None:
    """A line a finding; another folder may be named."""
    assert harness("doctor") == (0, "baselines: every baseline is as it was written\n", "")
    append(
        baseline_path(accepted, "older", CLASS, "10"),
        msgspec.structs.replace(entry(0, 1.0), started_at=(NOW - timedelta(days=100)).isoformat()),
    )
    done = harness("doctor", "baselines")
    assert done.code == 1
    [line] = done.stdout.splitlines()
    assert "expired: the newest run is 100 days old" in line


def test_a_damaged_baseline_is_no_bug_of_ours(accepted: Path, harness: Harness) -> None:
    """Every command that reads it says which file, and the way out, and leaves it as it is."""
    path = baseline_path(accepted, "sample", CLASS, "10")
    path.write_text(path.read_text().replace('"ada"', '"eve"', 1))
    before = path.read_bytes()
    for words in (["show", "sample"], ["epoch", "sample", "--why", "x"]):
        done = harness(*words)
        assert done.code == 3
        assert "restore it from version control" in done.stderr
        assert str(path.relative_to(accepted)) in done.stderr
    assert path.read_bytes() == before


@pytest.mark.timeout(120)  # two real runs and a reference
def test_record_accepts_what_passed_and_nothing_else(
    tmp_path: Path, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole run with the reference beside it is accepted; the next one breaks a limit, and the baseline stays."""
    monkeypatch.setattr("harness.statistics.reading.DISTURBED_MAX", 2.0)  # other tests take what they like
    project = Project(tmp_path / "project")
    monkeypatch.chdir(project.folder)
    done = harness("record", "quick", "--quiet", "--measure", "2 s")
    assert done.code == 0, done
    assert "80.json: learning: 1 of 5 sittings, on 1 of 2 days" in done.stdout
    [path] = (project.folder / "baselines").glob("quick/*/80.json")
    [found] = read_baseline(path).entries
    assert (found.accepted_by, found.build.kind, found.reference is not None) == ("ada", "git", True)
    before = path.read_bytes()
    limits = project.folder / "baselines" / "quick.toml"
    limits.write_text(LIMITS.replace('p50 = "< 4 s"', 'p50 = "< 10 ms"'))
    done = harness("record", "quick", "--quiet", "--measure", "500 ms")
    assert done.code == 1, done
    assert "not accepted: the run broke a promise" in done.stderr
    assert path.read_bytes() == before
