"""The page holds what the run's files hold, whatever stands in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.errors import RunInvalid
from harness.observation.observation import Outcome
from harness.verdict.judge import JudgedRun, judge_run

if TYPE_CHECKING:
    from tests.conftest import RunBuilder

Written = Callable[[JudgedRun, str], str]
VOID = {"meta", "link", "br", "hr", "img", "input"}
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`{{7*7}}{% raw %}\x00\x1b[31m\u202e"


class Page(HTMLParser):
    """What a page is made of: its elements, their texts; it fails where they are not closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] += 1
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] += 1
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" not in self.open and "style" not in self.open:
            self.text += data


@pytest.mark.parametrize("name", ["passed", "failed", "recovered", "asking"])
def test_the_verdict_comes_first_and_every_check_is_told(
    name: str, request: pytest.FixtureRequest, report: Written
) -> None:
    """Of a run that passed, one that could hardly be worse, a recovery, and models."""
    judged = request.getfixturevalue(name)
    page = Page(report(judged, "html"))
    assert page.text.index(judged.verdict.word) < page.text.index(judged.summary.levels[0].level)
    assert all(check.name in page.text for check in judged.verdict.checks)
    assert page.seen["figure"] >= 2
    assert page.seen["h1"] == 1


def test_nothing_is_loaded_from_anywhere(asking: JudgedRun, report: Written) -> None:
    """No address but places within the page; no attribute that runs or styles."""
    page = Page(report(asking, "html"))
    assert not {"link", "img", "iframe", "object", "embed", "base", "form"} & page.seen.keys()
    assert page.seen["script"] == 1
    for name, value in page.attributes:
        assert name not in ("style", "src", "action", "bgcolor")
        assert not name.startswith("on")
        assert name != "href" or (value or "").startswith("#")


def test_hostile_words_are_text(run: RunBuilder, report: Written) -> None:
    """In ids, kinds, agents, error classes and messages: nothing becomes an element, and no control character stays."""
    run.agents = (HOSTILE,)
    step = run.step(HOSTILE)
    for number in range(20):
        run.workflow(1.0, id=f"{HOSTILE}{number}", kind=HOSTILE, steps=(step,), target_accepted=15.0, target_ended=16.0)
    run.workflow(1.0, Outcome.FAILED, error_class=HOSTILE, message=HOSTILE, kind=HOSTILE)
    run.phases()
    run.resources()
    text = report(judge_run(run.write()), "html")
    page = Page(text)
    assert page.seen["script"] == 1
    assert page.seen["img"] == 0
    assert "{{7*7}}" in page.text
    assert not {"\x00", "\x1b", "\u202e"} & set(text)


def test_ten_thousand_kinds_of_error_make_a_table_of_a_hundred(run: RunBuilder, report: Written) -> None:
    """The rest is counted, and the page stays small."""
    for number in range(10_000):
        run.workflow(1.0, Outcome.FAILED, error_class=f"error number {number}")
    run.phases()
    text = report(judge_run(run.write()), "html")
    assert "and 9900 more" in text
    assert len(text) < 400_000


def test_an_empty_run_is_told(run: RunBuilder, report: Written) -> None:
    """Not one line was written."""
    run.finished = False
    judged = judge_run(run.write())
    page = Page(report(judged, "html"))
    assert judged.verdict.word in page.text
    assert "never reached" in page.text


@pytest.mark.parametrize("last", ["warmup", "measure", "drain"])
def test_a_run_cut_short_shows_what_there_was(last: str, run: RunBuilder, report: Written) -> None:
    """The journal ends within a phase, and within a line."""
    run.workflows(30)
    run.opened("in flight", accepted=True)
    run.phases(last=last)
    run.finished = False
    folder = run.write()
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"type":"observation","id":"torn')
    page = Page(report(judge_run(folder), "html"))
    assert page.seen["figure"] >= 1


def test_a_run_of_a_newer_schema_is_refused(run: RunBuilder) -> None:
    """As by every other form."""
    folder = run.write()
    manifest = msgspec.json.decode((folder / "run.json").read_bytes())
    (folder / "run.json").write_bytes(msgspec.json.encode({**manifest, "schema_version": 99}))
    with pytest.raises(RunInvalid, match="schema version 99; this harness reads"):
        judge_run(folder)


def test_the_typical_and_the_slowest_workflow_are_shown(run: RunBuilder, report: Written) -> None:
    """By name, step by step."""
    for number in range(99):
        run.workflow(1.0 + number / 1000, id=f"usual-{number}", steps=(run.step(),), target_accepted=15.0,
                     target_started=15.0, target_ended=15.9)  # fmt: skip
    run.workflow(9.0, id="sluggish", steps=(run.step(took_s=8.5),), target_accepted=15.0, target_ended=23.9)
    run.phases()
    text = Page(report(judge_run(run.write()), "html")).text
    assert "A typical workflow: usual-49 " in text
    assert "The slowest (1): sluggish (simple): ok after 9 s" in text
