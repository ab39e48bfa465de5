"""A series in a line of text: how services answered, a character a stretch of time."""

from __future__ import annotations

from collections.abc import Sequence

from harness.scenario.units import render

BARS = "▁▂▃▄▅▆▇█"
BOUNDS_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""A bar stands for up to its bound, the highest for anything longer: a step is a factor of three, because what is
normal for a service and what is not differ by orders of magnitude."""
NO_ANSWER = "!"

SPARKLINE_NOTE = (
    f"{BARS[0]} up to {render(BOUNDS_S[0], 'duration')}, each next bar about three times as long, "
    f"{BARS[-1]} beyond {render(BOUNDS_S[-1], 'duration')}, {NO_ANSWER} no answer."
)


def sparkline(values_s: Sequence[float | None]) -> str:
    """A character for each value, in seconds; None is no answer."""
    return "".join(NO_ANSWER if value is None else BARS[sum(value > bound for bound in BOUNDS_S)] for value in values_s)
