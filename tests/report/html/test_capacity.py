"""The page of a sweep: its answer first, then the curves that carry it."""

from __future__ import annotations

import re

from harness.report.html.capacity import capacity_page
from harness.statistics.capacity import Condition
from harness.statistics.point import Point
from harness.verdict.capacity import Assessment, assess

LOADS = (1, 2, 4, 8, 16, 32)


def swept(*, refused: tuple[str, ...] = (), mode: str = "closed") -> Assessment:
    """An agent with eight instances, a tenth of a second each."""
    points = [
        Point(
            load=load, sitting=sitting, run="r", ended=100, rate=10.0 * min(load, 8), mean_s=0.1, refused=refused,
            metrics={"p95": max(0.1, load / 10) * (1 + 0.01 * sitting), "throughput": 10.0 * min(load, 8)},
            pools={"<data>": min(1.0, load / 8)}, services={"redis": 0.001 * load},
        )
        for sitting in (1, 2, 3) for load in LOADS
    ]  # fmt: skip
    return assess(points, (Condition("p95", "<", 1.0),), text="p95 < 1 s", mode=mode, rig_rate=5000.0)


def page(found: Assessment) -> str:
    return capacity_page(found, scenario="my <bot>", command="harness capacity my_bot --slo='p95 < 1 s'")


def names(text: str) -> list[str]:
    """Of the series that are drawn, in order."""
    return re.findall(r'data-name="([^"]*)"', text)


def test_the_answer_and_its_curves() -> None:
    """The objective's metric with its bound, throughput with its law, pools and services; the interval is shaded."""
    text = page(swept())
    assert "9.8 at once" in text
    assert names(text) == ["measured", "objective &lt;", "measured", "explained by pool", "&lt;data&gt;", "redis"]
    assert text.count('class="shade') == 4
    assert "<title>capacity 9.8</title>" in text
    assert "Capacity of my &lt;bot&gt;" in text
    assert "harness capacity my_bot --slo=&#39;p95 &lt; 1 s&#39;" in text


def test_every_load_is_a_point() -> None:
    """Of the measured curve, none left out."""
    measured = re.search(r'data-name="measured" data-dots="0" data-count="(\d+)" d="([^"]*)"', page(swept()))
    assert measured is not None
    assert int(measured[1]) == len(LOADS)
    assert len(re.findall("[ML]", measured[2])) == len(LOADS)


def test_levels_that_are_not_believed_have_no_curve() -> None:
    """The page says why instead."""
    text = page(swept(refused=("Little's law is off by 20 %",)))
    assert names(text) == []
    assert "no capacity can be told" in text
    assert "Little&#39;s law is off by 20 %" in text


def test_open_load_is_told_in_arrivals_a_second() -> None:
    """On its axis, too."""
    assert 'data-x-unit="rate"' in page(swept(mode="open"))
