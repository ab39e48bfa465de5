"""Numbers as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scenario.units import EXAMPLES, SCALES, Kind, parse, render

kinds = st.sampled_from(list(SCALES))


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("5 s", "duration", 5),
        ("200ms", "duration", 0.2),
        ("8 min", "duration", 480),
        ("512 MiB", "size", 512 * 2**20),
        ("1.5 kB", "size", 1500),
        ("80 %", "share", 0.8),
        ("150%", "share", 1.5),
        ("6/s", "rate", 6),
        ("30 /min", "rate", 0.5),
        ("50", "count", 50),
    ],
)
def test_the_number_a_text_stands_for(text: str, kind: Kind, value: float) -> None:
    """A space between number and unit is optional; the result is in seconds, bytes, fractions and per second."""
    assert parse(text, kind) == pytest.approx(value)


@pytest.mark.parametrize(
    "text", ["5", "s", "-5 s", "5 parsecs", "5 s s", "", "nan s", "1e999 s", "0x5 s", 5, 5.0, None, True]
)
def test_anything_else_is_refused_with_an_example(text: object) -> None:
    """A duration needs its unit, is not negative and is finite; the message shows how to write one."""
    with pytest.raises(ValueError, match='write "5 s"'):
        parse(text, "duration")


@given(kinds, st.text(max_size=12))
def test_no_text_makes_anything_but_a_finite_number_or_a_value_error(kind: Kind, text: str) -> None:
    """The parser has no third way out."""
    try:
        value = parse(text, kind)
    except ValueError:
        return
    assert math.isfinite(value)
    assert value >= 0


@given(kinds, st.floats(1e-3, 1e9))
def test_what_is_rendered_reads_back_to_the_digits_shown(kind: Kind, value: float) -> None:
    """Round trip, within the three significant digits a table shows (sizes from a MiB, where tables begin)."""
    value = value * 2**20 if kind == "size" else value
    assert parse(render(value, kind), kind) == pytest.approx(value, rel=5e-3)


@given(kinds, st.floats(0, 1e6), st.data())
def test_every_unit_scales_as_its_table_says(kind: Kind, value: float, data: st.DataObject) -> None:
    """Each unit multiplies by its own factor, whatever the number."""
    unit, scale = data.draw(st.sampled_from(list(SCALES[kind].items())))
    assert parse(f"{value!r} {unit}", kind) == pytest.approx(value * scale)


@pytest.mark.parametrize("kind", SCALES)
def test_the_examples_in_messages_are_right(kind: Kind) -> None:
    """What a message tells people to write is accepted."""
    for example in EXAMPLES[kind].split('"')[1::2]:
        assert parse(example, kind) > 0
