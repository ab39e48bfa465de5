"""The history as text and as a drawing: the numbers, the line, the marks, and the sentences."""

from __future__ import annotations

import io
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from harness.report.history import BARS_MAX, bars, commit_text, sentences, value_text, write_history
from harness.report.history_picture import WIDTH, history_svg
from harness.verdict.trend import Sitting, Trend, trend_of
from tests.verdict.accepted import baseline, entry, of_entries

SVG = "{http://www.w3.org/2000/svg}"


def came_and_went() -> Trend:
    """30 % slower for eleven weeks."""
    return trend_of(baseline(40, lambda week: 1.3 if 15 <= week < 26 else 1.0))


def text_of(*trends: Trend) -> str:
    """What is written to a pipe."""
    out = io.StringIO()
    write_history(trends, out)
    return out.getvalue()


def test_a_change_in_a_sentence() -> None:
    """What, how much, between which commits and dates, before and after, and that it went away."""
    said = list(sentences(came_and_went()))
    first, second = (line for line in said if line.startswith("p50 "))
    assert first.startswith("p50 rose 3")
    assert "% (worse) between 000000e (2026-04-13) and 000000f (2026-04-20): " in first
    assert " ms -> " in first
    assert first.endswith("; went away after 11 sittings")
    assert "fell" in second
    assert "(better)" in second


def test_marks_stand_under_the_first_sitting_after_a_change() -> None:
    """In the same column as its bar, up for a rise and down for a fall, with epochs where there is no change."""
    lines = list(bars(came_and_went()))
    line, marks = next((a, b) for a, b in pairwise(lines) if a.strip().startswith("p50"))
    begin = line.index("p50") + 4
    assert marks.index("▲") == begin + 15
    assert marks.index("▼") == begin + 26
    assert line[begin + 20] in "▆▇█"
    assert line[begin] in "▁▂▃"
    epochs = list(bars(trend_of(of_entries(*(entry(week, 1.0, epoch=1 + week // 4) for week in range(8))))))
    assert epochs[1].index("|") == begin + 4


def test_a_long_history_shows_its_newest() -> None:
    """The line fits the terminal, and says what it left out."""
    lines = list(bars(trend_of(baseline(BARS_MAX + 10, lambda week: 1.5 if week > BARS_MAX else 1.0))))
    assert lines[0] == f"the newest {BARS_MAX} of {BARS_MAX + 10} sittings:"
    assert max(map(len, lines)) < 160


def test_what_lacks_and_what_was_done_is_said() -> None:
    """How many sittings are missing, for which metrics; where the machine was taken out, and where not."""
    said = "\n".join(sentences(trend_of(baseline(12))))
    assert (
        "p50, p95, throughput, CPU/workflow: 12 of the 20 sittings from which change points are sought, 8 more" in said
    )
    assert "taken out of p50, p95, throughput" in said
    assert "as measured, for no reference went along with it: CPU/workflow" in said
    assert "no change point in p50" in "\n".join(sentences(trend_of(baseline(25))))


def test_the_table_has_a_row_a_sitting() -> None:
    """Date, commit, values, epoch and runs; a value that lacks is a dash."""
    text = text_of(trend_of(baseline(3), ["p50", "cost_per_success"]))
    rows = [line.split() for line in text.splitlines() if line.startswith("2026-")]
    assert [row[:2] for row in rows] == [
        ["2026-01-05", "0000000"],
        ["2026-01-12", "0000001"],
        ["2026-01-19", "0000002"],
    ]
    assert [row[-3:] for row in rows] == [["-", "1", "1"]] * 3
    assert text.startswith("sample at 10 on x86_64-2c-4gib-0badcafe: 3 sittings, 1 epoch, 2026-01-05 to 2026-01-19\n")


def test_versions_are_not_cut_as_commits_are() -> None:
    """A wheel is known by its whole name."""
    at = "2026-01-05T00:00:00+00:00"
    names = [
        commit_text(Sitting(at=at, commit=word, run="r", epoch=1, runs=1)) for word in ("a" * 40, "tool==1.2.3", "")
    ]
    assert names == ["aaaaaaa", "tool==1.2.3", "-"]


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [("p95", 0.25, "250 ms"), ("throughput", 80.0, "80/s"), ("shape", 2.5, "2.5"),
     ("cost_per_success", 0.02, "0.02 USD"), ("output_tokens", 312.5, "312")],
)  # fmt: skip
def test_values_have_their_units(metric: str, value: float, text: str) -> None:
    """A ratio, and tokens, have none."""
    assert value_text(metric, value) == text


def test_the_drawing_holds_every_sitting_and_change() -> None:
    """A dot a sitting and metric, a label a change, all inside; and the sentences for those who do not see it."""
    trend = came_and_went()
    root = ElementTree.fromstring(history_svg([trend, trend_of(baseline(3))]))
    assert len(list(root.iter(f"{SVG}circle"))) == 4 * 43
    labels = [node.text or "" for node in root.iter(f"{SVG}text")]
    turns = [turn for each in trend.metrics for turn in each.turns]
    assert [text for text in labels if text[0] in "+-"] == [f"{turn.change * 100:+.1f} %" for turn in turns]
    assert turns
    assert "went away after 11 sittings" in (root.findtext(f"{SVG}desc") or "")
    height = float(root.attrib["height"])
    for node in root.iter():
        assert all(0 <= float(node.get(name, 0)) <= WIDTH for name in ("x", "x1", "x2", "cx"))
        assert all(0 <= float(node.get(name, 0)) <= height for name in ("y", "y1", "y2", "cy"))


def test_drawings_of_little() -> None:
    """No sitting, one sitting, and values that do not vary make pictures, too."""
    for trend in (trend_of(baseline(0)), trend_of(baseline(1)), trend_of(baseline(3), ["cpu_per_workflow"])):
        ElementTree.fromstring(history_svg([trend]))
        assert text_of(trend)
