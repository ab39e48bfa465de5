"""Numbers become places, and places say what they were."""

from __future__ import annotations

import re

import numpy as np
import pytest

from harness.report.html.chart import ACROSS, Across, Drawn, Panel, Scale, Series, Shade, drawn, over_time
from harness.scenario.units import Kind

TIME = over_time(100.0, 110.0, 100.0)


def made(values: list[float], *, unit: Kind = "duration", scale: Scale = "linear", **more: object) -> Drawn:
    """A panel of one line over ten seconds."""
    line = Series("one", "same", np.linspace(0, 10, len(values)), np.array(values))
    found = drawn(Panel("what", unit, TIME, [line], scale, **more))  # type: ignore[arg-type]
    assert found is not None
    return found


def places(found: Drawn) -> list[tuple[float, float]]:
    """Of the first path."""
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", found.paths[0].d)]


def read_back(found: Drawn, y: float) -> float:
    """The value behind a place, as the page's script finds it."""
    share = 1 - y / found.height
    if found.scale == "log":
        return float(found.low * (found.high / found.low) ** share)
    return found.low + share * (found.high - found.low)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_value_can_be_read_back_from_its_place(scale: Scale) -> None:
    """To three digits of the scale, from whichever scale."""
    values = [0.011, 0.2, 0.05, 3.0]
    found = made(values, scale=scale)
    assert [x for x, _ in places(found)] == pytest.approx([0, ACROSS / 3, 2 * ACROSS / 3, ACROSS], abs=0.01)
    tolerance = 0.001 * max(values) if scale == "linear" else 0
    for (_, y), value in zip(places(found), values, strict=True):
        assert read_back(found, y) == pytest.approx(value, rel=0.002, abs=tolerance)


def test_a_narrow_logarithmic_scale_has_more_than_one_label() -> None:
    """Between 0.7 and 1.2 s there is only one of 1, 2 and 5."""
    labels = [label for _, label in made([0.74, 1.16], scale="log").y_ticks]
    assert len(labels) > 2
    assert "1 s" in labels


def test_a_line_is_broken_where_nothing_is_known() -> None:
    """Two parts, each begun anew; a point alone is seen as a dot."""
    assert made([1.0, 2.0, float("nan"), 3.0, 4.0]).paths[0].d.count("M") == 2
    assert made([float("nan"), 2.0, float("nan")]).paths[0].d.endswith("h0")


def test_a_panel_without_a_number_is_none() -> None:
    """So that no empty chart is shown."""
    line = Series("one", "same", np.array([1.0]), np.array([float("nan")]))
    assert drawn(Panel("what", "count", TIME, [line])) is None


@pytest.mark.parametrize(
    ("unit", "values", "labels"),
    [
        ("size", [2.0**20 * 90, 2.0**20 * 100], ["0 MiB", "50 MiB", "100 MiB"]),
        ("share", [0.1, 0.195], ["0 %", "10 %", "20 %"]),
        ("count", [0.0, 0.0], ["0", "1"]),
        ("duration", [0.0, 2.0], ["0 ms", "1 s", "2 s"]),
    ],
)
def test_labels_are_round_in_the_unit_that_is_shown(unit: Kind, values: list[float], labels: list[str]) -> None:
    """Bytes in MiB, shares in percent."""
    assert [label for _, label in made(values, unit=unit).y_ticks] == labels


def test_labels_of_a_log_scale_are_1_2_and_5_or_decades() -> None:
    """As many as have room."""
    assert [label for _, label in made([0.1, 1.0], scale="log").y_ticks] == ["100 ms", "200 ms", "500 ms", "1 s"]
    decades = ["1 ms", "10 ms", "100 ms", "1 s", "10 s"]
    assert [label for _, label in made([0.001, 10.0], scale="log").y_ticks] == decades


def test_a_shade_is_cut_to_the_axis_and_never_too_thin_to_see() -> None:
    """A fault that outlived the level ends at its edge; one of a moment is a line."""
    shades = [Shade(8.0, 99.0, "long"), Shade(5.0, 5.0, "moment"), Shade(20.0, 30.0, "elsewhere")]
    found = made([1.0, 2.0], shades=shades)
    assert [(x, width) for x, width, _ in found.shades] == [(800.0, 200.0), (500.0, 1.0)]


def test_the_words_name_every_series_and_shade() -> None:
    """For those who do not see the picture."""
    says = made([1.0, 2.0, 3.0], shades=[Shade(1.0, 2.0, "redis.black_hole")]).says
    assert says == "what. one: 3 points, median 2 s, at most 3 s. Shaded: redis.black_hole."


def test_dots_are_counted_though_fewer_are_drawn() -> None:
    """A hundred thousand of them."""
    rng = np.random.default_rng(1)
    dots = Series("ok", "same", np.sort(rng.random(100_000) * 10), rng.lognormal(size=100_000), dots=True)
    found = drawn(Panel("latency", "duration", TIME, [dots], "log"))
    assert found is not None
    assert found.paths[0].count == 100_000
    assert 500 < found.paths[0].d.count("M") <= 2500
    top = min(y for _, y in places(found))
    assert read_back(found, top) == pytest.approx(dots.y.max(), rel=0.01)


def test_an_axis_of_no_length_is_one_still() -> None:
    """A level that was cut at once."""
    axis = over_time(5.0, 5.0, 5.0)
    assert isinstance(axis, Across)
    assert axis.high > axis.low
