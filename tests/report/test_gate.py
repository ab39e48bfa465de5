"""The gate in the reports: the table of changes, who carries them, the picture, and a case of its own for CI."""

from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.report import reporter
from harness.report.gate import change_rows, lines_of, part_rows, text_picture, write_pictures
from harness.verdict.judge import JudgedRun, judge_run
from tests.conftest import RunBuilder
from tests.verdict.gated_run import Gated, with_history


@pytest.fixture
def regressed(run: RunBuilder, tmp_path: Path) -> JudgedRun:
    """A run that its history doubted, and a duet found slower."""
    gated = Gated(run, tmp_path)
    with_history(gated, 0.7)
    gated.duet(1.2)
    gated.judged()
    return judge_run(gated.run_dir)


def written(judged: JudgedRun, name: str) -> str:
    out = io.StringIO()
    reporter(name).write(judged, out)
    return out.getvalue()


def test_the_table_has_a_row_a_metric(regressed: JudgedRun) -> None:
    """The level stands in the first; what is worse is marked."""
    rows = change_rows(regressed.verdict.gate)
    assert rows[0][0] == "10: regressed"
    assert all(row[0] == "" for row in rows[1:])
    by_metric = {row[1]: row for row in rows}
    assert by_metric["p50"][2].startswith("+20")
    assert by_metric["p50"][-1] == "10 pairs worse"
    assert by_metric["success"][-1] == "10 pairs"


def test_console_and_markdown_tell_the_same(regressed: JudgedRun) -> None:
    """The word, the sentence, the command, and the picture in lines of text."""
    [gate] = regressed.verdict.gate
    picture = text_picture(gate)
    assert "in 10 pairs" in picture[0]
    for name in ("console", "markdown"):
        text = written(regressed, name)
        assert "regressed" in text
        assert "10 side-by-side pairs against 3f2c1a0" in text
        assert "harness duet 3f2c1a0 . hand_written" in text
        assert all(line.rstrip() in text for line in picture)
    assert "![each pair, and each quantile](gate-10.svg)" in written(regressed, "markdown")


def test_the_picture_is_written_beside_the_report(regressed: JudgedRun) -> None:
    """An image that is well-formed and tells its title."""
    write_pictures(regressed)
    image = ElementTree.fromstring((regressed.run_dir / "gate-10.svg").read_text())
    assert image.tag.endswith("svg")
    assert any("hand_written at 10" in (text or "") for text in image.itertext())


def test_junit_has_a_failure_for_each_metric(regressed: JudgedRun) -> None:
    """So that CI names what regressed."""
    failed = {
        case.get("name")
        for case in ElementTree.fromstring(written(regressed, "junit").partition("\n")[2]).iter("testcase")
        if case.find("failure") is not None
    }
    assert failed >= {'gate."10".p50', 'gate."10".p95'}


def test_a_run_that_was_not_gated_has_no_such_part(run: RunBuilder) -> None:
    """Nothing is compared, and nothing is said."""
    run.sound(100)
    judged = judge_run(run.write())
    write_pictures(judged)
    assert "Against the baseline" not in written(judged, "markdown")
    assert not list(judged.run_dir.glob("*.svg"))


def test_conditions_that_differ_are_listed(run: RunBuilder, tmp_path: Path) -> None:
    """One line each."""
    gated = Gated(run, tmp_path)
    with_history(gated, python="3.10.1")
    gated.judged()
    [gate] = judge_run(gated.run_dir).verdict.gate
    assert "level 10: python was 3.10.1, and is 3.11.7 now" in list(lines_of(gate))
    assert part_rows(gate) == []
