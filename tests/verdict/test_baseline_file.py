"""Baselines on disk: only added to, and found out when anything else was done to them."""

from __future__ import annotations

import hashlib
import json
import math
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError, RunInvalid
from harness.observation.build import Build, lock_digest
from harness.verdict.baseline import Entry
from harness.verdict.baseline_check import findings
from harness.verdict.baseline_file import (
    append,
    baseline_path,
    begin_epoch,
    keep_lock,
    read_baseline,
    read_lock,
    read_samples,
)
from harness.verdict.sittings import in_window, sitting_of, standing
from tests.verdict.readings import reading

NOW = "2026-06-01T12:00:00+00:00"


def at(hours_ago: float) -> str:
    return (datetime.fromisoformat(NOW) - timedelta(hours=hours_ago)).isoformat()


def entry(name: str, hours_ago: float, *, sitting: str = "", **fields: object) -> Entry:
    whole = {"fingerprint": {"python": "3.11"}, "build": Build(kind="git", revision="abc"), "reading": reading(seed=3)}
    return Entry(
        run=name, started_at=at(hours_ago), sitting=sitting or name, epoch=1, accepted_at=NOW, accepted_by="somebody",
        verdict="pass", **{**whole, **fields},  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A baseline of three runs."""
    path = baseline_path(tmp_path, "job", "x86-2c", "6/s")
    for number in range(3):
        append(path, entry(f"run{number}", 72 - 24 * number), [np.arange(5, dtype=np.float32)])
    return path


def test_what_was_added_is_read_again(path: Path) -> None:
    """In the order of acceptance, oldest first."""
    baseline = read_baseline(path)
    assert path.name == "6-per-s.json"
    assert (baseline.scenario, baseline.machine_class, baseline.level) == ("job", "x86-2c", "6/s")
    assert [each.run for each in baseline.entries] == ["run0", "run1", "run2"]
    assert baseline.entries[0].reading == reading(seed=3)
    assert baseline.epochs[0].why == "the first accepted run"
    assert [block.tolist() for block in read_samples(path, baseline.entries[0])] == [[0.0, 1.0, 2.0, 3.0, 4.0]]


def test_adding_changes_no_line_but_the_head(path: Path) -> None:
    """A diff of an accepted run is lines that were added, and the head's count and checksum."""
    before = path.read_text().splitlines()
    append(path, entry("run3", 1.0))
    after = path.read_text().splitlines()
    gone = [line for line in before if line not in after]
    assert [line.split(":")[0].strip() for line in gone] == ['"links"', '"head"']


def test_an_entry_stays_short(path: Path) -> None:
    """At most 10 KB a run and level, and at most 4 bytes a sample beside it."""
    size = path.stat().st_size
    samples = np.random.default_rng(1).lognormal(0, 0.3, 5000).astype(np.float32)
    append(path, entry("run3", 1.0), np.array_split(np.sort(samples), 20))
    assert path.stat().st_size - size <= 10_000
    stored = path.parent / read_baseline(path).entries[-1].samples
    assert stored.stat().st_size <= 4 * len(samples)


def test_a_run_is_added_once(path: Path) -> None:
    """And the file stays as it was."""
    before = path.read_bytes()
    with pytest.raises(HarnessError, match="accepted before"):
        append(path, entry("run1", 1.0))
    assert path.read_bytes() == before


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_change_of_the_file_is_found(path: Path, data: st.DataObject) -> None:
    """A byte that was edited, a line that was removed or doubled, an end that was cut: refused, or without meaning."""
    original = path.read_bytes()
    how = data.draw(st.sampled_from(("byte", "line", "double", "cut")))
    lines = original.splitlines(keepends=True)
    if how == "byte":
        place = data.draw(st.integers(0, len(original) - 1))
        changed = original[:place] + bytes([data.draw(st.integers(32, 126))]) + original[place + 1 :]
    elif how == "cut":
        changed = original[: data.draw(st.integers(0, len(original) - 1))]
    else:
        place = data.draw(st.integers(0, len(lines) - 1))
        changed = b"".join([*lines[:place], *([lines[place]] * 2 if how == "double" else []), *lines[place + 1 :]])
    meant = read_baseline(path)
    path.write_bytes(changed)
    try:
        found = read_baseline(path)
    except RunInvalid as error:
        found, told = None, str(error)
    path.write_bytes(original)
    assert found == meant or (found is None and str(path) in told)


def test_an_entry_that_was_cut_out_is_found(path: Path) -> None:
    """Also the last one, which a chain alone would not miss."""
    for index in (0, 2):
        document = json.loads(path.read_text())
        del document["entries"][index]
        other = path.with_name("other.json")
        other.write_text(json.dumps(document))
        with pytest.raises(RunInvalid, match=r"not as it was written|was cut from its end"):
            read_baseline(other)


def test_entries_that_changed_places_between_epochs_are_found(path: Path) -> None:
    """Each link still fits; but the newest entry would be another one."""
    begin_epoch(path, by="somebody", why="answers are checked twice", at=NOW)
    append(path, entry("run3", 1.0))
    document = json.loads(path.read_text())
    document["entries"].insert(0, document["entries"].pop())
    path.write_text(json.dumps(document))
    with pytest.raises(RunInvalid, match="not in the order they were written in"):
        read_baseline(path)


def test_an_entry_of_no_epoch_is_found(path: Path) -> None:
    """It hangs on no chain, so no checksum speaks against it."""
    document = json.loads(path.read_text())
    document["entries"].append({**document["entries"][-1], "run": "forged", "epoch": 9})
    document["links"] += 1
    path.write_text(json.dumps(document))
    with pytest.raises(RunInvalid, match="not in the order they were written in"):
        read_baseline(path)


@pytest.mark.parametrize("odd", [{"rss_slope": math.inf}, {"cpu_s": math.nan}])
def test_what_json_cannot_hold_is_not_written(path: Path, odd: dict[str, float]) -> None:
    """It would come back as something else, and the whole file be refused from then on."""
    before, files = path.read_bytes(), sorted(path.parent.iterdir())
    with pytest.raises(HarnessError, match="run3 holds a number that is none"):
        append(path, entry("run3", 1.0, reading=reading(**odd)), [np.zeros(3, dtype=np.float32)])  # type: ignore[arg-type]
    assert path.read_bytes() == before
    assert sorted(path.parent.iterdir()) == files


def test_of_several_who_add_at_once_none_is_lost(path: Path) -> None:
    """One waits for the other."""
    names = [f"more{number}" for number in range(12)]
    with ThreadPoolExecutor(6) as several:
        list(several.map(lambda name: append(path, entry(name, 1.0), [np.zeros(3, dtype=np.float32)]), names))
    baseline = read_baseline(path)
    assert sorted(each.run for each in baseline.entries) == sorted(["run0", "run1", "run2", *names])
    assert list(findings(path.parents[2], NOW)) == []


def test_another_version_is_refused(path: Path) -> None:
    """With both versions, and the way out."""
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 9}))
    with pytest.raises(RunInvalid, match="schema version 9; this harness reads 1; use the harness that wrote it"):
        read_baseline(path)


def test_an_epoch_leaves_earlier_runs_out_of_the_window(path: Path) -> None:
    """They are kept, and who and why stand there."""
    begin_epoch(path, by="somebody", why="answers are checked twice", at=NOW)
    baseline = read_baseline(path)
    assert in_window(baseline, NOW) == ()
    append(path, entry("run3", -1.0))
    baseline = read_baseline(path)
    assert [each.run for sitting in in_window(baseline, at(-2.0)) for each in sitting] == ["run3"]
    assert [each.epoch for each in baseline.entries] == [1, 1, 1, 2]
    assert (baseline.epochs[1].by, baseline.epochs[1].why) == ("somebody", "answers are checked twice")


def test_the_window_is_twenty_runs_of_ninety_days_before_the_run(tmp_path: Path) -> None:
    """What began later is not of the past."""
    path = baseline_path(tmp_path, "job", "c", "10")
    for number in range(30):
        append(path, entry(f"run{number}", 24.0 * (100 - 4 * number)))
    baseline = read_baseline(path)
    chosen = [each.run for sitting in in_window(baseline, NOW) for each in sitting]
    assert chosen == [f"run{number}" for number in range(5, 25)]
    assert len(in_window(baseline, at(24 * 50))) == 13  # those that were older than 50 days


def test_runs_within_ten_minutes_are_one_sitting(path: Path) -> None:
    """They tell one thing of the machine once."""
    baseline = read_baseline(path)
    assert sitting_of(baseline, "new", at(24 - 0.1)) == "run2"
    assert sitting_of(baseline, "new", at(24 - 0.2)) == "new"
    assert sitting_of(None, "new", NOW) == "new"


def test_a_sitting_goes_on_until_ten_minutes_after_the_end_of_its_newest_run(path: Path) -> None:
    """So runs of twenty minutes, one after the other, are one sitting; the reference ran after the target."""
    append(path, entry("long", 3.0, reading=reading(measure_s=1200.0), reference=reading(measure_s=600.0)))
    baseline = read_baseline(path)
    minutes = {later: sitting_of(baseline, "new", at(3.0 - later / 60)) for later in (31, 39, 41)}
    assert minutes == {31: "long", 39: "long", 41: "new"}
    assert sitting_of(baseline, "new", at(3.2)) == "new"  # long before it


@pytest.mark.parametrize(
    ("hours", "how"),
    [((1, 2, 3, 4), "learning"), ((1, 2, 3, 4, 5), "learning"), ((1, 2, 3, 4, 30), "provisional"),
     (tuple(range(1, 40, 4)), "gating")],
)  # fmt: skip
def test_standing_needs_sittings_and_days(tmp_path: Path, hours: tuple[int, ...], how: str) -> None:
    """Five sittings on two days may pass a run; ten are relied on."""
    path = baseline_path(tmp_path, "job", "c", "10")
    for number in sorted(hours, reverse=True):
        append(path, entry(f"run{number}", number))
    assert standing(in_window(read_baseline(path), NOW)) == how


def test_lock_texts_are_kept_under_their_digest(tmp_path: Path) -> None:
    """One that was edited is none."""
    text = "numpy==2.3.1\n"
    keep_lock(tmp_path / "job", text)
    assert read_lock(tmp_path, "job", lock_digest(text)) == text
    assert read_lock(tmp_path, "job", lock_digest("other")) is None
    [file] = (tmp_path / "job" / "locks").iterdir()
    for edited in (b"numpy==2.3.2\n", b"num", b"\xff\xfe"):
        file.write_bytes(edited)
        assert read_lock(tmp_path, "job", lock_digest(text)) is None
    keep_lock(tmp_path / "job", text)  # what was cut short is written again
    assert read_lock(tmp_path, "job", lock_digest(text)) == text


def test_the_doctor_finds_nothing_in_what_is_sound(path: Path) -> None:
    """An empty list."""
    assert list(findings(path.parents[2], NOW)) == []


def test_the_doctor_names_everything_at_once(path: Path) -> None:
    """Samples that changed or are gone, strays, other conditions, a build that cannot be had, and the future."""
    other = {"python": "3.12"}
    append(path, entry("run3", -5.0, fingerprint=other, build=Build(kind="git", revision="abc", dirty=("a.py",))))
    (path.parent / "6-per-s.run0.npz").write_bytes(b"x")
    (path.parent / "6-per-s.run1.npz").unlink()
    (path.parent / "6-per-s.run9.npz").write_bytes(b"x")
    broken = baseline_path(path.parents[2], "other", "c", "10")
    append(broken, entry("run", 5000.0))
    append(broken, entry("run again", 5001.0))
    found = "\n".join(findings(path.parents[2], NOW))
    for words in (
        "run0.npz is not as it was written", "run1.npz cannot be read", "run9.npz: no entry names it",
        "run3 was measured under other conditions, in no epoch of its own: python", "never committed", "in the future",
        "a clock ran backwards", "expired: the newest run is 208 days old",
    ):  # fmt: skip
        assert words in found, found


def test_samples_of_another_version_are_told(path: Path) -> None:
    """Their checksum is right, as nobody damaged them; so the doctor can say what they are."""
    other = baseline_path(path.parents[2], "other", "c", "10")
    file = other.parent / "10.run.npz"
    file.parent.mkdir(parents=True)
    np.savez(file, block0=np.zeros(3, dtype=np.float32))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    old = entry("run", 1.0, samples=file.name, samples_sha256=digest)
    with pytest.raises(RunInvalid, match="holds samples of another version"):
        read_samples(other, old)


def test_a_damaged_baseline_is_one_finding(path: Path) -> None:
    """With the way out."""
    path.write_text(path.read_text().replace("somebody", "nobody"))
    [found] = findings(path.parents[2], NOW)
    assert "restore it from version control" in found


def test_versions_that_were_edited_are_found(path: Path) -> None:
    """Whoever ran the build again with them would compare something else."""
    keep_lock(path.parents[1], "somepackage==1.0\n")
    assert list(findings(path.parents[2], NOW)) == []
    [kept] = path.parents[1].glob("locks/*.txt")
    kept.write_text("somepackage==1.1\n")
    [found] = findings(path.parents[2], NOW)
    assert found.startswith(f"{kept}: is not as it was written; restore it")


def test_nothing_is_left_of_a_write_that_fails(path: Path) -> None:
    """The samples' file stands there, as after a crash: nothing is overwritten, and the baseline is as it was."""
    before = path.read_bytes()
    (path.parent / "6-per-s.run3.npz").write_bytes(b"x")
    with pytest.raises(HarnessError, match="remove it by hand"):
        append(path, entry("run3", 1.0), [np.zeros(3, dtype=np.float32)])
    assert path.read_bytes() == before
    assert msgspec.json.decode(before)["links"] == 4


def test_the_samples_of_another_level_are_no_strays(tmp_path: Path) -> None:
    """Level `1` and level `1.5/s` lie in one folder, and one name begins as the other does."""
    for level in ("1", "1.5/s"):
        append(baseline_path(tmp_path, "job", "c", level), entry("run0", 1.0), [np.zeros(3, dtype=np.float32)])
    assert list(findings(tmp_path, NOW)) == []


def test_samples_without_any_baseline_are_strays(path: Path) -> None:
    """As when somebody removed the file that names them."""
    path.unlink()
    found = list(findings(path.parents[2], NOW))
    assert len(found) == 3
    assert all("no entry names it" in line for line in found)


def test_nothing_is_a_stray_beside_a_damaged_baseline(path: Path) -> None:
    """Nobody knows which samples are its own."""
    path.write_text(path.read_text().replace("somebody", "nobody"))
    assert not any("remove it" in line for line in findings(path.parents[2], NOW))
