"""Spreads and what they let a test see, from rounds whose noise is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.statistics.noise import (
    METRICS,
    PAIRS,
    SITTINGS,
    WORKFLOWS,
    Floats,
    Sight,
    _for_n,
    block_logs,
    chance_sd,
    duet_sd,
    history_sd,
    sights,
    spreads,
)

SIGMA = 0.3  # of a workflow's logarithm


def rounds(count: int, n: int, machine: list[float] | float = 0.0, *, seed: int = 1) -> list[Floats]:
    """Lognormal workflows about 1 s; each round on a machine that is slower by its `machine` (a logarithm)."""
    rng = np.random.default_rng(seed)
    slower = [machine] * count if isinstance(machine, float) else machine
    return [np.exp(rng.normal(each, SIGMA, size=n)) for each in slower]


def machine(count: int, sd: float, *, seed: int = 2) -> list[float]:
    """How slow a machine is from round to round."""
    drawn: list[float] = np.random.default_rng(seed).normal(0.0, sd, size=count).tolist()
    return drawn


def test_the_spread_of_rounds_is_the_machines_and_chances_together() -> None:
    """10 % of machine and sqrt(pi / 2) x 30 % / sqrt(400) = 1.9 % of chance (the median's, for normal logarithms)."""
    [p50, p95] = spreads(rounds(60, 400, machine(60, 0.1)), None)
    chance = math.sqrt(math.pi / 2) * SIGMA / math.sqrt(400)
    assert p50.chance == pytest.approx(chance, rel=0.2)
    assert p50.between == pytest.approx(math.hypot(0.1, chance), rel=0.25)
    assert p50.typical_s == pytest.approx(1.0, abs=0.05)
    assert p95.typical_s > p50.typical_s
    assert p95.chance > p50.chance
    assert (p50.calibrated, p50.correlation) == (None, None)


def test_the_reference_takes_the_machine_out() -> None:
    """Rounds of both go along with the machine; what is left is smaller, as far as the slope is the right one."""
    slower = machine(20, 0.1)
    [p50, _] = spreads(rounds(20, 400, slower), rounds(20, 400, slower, seed=3))
    assert p50.correlation is not None
    assert p50.correlation > 0.9
    assert p50.calibrated is not None
    assert p50.calibrated < 0.4 * p50.between


def test_a_reference_that_goes_its_own_way_is_left_out() -> None:
    """As the gate does: a correlation below one half takes nothing out."""
    [p50, _] = spreads(rounds(20, 400, machine(20, 0.1)), rounds(20, 400, machine(20, 0.1, seed=9), seed=3))
    assert p50.correlation is not None
    assert p50.correlation < 0.5
    assert p50.calibrated is None


def test_more_workflows_make_chance_smaller_and_leave_the_machine() -> None:
    """Without machine noise the spread falls as 1 / sqrt(n); with it, it stays above it."""
    quiet, noisy = rounds(200, 200), rounds(200, 200, machine(200, 0.1))
    assert history_sd(quiet, "p50", 3200) < 0.5 * history_sd(quiet, "p50", 200)
    assert history_sd(noisy, "p50", 3200) > 0.08


def test_what_drifts_slowly_drops_out_of_a_duet() -> None:
    """Rounds get slower by a third in the end; neighbours differ by chance."""
    drifting = rounds(30, 400, [0.01 * number for number in range(30)])
    assert duet_sd(drifting, "p50", 400) < 2 * math.sqrt(2) * chance_sd(drifting, 0.5, 400, blocks=1)
    assert history_sd(drifting, "p50", 400) > 0.08


def test_rounds_that_draw_the_same_do_not_differ() -> None:
    """One seed: chance is in all of them alike, and more workflows do not make less of nothing."""
    [one] = rounds(1, 100)
    assert history_sd([one] * 6, "p50", 2000) == 0.0
    assert duet_sd([one] * 6, "p95", 50) == 0.0


@given(between=st.floats(0, 1), chance=st.floats(1e-6, 1), then=st.floats(1e-6, 1))
def test_the_spread_of_other_numbers_of_workflows(between: float, chance: float, then: float) -> None:
    """The same for the same number, never less for fewer, and never below what is above chance."""
    assert _for_n(between, chance, chance) == pytest.approx(between)
    assert _for_n(between, chance, then) <= _for_n(between, chance, 2 * then) + 1e-12
    assert _for_n(between, chance, then) >= math.sqrt(max(0.0, between**2 - chance**2)) - 1e-12


def test_few_workflows_make_few_blocks() -> None:
    """The p95 of three workflows is their maximum: a block has at least twenty, unless the round has fewer."""
    assert [len(block_logs(np.ones(n), 0.95)) for n in (7, 39, 40, 400, 4000)] == [1, 1, 2, 20, 20]


def test_what_could_be_seen_is_what_the_tests_themselves_say() -> None:
    """For ten sittings (t(.99, 9) + t(.8, 9)) x s x sqrt(1 + 1 / 10), and less the more there are."""
    measured = rounds(12, 500, machine(12, 0.08))
    found = {(sight.metric, sight.by, sight.n, sight.times): sight.mde or 0.0 for sight in sights(measured)}
    assert set(found) == {
        (metric, by, n, times)
        for metric in METRICS
        for by, all_times in (("history", SITTINGS), ("duet", PAIRS))
        for n in WORKFLOWS
        for times in all_times
    }
    sd = history_sd(measured, "p50", 500)
    assert found["p50", "history", 500, 10] == pytest.approx(
        math.expm1((2.8214 + 0.8834) * sd * math.sqrt(1.1)), rel=1e-3
    )
    for metric in METRICS:
        for n in WORKFLOWS:
            for by, all_times in (("history", SITTINGS), ("duet", PAIRS)):
                row = [found[metric, by, n, times] for times in all_times]
                assert row == sorted(row, reverse=True)


def test_a_quiet_machine_sees_less_than_a_noisy_one() -> None:
    """In every cell of the table."""

    def mdes(found: tuple[Sight, ...]) -> list[float]:
        return [sight.mde for sight in found if sight.mde is not None]

    quiet, noisy = (mdes(sights(rounds(12, 500, machine(12, sd)))) for sd in (0.02, 0.15))
    assert len(quiet) == len(noisy) == 24
    assert all(few < many for few, many in zip(quiet, noisy, strict=True))
