"""The duet's picture in SVG: every pair is there, nothing runs, and what others wrote cannot steer it."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from harness.report.picture import HEIGHT, WIDTH, duet_svg
from harness.report.svg import COLOURS, wrapped
from tests.report.drawn import DOTS, change, shifts

SVG = "{http://www.w3.org/2000/svg}"


def drawn(text: str) -> ElementTree.Element:
    """The picture, parsed."""
    return ElementTree.fromstring(text)


def y_of(root: ElementTree.Element, words: str) -> float:
    """The height of the dot that says so."""
    dots = root.iter(f"{SVG}circle")
    return next(float(dot.attrib["cy"]) for dot in dots if (dot.findtext(f"{SVG}title") or "").startswith(words))


def test_every_pair_and_every_quantile_is_a_dot() -> None:
    """Nothing is summarised away, and each dot says its number."""
    root = drawn(duet_svg("t", "s", DOTS, change(), shifts(0.1), margin=math.log1p(0.1)))
    said = [dot.findtext(f"{SVG}title") or "" for dot in root.iter(f"{SVG}circle")]
    assert [text.split(":")[0] for text in said[:10]] == [f"pair {n}" for n in range(1, 11)]
    assert len(said) == len(DOTS) + len(shifts(0.1))
    assert said[0] == "pair 1: +10.5 %"


def test_worse_is_above() -> None:
    """For every metric: a pair whose throughput fell lies above one whose throughput rose."""
    for metric in ("p95", "throughput", "success", "rss_slope"):
        root = drawn(duet_svg("t", "s", [0.2, -0.2], change(metric), []))
        assert y_of(root, "pair 1") < y_of(root, "pair 2"), metric


def test_everything_lies_inside_the_picture() -> None:
    """Also with outliers, a sentence as long as they come, and a margin far away."""
    text = duet_svg("t" * 300, "word " * 200, [5.0, -3.0, *DOTS], change(), shifts(0.1, 4.0), margin=2.0)
    for node in drawn(text).iter():
        for name in ("x", "x1", "x2", "cx"):
            assert 0 <= float(node.get(name, 0)) <= WIDTH
        for name in ("y", "y1", "y2", "cy"):
            assert 0 <= float(node.get(name, 0)) <= HEIGHT
        assert len(node.text or "") < 150 or node.tag in (f"{SVG}desc", f"{SVG}title", f"{SVG}style")


def test_what_others_wrote_is_text() -> None:
    """Names of scenarios come from files: they are never markup, and control characters are left out."""
    text = duet_svg('<script>"&', "</desc><b>\x00\x1b[31m", DOTS, change(), [])
    root = drawn(text)
    assert root.find(f"{SVG}title").text == '<script>"&'  # type: ignore[union-attr]
    assert root.attrib["aria-label"] == '<script>"&'
    assert {node.tag for node in root.iter()} <= {
        f"{SVG}{tag}" for tag in ("svg", "title", "desc", "style", "rect", "line", "circle", "text", "polyline")
    }


def test_legible_without_styles_and_in_the_dark() -> None:
    """Colours are attributes; the one style sheet only swaps them, and nothing is fetched or run."""
    text = duet_svg("t", "s", DOTS, change(), shifts(0.1), margin=0.1)
    for node in drawn(text).iter():
        assert "style" not in node.attrib
        for colour in (node.get("fill"), node.get("stroke")):
            assert colour in (None, "none", *(light for light, _ in COLOURS.values()))
    assert "prefers-color-scheme:dark" in text
    assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg"]


def test_those_who_do_not_see_it_are_told() -> None:
    """Title and description hold the sentence and the numbers."""
    root = drawn(duet_svg("p95 of it", "It is slower.", DOTS, change(), shifts(0.1)))
    told = root.findtext(f"{SVG}desc") or ""
    assert root.attrib["role"] == "img"
    assert told.startswith("It is slower. p95 in 10 pairs: mean +11.6 % (+7.3 to +16.2 %).")
    assert "p99 +10.5 % (+8.3 to +12.7 %)" in told


@pytest.mark.parametrize(("mean", "ink"), [(0.11, "worse"), (-0.11, "better"), (0.01, "same")])
def test_the_interval_says_whether_it_is_certain(mean: float, ink: str) -> None:
    """Its colour is worse or better only where the interval leaves zero out."""
    root = drawn(duet_svg("t", "s", DOTS, change(mean=mean), []))
    bands = [band for band in root.iter(f"{SVG}rect") if band.get("fill-opacity")]
    assert [band.get("class") for band in bands] == [f"hp-f-{ink}"]


def test_pairs_without_a_number_keep_their_place() -> None:
    """A change that is not finite has no dot, and moves no other."""
    both = drawn(duet_svg("t", "s", [0.1, 0.1, 0.1], change(), []))
    one = drawn(duet_svg("t", "s", [0.1, math.inf, 0.1], change(), []))
    places = [[dot.get("cx") for dot in root.iter(f"{SVG}circle")] for root in (both, one)]
    assert places[1] == [places[0][0], places[0][2]]


def test_wrapping_cuts_with_an_ellipsis() -> None:
    """Lines are no longer than asked for, and what is missing shows."""
    assert wrapped("one two three", 7, 3) == ["one two", "three"]
    assert wrapped("one two three", 7, 1) == ["one …"]
    assert wrapped("x" * 20, 7, 1) == ["xxxxxx…"]
