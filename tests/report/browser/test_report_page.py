"""The report as a person has it: drawn, read with mouse and keyboard, on a phone, in the dark, on paper."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page

from harness.observation.observation import Outcome
from harness.verdict.judge import JudgedRun, judge_run
from tests.report.browser.visiting import DESK, PHONE, Visits, overhang, violations
from tests.report.html.test_capacity import page as capacity_of
from tests.report.html.test_capacity import swept
from tests.report.html.test_reporter import HOSTILE

if TYPE_CHECKING:
    from tests.conftest import RunBuilder

Written = Callable[[JudgedRun, str], str]
SAMPLE = Path(__file__).parents[3] / "reports" / "sample" / "report.html"
LATENCY, RESOURCES, DISTRIBUTION = "#level-1-latency", "#level-1-resources", "#level-1-distribution"
DRAWN = """paths => paths.map(path => {
    const panel = path.closest('.panel'), {x, y, width, height} = path.getBBox();
    const points = path.getAttribute('d').match(/[ML]/g).length;
    const inside = x >= -1 && x + width <= 1001 && y >= -1 && y + height <= Number(panel.dataset.height) + 1;
    const figure = path.closest('figure').id.split('-').at(-1);
    return [figure, panel.querySelector('.panel-title').textContent, path.dataset.name, points, inside];
})"""
"""Of every series: its figure, panel and name, how many points it is drawn with, and whether all lie in the plot."""


def view(figure: Locator) -> set[str]:
    """What the plots of a figure show."""
    return {str(plot.get_attribute("viewBox")) for plot in figure.locator(".plot").all()}


def drag(page: Page, plot: Locator, start: float, end: float) -> None:
    """With the mouse, between two shares of the plot's width."""
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + start * box["width"], box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], box["y"] + 30)
    page.mouse.up()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [DESK, PHONE])
def test_a_real_runs_report_is_for_everybody(visits: Visits, width: int, scheme: str) -> None:
    """Contrast, names, roles and order, wherever it is opened; nothing is wider than the window."""
    page = visits.open(SAMPLE.as_uri(), width=width, scheme=scheme)
    assert violations(page) == []
    assert overhang(page) == 0


@pytest.mark.parametrize(("width", "scheme"), [(DESK, "light"), (PHONE, "dark")])
@pytest.mark.parametrize("name", ["failed", "recovered", "asking"])
def test_so_is_one_of_a_run_that_went_badly(
    name: str, width: int, scheme: str, visits: Visits, report: Written, request: pytest.FixtureRequest
) -> None:
    """Broken limits, faults, crashes, services, models: what the sample has not."""
    page = visits.show(report(request.getfixturevalue(name), "html"), width=width, scheme=scheme)
    assert violations(page) == []
    assert overhang(page) == 0


@pytest.mark.parametrize(("width", "scheme"), [(DESK, "dark"), (PHONE, "light")])
def test_so_is_that_of_a_sweep(visits: Visits, width: int, scheme: str) -> None:
    """The curves and their table; each of six loads is a point of the measured curve."""
    page = visits.show(capacity_of(swept()), width=width, scheme=scheme)
    assert violations(page) == []
    assert overhang(page) == 0
    drawn = page.eval_on_selector_all("path.series", DRAWN)
    assert [points for *_, name, points, _ in drawn if name == "measured"] == [6, 6]
    assert all(inside for *_, inside in drawn)


def test_every_chart_has_as_many_points_as_were_measured(visits: Visits, recovered: JudgedRun, report: Written) -> None:
    """400 workflows and 33 readings of everything, none of which had to be left out."""
    drawn = visits.show(report(recovered, "html")).eval_on_selector_all("path.series", DRAWN)
    assert all(inside for *_, inside in drawn)
    points = {tuple(place): count for *place, count, _ in drawn}
    assert points["latency", "latency", "ok"] == points["distribution", "latency", "ok"] == 400
    assert points["latency", "latency", "p95"] == points["latency", "latency", "p50"] == 20
    others = {(panel, name): count for (figure, panel, name), count in points.items() if figure == "resources"}
    assert others["CPU, of one core", "orchestrator"] == others["CPU, of one core", "load processes"] == 32
    assert others["memory (RSS)", "orchestrator"] == 33
    assert others["event loop lag, the longest", "lag"] == 33
    assert others["workflows in the orchestrator", "in the queue"] == 33
    assert others["busy instances of an agent's pool", "data"] == 33
    assert others["services: time to answer", "redis"] == 31
    assert others["services: time to answer", "postgres"] == 33


def test_every_series_can_be_seen(visits: Visits, recovered: JudgedRun, report: Written) -> None:
    """Alone in its plot it makes another picture than none; its button says whether it is shown."""
    page = visits.show(report(recovered, "html"))
    panels = page.locator(".panel").all()
    assert len(panels) >= 8
    for panel in panels:
        buttons, plot = panel.locator(".legend button").all(), panel.locator(".plot")
        for button in buttons:
            button.click()
            assert button.get_attribute("aria-pressed") == "false"
        page.mouse.move(0, 0)
        empty = plot.screenshot()
        for button in buttons:
            button.press("Enter")
            assert button.get_attribute("aria-pressed") == "true"
            assert plot.screenshot() != empty, (panel.inner_text(), button.inner_text())
            button.press("Enter")


def test_faults_are_shaded_and_named(visits: Visits, recovered: JudgedRun, report: Written) -> None:
    """From 15 to 17 s after measuring began at 10 s, in every plot over time."""
    page = visits.show(report(recovered, "html"))
    shade = page.locator(f"{LATENCY} .shade").first
    assert shade.locator("title").text_content() == "machine.cpu"
    assert page.locator(f"{RESOURCES} .panel").count() == page.locator(f"{RESOURCES} .plot:has(.shade)").count()


def test_a_pointer_reads_what_was_measured(visits: Visits, passed: JudgedRun, report: Written) -> None:
    """Half a core and 100 MiB, on all charts of the same clock at once."""
    page = visits.show(report(passed, "html"))
    panels = page.locator(f"{RESOURCES} .panel")
    cpu, memory = panels.filter(has_text="CPU, of one core"), panels.filter(has_text="memory (RSS)")
    cpu.locator(".plot").hover()
    assert "orchestrator 50 %" in cpu.locator("output").inner_text()
    assert "load processes 10 %" in cpu.locator("output").inner_text()
    assert "orchestrator 100 MiB" in memory.locator("output").inner_text()
    assert "p95 1 s" in page.locator(f"{LATENCY} output").inner_text()
    assert page.locator(f"{DISTRIBUTION} output").inner_text() == ""


def test_a_drag_zooms_all_charts_of_a_clock(visits: Visits, passed: JudgedRun, report: Written) -> None:
    """The middle half of the time, until everything is asked for again, by the button or by a double click."""
    page = visits.show(report(passed, "html"))
    latency, resources, distribution = (page.locator(name) for name in (LATENCY, RESOURCES, DISTRIBUTION))
    whole, other = view(resources), view(distribution)
    labels = latency.locator(".x-ticks text").all_text_contents()
    for back in (
        lambda: latency.locator(".tools button").click(),
        lambda: resources.locator(".plot").first.dblclick(),
    ):
        drag(page, latency.locator(".plot"), 0.25, 0.75)
        [shown] = {tuple(map(float, each.split()[:3:2])) for each in view(resources) | view(latency)}
        assert shown == pytest.approx((250, 500), abs=3)
        assert latency.locator(".x-ticks text").all_text_contents() != labels
        assert view(distribution) == other
        back()
        assert view(resources) == whole
        assert latency.locator(".x-ticks text").all_text_contents() == labels


def test_a_keyboard_does_all_of_it(visits: Visits, passed: JudgedRun, report: Written) -> None:
    """The skip link comes first; a chart is reached with Tab, read with arrows, zoomed with + and -."""
    page = visits.show(report(passed, "html"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.url.endswith("#content")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('panel')"):
            break
    read = page.locator(f"{LATENCY} output")
    page.keyboard.press("ArrowRight")
    first = read.inner_text()
    assert re.match(r"at [\d.]+ s · ok 1 s", first)
    page.keyboard.press("ArrowRight")
    assert read.inner_text() != first
    page.keyboard.press("+")
    page.keyboard.press("+")
    [near] = view(page.locator(LATENCY))
    assert float(near.split()[2]) == 250
    page.keyboard.press("-")
    page.keyboard.press("0")
    [whole] = view(page.locator(LATENCY))
    assert whole.startswith("0 0 1000 ")


def test_without_javascript_verdict_tables_and_charts_are_there(visits: Visits) -> None:
    """And nothing that would need it."""
    page = visits.open(SAMPLE.as_uri(), javascript=False)
    assert ": pass" in page.locator("h1").inner_text()
    assert page.locator("table").count() > 10
    assert page.locator("button").count() == 0
    for path in page.locator("path.series").all():
        box = path.bounding_box()
        assert box is not None
        assert box["width"] > 1
    assert overhang(page) == 0


def test_on_paper_what_is_folded_is_open(visits: Visits) -> None:
    """Nobody can click on it there; buttons and the list of contents are left out."""
    page = visits.open(SAMPLE.as_uri())
    inside = page.locator("details table").first
    assert not inside.is_visible()
    page.emulate_media(media="print")
    assert inside.is_visible()
    assert not page.locator("nav").is_visible()
    assert page.pdf().startswith(b"%PDF")


def test_hostile_words_do_nothing_and_break_no_layout(visits: Visits, run: RunBuilder, report: Written) -> None:
    """In ids, kinds, agents, classes of errors; and ten thousand of those."""
    run.agents = (HOSTILE,)
    step = run.step(HOSTILE)
    for number in range(20):
        run.workflow(1.0, id=f"{HOSTILE}{number}", kind=HOSTILE * 9, steps=(step,), target_accepted=15.0,
                     target_ended=16.0)  # fmt: skip
    for number in range(10_000):
        run.workflow(1.0, Outcome.FAILED, error_class=f"{HOSTILE}{number}", message=HOSTILE)
    run.phases()
    run.resources()
    page = visits.show(report(judge_run(run.write()), "html"), width=PHONE)
    assert page.locator("script").count() == 1
    assert page.locator("img").count() == 0
    assert page.locator("path.series").count() > 5
    assert violations(page) == []
    assert overhang(page) == 0


@pytest.mark.parametrize("last", ["", "warmup", "drain"])
def test_a_run_cut_short_is_a_page_like_any_other(last: str, visits: Visits, run: RunBuilder, report: Written) -> None:
    """Nothing was written; or it ended in the middle."""
    if last:
        run.workflows(30)
        run.phases(last=last)
    run.finished = False
    judged = judge_run(run.write())
    page = visits.show(report(judged, "html"), width=PHONE)
    assert judged.verdict.word in page.locator("h1").inner_text()
    assert violations(page) == []
    assert overhang(page) == 0
