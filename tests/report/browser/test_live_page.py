"""The live page as a person has it: what the run tells is on it a moment later."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from harness.load.control import PhaseChanged
from harness.observation.manifest import LevelEnd
from harness.report.watching.server import ViewServer
from harness.report.watching.state import RunState
from tests.report.browser.visiting import DESK, PHONE, Visits, overhang, violations
from tests.report.html.test_reporter import HOSTILE
from tests.report.watching.telling import tell

BUSY = {"users": 25, "in_flight": 24, "failed": 3, "p50_s": 0.5, "p95_s": 1.25, "p99_s": 2.0}
POINTS = "paths => paths.map(path => path.getAttribute('d').match(/[ML]/g).length)"


@pytest.fixture
def state() -> RunState:
    """A level goes on, and three reports came."""
    state = RunState()
    state.scenario_began("some", 7)
    state.level_started("25", 0, 2)
    state.report("25", PhaseChanged(at=0.0, phase="measure", ends_at=60.0), None)
    for second in (1, 2, 3):
        tell(state, 10 * second, at=second, **BUSY)
    return state


@pytest.fixture
def address(state: RunState) -> Iterator[str]:
    """Where the page is."""
    with ViewServer(state, 0, option="--live-port", live=True, metrics=False) as server:
        yield server.address


def number(page: Page, name: str) -> str:
    """Of the numbers at the top, one by its name."""
    return page.locator("dl div").filter(has=page.get_by_text(name, exact=True)).locator("dd").inner_text()


def test_what_came_before_and_what_comes_is_shown(visits: Visits, state: RunState, address: str) -> None:
    """Everything so far at once; then each report, as it comes."""
    page = visits.open(address)
    expect(page.locator("#where")).to_contain_text("level 25 (1 of 2) · measure, 57 s left")
    assert [number(page, name) for name in ("in flight", "ok", "failed", "p95")] == ["24", "30", "3", "1.25 s"]
    in_flight, *_ = page.eval_on_selector_all("#charts path", POINTS)
    assert in_flight == 3
    tell(state, 1234, at=4.0, **BUSY)
    expect(page.locator("dl")).to_contain_text("1234")
    expect(page.locator("#charts svg").first).to_have_attribute(
        "aria-label", "In flight over time, 0 to 30; now in flight 24"
    )
    in_flight, *_ = page.eval_on_selector_all("#charts path", POINTS)
    assert in_flight == 4


def test_a_fault_is_named_while_it_acts_and_shaded_afterwards(visits: Visits, state: RunState, address: str) -> None:
    """In every chart over time."""
    page = visits.open(address)
    state.faults_changed(("redis.pause",))
    tell(state, 40, at=4.0, **BUSY)
    expect(page.locator("#broken")).to_have_text("broken now: redis.pause")
    state.faults_changed(())
    tell(state, 50, at=5.0, **BUSY)
    expect(page.locator("#broken")).to_be_hidden()
    assert page.locator("#charts .fault").count() == page.locator("#charts svg").count()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [DESK, PHONE])
def test_it_ends_with_the_verdict_for_everybody(
    width: int, scheme: str, visits: Visits, state: RunState, address: str
) -> None:
    """Levels that are over stay; the end is told once; axe finds nothing, and no part is wider than the window."""
    page = visits.open(address, width=width, scheme=scheme)
    state.faults_changed(("redis.pause",))
    state.level_ended(LevelEnd(level="25", status="complete"))
    state.judged("failed", "p95 is above its limit", "reports/some/report.html")
    state.end()
    expect(page.locator("#link")).to_have_text("the command has ended; this page changes no more")
    expect(page.locator("#verdict")).to_have_text("failed")
    assert page.locator("#rows tr").count() == 1
    assert violations(page) == []
    assert overhang(page) == 0


def test_hostile_words_are_text(visits: Visits, state: RunState, address: str) -> None:
    """Names of scenarios, levels, faults and sentences become no elements."""
    page = visits.open(address, width=PHONE)
    state.scenario_began(HOSTILE * 5, 7)
    state.level_started(HOSTILE, 0, 1)
    tell(state, 1, at=1.0, **BUSY)
    tell(state, 2, at=2.0, **BUSY)
    state.faults_changed((HOSTILE,))
    state.level_ended(LevelEnd(level=HOSTILE, status="complete"))
    state.judged("failed", HOSTILE * 5, HOSTILE)
    expect(page.locator("#sentence")).to_contain_text("<img src=x onerror=alert(2)>")
    assert page.locator("script").count() == 1
    assert page.locator("img").count() == 0
    assert overhang(page) == 0


def test_without_javascript_it_says_where_else_to_look(visits: Visits, address: str) -> None:
    """No page that is empty without a word."""
    page = visits.open(address, javascript=False)
    assert "The terminal shows the same" in page.locator("noscript").inner_text()
