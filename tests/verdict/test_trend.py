"""The history of a level: a point a sitting, the machine taken out, and changes that came and went."""

from __future__ import annotations

import math

import pytest

from harness.verdict.trend import MetricTrend, trend_of
from tests.verdict.accepted import baseline, commit, entry, of_entries


def p50_of(found: tuple[MetricTrend, ...]) -> MetricTrend:
    """The trend of p50."""
    return next(each for each in found if each.metric == "p50")


def test_a_change_is_dated_and_sized() -> None:
    """Between the last sitting before it and the first after it, on the metric's own scale."""
    trend = trend_of(baseline(30, lambda week: 1.2 if week >= 18 else 1.0, referenced=False))
    [turn] = p50_of(trend.metrics).turns
    assert (turn.last, turn.first) == (17, 18)
    assert trend.sittings[turn.first].commit == commit(18)
    assert turn.change == pytest.approx(0.2, abs=0.03)
    assert turn.before == pytest.approx(0.05, rel=0.02)
    assert turn.is_worse
    assert turn.gone_after is None


def test_throughput_that_falls_is_worse() -> None:
    """Its values stay its own: jobs a second, and a change with its own sign."""
    trend = trend_of(baseline(30, lambda week: 1.25 if week >= 18 else 1.0, referenced=False))
    [turn] = next(each for each in trend.metrics if each.metric == "throughput").turns
    assert turn.is_worse
    assert turn.change == pytest.approx(-0.2, abs=0.03)
    assert turn.before == pytest.approx(80, rel=0.02)


def test_what_went_away_is_told_with_its_length() -> None:
    """A later change point that leads back undoes it; one that leads further up does not."""
    back = trend_of(baseline(40, lambda week: 1.3 if 15 <= week < 26 else 1.0))
    first, second = p50_of(back.metrics).turns
    assert (first.gone_after, second.gone_after) == (11, None)
    further = trend_of(baseline(40, lambda week: 1.0 if week < 12 else 1.2 if week < 26 else 1.5))
    assert [turn.gone_after for turn in p50_of(further.metrics).turns] == [None, None]


def test_the_machine_is_taken_out_like_for_like() -> None:
    """A change of 10 % is lost in a machine that varies by 15 %, and found beside a reference that varied along."""

    def slower(week: int) -> float:
        return 1.1 if week >= 20 else 1.0

    blind = p50_of(trend_of(baseline(40, slower, spread=0.15, referenced=False)).metrics)
    seeing = p50_of(trend_of(baseline(40, slower, spread=0.15)).metrics)
    assert blind.slope == 0
    assert blind.turns == ()
    assert seeing.slope == pytest.approx(1.0, abs=0.1)
    assert [turn.first for turn in seeing.turns] == [20]


def test_a_big_change_does_not_hide_the_reference() -> None:
    """How far the target goes along is taken from one sitting to the next, so a doubling does not look like discord."""
    trend = p50_of(trend_of(baseline(40, lambda week: 2.0 if week >= 20 else 1.0, spread=0.1)).metrics)
    assert trend.slope == pytest.approx(1.0, abs=0.2)


def test_one_sitting_without_a_reference_leaves_all_as_measured() -> None:
    """Else the change from one scale to the other would be a change point."""
    entries = [entry(week, 1.0, machine=1 + week % 5 / 10) for week in range(24)]
    entries[3] = entry(3, 1.0, machine=1.3, referenced=False)
    trend = p50_of(trend_of(of_entries(*entries)).metrics)
    assert trend.slope == 0
    assert trend.values[0] == pytest.approx(0.05, rel=0.02)


def test_runs_of_a_sitting_are_one_point() -> None:
    """Five reruns in one sitting are one word of the machine, not five."""
    entries = [entry(week, 1.0, sitting=f"s{week // 5}", run=f"r{week}") for week in range(30)]
    trend = trend_of(of_entries(*entries))
    assert [sitting.runs for sitting in trend.sittings] == [5] * 6
    assert p50_of(trend.metrics).missing == 14
    assert trend.sittings[0].commit == commit(4)


def test_epochs_are_one_series() -> None:
    """What a new epoch accepted is a change like any other, and shown with the epoch it began."""
    entries = [entry(week, 1.3 if week >= 14 else 1.0, epoch=2 if week >= 14 else 1) for week in range(28)]
    trend = trend_of(of_entries(*entries))
    assert [turn.first for turn in p50_of(trend.metrics).turns] == [14]
    assert [sitting.epoch for sitting in trend.sittings] == [1] * 14 + [2] * 14


def test_what_a_sitting_lacks_moves_no_other() -> None:
    """Change points keep their place among all sittings."""
    entries = [entry(week, 1.3 if week >= 15 else 1.0) for week in range(30)]
    bare = entry(3, 1.0)
    entries[3] = type(bare)(**{name: getattr(bare, name) for name in bare.__struct_fields__ if name != "reading"},
                            reading=type(bare.reading)(arrivals=0, ok=0, measure_s=1.0, blocks=()))  # fmt: skip
    trend = trend_of(of_entries(*entries))
    found = p50_of(trend.metrics)
    assert 3 not in found.places
    assert len(found.values) == 29
    assert [turn.first for turn in found.turns] == [15]
    assert "p50" not in trend.sittings[3].values


def test_short_histories_say_what_lacks() -> None:
    """Down to none and one, nothing is claimed."""
    for weeks in (0, 1, 2, 19, 20):
        found = p50_of(trend_of(baseline(weeks)).metrics)
        assert found.missing == 20 - weeks
        assert len(found.values) == weeks
        assert found.turns == ()
        assert all(math.isfinite(value) for value in found.values)
