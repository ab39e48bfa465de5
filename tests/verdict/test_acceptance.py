"""What may enter a baseline, and every reason why the rest may not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.errors import UsageError
from harness.gate.accepting import accept
from harness.observation.build import Build
from harness.observation.manifest import read_manifest
from harness.verdict.baseline_file import begin_epoch, read_baseline, read_samples
from harness.verdict.gated import GATE_FILE
from tests.conftest import RunBuilder
from tests.verdict.gated_run import LIMITS, Gated, with_history

NOW = "2026-01-01T01:00:00+00:00"


@pytest.fixture
def gated(run: RunBuilder, tmp_path: Path) -> Gated:
    return Gated(run, tmp_path)


def accepted(gated: Gated, *levels: str, dry_run: bool = False) -> list[str]:
    return accept(gated.run_dir, gated.baselines, levels=levels, by="somebody", at=NOW, dry_run=dry_run)


def refused(gated: Gated) -> str:
    """Why it is not accepted; nothing is written then."""
    before = gated.path.read_bytes() if gated.path.exists() else None
    with pytest.raises(UsageError) as caught:
        accepted(gated)
    assert (gated.path.read_bytes() if gated.path.exists() else None) == before
    return "\n".join(caught.value.mistakes)


def test_the_first_run_begins_a_baseline(gated: Gated) -> None:
    """With its reading, its exact samples, who accepted it, and how far the baseline has come."""
    gated.judged()
    [line, *_] = accepted(gated)
    assert "learning: 1 of 5 sittings, on 1 of 2 days" in line
    [entry] = read_baseline(gated.path).entries
    assert (entry.run, entry.accepted_by, entry.reading) == (gated.manifest.run_id, "somebody", gated.reading)
    samples = read_samples(gated.path, entry)
    assert len(samples) == 20
    assert sum(map(len, samples)) == 800
    assert {float(value) for block in samples for value in block} == {1.0}


def test_a_dry_run_writes_nothing(gated: Gated) -> None:
    """It says where it would."""
    gated.judged()
    assert "would be added" in accepted(gated, dry_run=True)[0]
    assert not gated.path.exists()


def test_a_run_that_passed_is_added(gated: Gated) -> None:
    """As a sitting of its own."""
    with_history(gated)
    gated.judged()
    assert "provisional: 9 of 10 sittings" in accepted(gated)[0]
    assert read_baseline(gated.path).entries[-1].sitting == gated.manifest.run_id


def test_a_run_that_was_compared_with_nothing_is_refused(gated: Gated) -> None:
    """A slow build would walk in otherwise."""
    assert "run it with --gate" in refused(gated)


def test_a_broken_limit_is_refused(gated: Gated) -> None:
    """With the limit's name."""
    gated.judged()
    (gated.run_dir / "limits.toml").write_text(LIMITS.replace("< 9 s", "< 0.5 s"))
    assert 'limits."10".p50' in refused(gated)


def test_everything_is_said_at_once(gated: Gated) -> None:
    """A build that was never committed, and damaged files."""
    gated.judged()
    manifest = read_manifest(gated.run_dir)
    build = Build(kind="git", revision="a" * 40, dirty=("flow.py",))
    msgspec.structs.replace(manifest, build=build, sizes={"journal.jsonl": 1}).write(gated.run_dir)
    why = refused(gated)
    assert "never committed" in why
    assert "flow.py" in why
    assert "not as the run left it" in why


def test_a_run_enters_once(gated: Gated) -> None:
    """The second time it is known."""
    gated.judged()
    accepted(gated)
    assert "accepted before" in refused(gated)


def test_a_suspect_is_refused(gated: Gated) -> None:
    """Slower than its history, and nothing ran beside it."""
    with_history(gated, 0.7)
    gated.judged()
    assert "the gate says suspect" in refused(gated)


def test_an_improvement_needs_an_epoch_that_says_why(gated: Gated) -> None:
    """And is its first entry then."""
    with_history(gated, 1.3)
    assert gated.judged()[0] == "improved"
    assert "begin an epoch that says why" in refused(gated)
    begin_epoch(gated.path, by="somebody", why="findings are cached", at=NOW)
    accepted(gated)
    assert read_baseline(gated.path).entries[-1].epoch == 2


def test_other_conditions_need_an_epoch(gated: Gated) -> None:
    """Each is named."""
    with_history(gated, python="3.10.1")
    gated.judged()
    why = refused(gated)
    assert "python is 3.11.7, and was 3.10.1" in why
    assert "begin a new one" in why


def test_an_older_run_is_refused(gated: Gated) -> None:
    """Entries stand in the order of time."""
    gated.accept(-2.0)
    gated.judged()
    assert "began before the newest entry" in refused(gated)


def test_a_short_run_is_refused(run: RunBuilder, tmp_path: Path) -> None:
    """With how much longer would do."""
    run.sound(100)
    short = Gated.__new__(Gated)
    run.limits = LIMITS
    short.run_dir, short.baselines = run.write(), tmp_path / "baselines"
    short.path = tmp_path / "none"
    (short.run_dir / GATE_FILE).write_text("{}")
    assert "5.0 times the measure phase" in refused(short)


def test_a_level_that_is_none_is_named(gated: Gated) -> None:
    """With those there are."""
    gated.judged()
    with pytest.raises(UsageError, match="level"):
        accepted(gated, "11")
