"""A series in a line: orders of magnitude can be told apart, and silence from slowness."""

from __future__ import annotations

from harness.report.sparkline import BARS, BOUNDS_S, SPARKLINE_NOTE, sparkline


def test_each_order_has_its_own_bar() -> None:
    """A bound belongs to the bar below it."""
    assert sparkline([0.0, *BOUNDS_S, 5.0, None]) == f"{BARS[0]}{BARS}!"


def test_the_note_names_the_ends() -> None:
    """In words that a reader of the report knows."""
    assert SPARKLINE_NOTE == "▁ up to 1 ms, each next bar about three times as long, █ beyond 1 s, ! no answer."
