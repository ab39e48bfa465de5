"""Whether the machine stayed the same."""

from __future__ import annotations

from harness.statistics.steady import MOVED_MAX, Steady, moved


def looks(*p50s: float | None, cpu_s: float | None = 0.002) -> list[Steady]:
    return [Steady(sitting=number + 1, p50_s=p50_s, cpu_s=cpu_s) for number, p50_s in enumerate(p50s)]


def test_a_look_that_lies_far_off_is_named() -> None:
    """By its sitting and how far."""
    assert moved(looks(0.25, 0.26, 0.35, 0.25)) == ["in sitting 3 the reference took +37% of its median"]
    assert moved([*looks(0.25, 0.25), Steady(sitting=3, p50_s=0.25, cpu_s=0.003)]) == [
        "in sitting 3 the reference cost in CPU +50% of its median"
    ]


def test_what_is_near_or_was_not_measured_is_not() -> None:
    """One look alone says nothing."""
    assert moved(looks(0.25, 0.25 * (1 + 0.9 * MOVED_MAX), None)) == []
    assert moved(looks(0.25)) == []
    assert moved([]) == []
