"""The contract of every LoadProfile: offsets ascend, end, lie inside the level, and depend on the seed alone."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load.arrivals import PROFILES, Bursts, Closed, Constant, LoadProfile, Poisson, Steps, profile_of
from harness.scenario.scenario import Load

rates = st.floats(0.1, 200.0)
spans = st.floats(0.0, 20.0)
profiles: st.SearchStrategy[tuple[LoadProfile, float]] = st.one_of(
    st.builds(lambda rate, span: (Constant(rate, span), span), rates, spans),
    st.builds(lambda rate, span: (Poisson(rate, span), span), rates, spans),
    st.builds(
        lambda steps, each, lead: (Steps(steps, each, lead), lead + each * len(steps)),
        st.lists(rates, min_size=1, max_size=4), st.floats(0.0, 5.0), st.floats(0.0, 5.0),
    ),
    st.builds(
        lambda total, size, every, lead: (Bursts(total, size, every, lead), lead + every * (total // size) + 1e-9),
        st.integers(0, 300), st.integers(1, 50), st.floats(0.0, 3.0), st.floats(0.0, 5.0),
    ),
)  # fmt: skip
"""Profiles with the end of their schedule, s."""


@given(profiles, st.integers())
def test_offsets_ascend_inside_the_schedule(case: tuple[LoadProfile, float], seed: int) -> None:
    """Never before the start, never after the end, never backwards; and there is an end."""
    profile, ends_s = case
    offsets = list(profile.arrivals(Random(seed)))
    assert all(0.0 <= offset <= ends_s * (1 + 1e-9) for offset in offsets)
    assert all(earlier <= later for earlier, later in pairwise(offsets))


@given(profiles, st.integers())
def test_the_same_seed_gives_the_same_arrivals(case: tuple[LoadProfile, float], seed: int) -> None:
    """Replaying a run replays its arrivals."""
    profile, _ = case
    assert list(profile.arrivals(Random(seed))) == list(profile.arrivals(Random(seed)))


def test_random_profiles_differ_between_seeds() -> None:
    """The seed is not decoration."""
    assert list(Poisson(10, 5).arrivals(Random(1))) != list(Poisson(10, 5).arrivals(Random(2)))


@given(st.floats(1.0, 100.0), st.floats(0.5, 10.0))
def test_constant_arrivals_are_counted_by_their_rate(rate: float, duration_s: float) -> None:
    """Rate times duration, without drift."""
    offsets = list(Constant(rate, duration_s).arrivals(Random(0)))
    assert abs(len(offsets) - rate * duration_s) <= 1
    assert offsets[-1] == pytest.approx((len(offsets) - 1) / rate)


def test_poisson_arrivals_have_the_mean_and_the_spread_of_their_name() -> None:
    """Over 20,000 gaps: mean 1/rate, and a standard deviation equal to it, within 3 %."""
    offsets = list(Poisson(1000.0, 20.0).arrivals(Random(7)))
    gaps = [later - earlier for earlier, later in pairwise(offsets)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(1e-3, rel=0.03)
    assert deviation == pytest.approx(1e-3, rel=0.03)


def test_steps_keep_each_rate_for_its_time() -> None:
    """The lead at the first rate, then one rate after the other."""
    offsets = list(Steps((100.0, 400.0), each_s=10.0, lead_s=5.0).arrivals(Random(3)))
    counts = [sum(low <= offset < high for offset in offsets) for low, high in ((0, 5), (5, 15), (15, 25))]
    assert counts == [pytest.approx(500, rel=0.15), pytest.approx(1000, rel=0.15), pytest.approx(4000, rel=0.15)]


def test_bursts_come_whole_and_the_last_may_be_smaller() -> None:
    """Seven in bursts of three, two seconds apart, after a lead of one."""
    assert list(Bursts(7, 3, 2.0, lead_s=1.0).arrivals(Random(0))) == [1, 1, 1, 3, 3, 3, 5]


@pytest.mark.parametrize(
    ("load", "profile"),
    [
        (Load(closed=(25,)), Closed(25)),
        (Load(open=(6.0,), arrivals="constant", warmup=1, measure=9), Constant(6.0, 10.0)),
        (Load(open=(6.0,), warmup=1, measure=9), Poisson(6.0, 10.0)),
        (Load(open=(8.0,), arrivals="steps", step_shares=(0.5, 1), warmup=1, measure=10), Steps([4.0, 8.0], 5.0, 1.0)),
        (Load(burst=(50,), warmup=2), Bursts(50, 50, 1.0, 2.0)),
        (Load(burst=(50,), burst_size=10, burst_every=3.0, warmup=0), Bursts(50, 10, 3.0, 0.0)),
    ],
)  # fmt: skip
def test_a_level_has_the_profile_that_its_scenario_says(load: Load, profile: Closed | LoadProfile) -> None:
    """Each kind of load; bursts begin when warm-up ends."""
    assert profile_of(load, load.levels[0]) == profile


def test_every_kind_of_load_has_a_profile() -> None:
    """Five kinds; a sixth must be added to this list, and to the tests above."""
    assert set(PROFILES) == {"closed", "burst", "constant", "poisson", "steps"}
