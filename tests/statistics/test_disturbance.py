"""Others' share of the machine, by time block, from readings whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.observation.observation import MachineUse, ResourceSample
from harness.statistics.disturbance import disturbed_shares

EDGES = [10.0, 11.0, 12.0, 13.0, 14.0]
TIMES = [8 + step / 2 for step in range(17)]


def machine(at: float, *, busy: float, own: float | None, stolen: float | None = 0.0) -> ResourceSample:
    """A sample of a machine with two cores."""
    use = MachineUse(cores=2, busy_s=1000.0 + busy, own_s=own, stolen_s=None if stolen is None else 7.0 + stolen)
    return ResourceSample(level="10", at=at, machine=use)


def steady(
    busy: float, own: float | None, stolen: float | None = 0.0, times: Sequence[float] = TIMES
) -> list[ResourceSample]:
    """Samples of steady use, in CPU seconds a second, twice a second from 8 s to 16 s."""
    return [
        machine(at, busy=busy * at, own=None if own is None else own * at, stolen=stolen and stolen * at)
        for at in times
    ]


def test_what_is_busy_and_not_ours_is_others() -> None:
    """1.2 of two cores busy, 0.8 of them ours, and 0.1 stolen: (0.4 + 0.1) / 2."""
    assert disturbed_shares(steady(1.2, 0.8, 0.1), EDGES) == pytest.approx([0.25] * 4)


def test_a_neighbour_disturbs_the_block_it_is_in() -> None:
    """From 11 s to 12 s it takes one of two cores; the other blocks are ours alone."""

    def busy(at: float) -> float:
        return 0.5 * at + min(max(at - 11.0, 0.0), 1.0)

    found = [machine(at, busy=busy(at), own=0.5 * at) for at in TIMES]
    assert disturbed_shares(found, EDGES) == pytest.approx([0.0, 0.5, 0.0, 0.0])


def test_a_busy_target_is_no_neighbour() -> None:
    """However much of the machine it takes."""
    assert disturbed_shares(steady(2.0, 2.0), EDGES) == pytest.approx([0.0] * 4)


@pytest.mark.parametrize(
    "found",
    [
        [],
        [ResourceSample(level="10", at=at) for at in TIMES],
        steady(1.0, 0.5, times=[12.0]),
        steady(1.0, None, None),
    ],
    ids=["nothing", "old run", "one reading", "neither is known"],
)
def test_nobody_looked_so_nothing_is_said(found: list[ResourceSample]) -> None:
    """None, rather than a clean machine."""
    assert disturbed_shares(found, EDGES) == [None] * 4


def test_stolen_time_alone_where_not_all_of_ours_can_be_seen() -> None:
    """And nothing of it where the hypervisor does not tell (macOS)."""
    assert disturbed_shares(steady(1.9, None, 0.3), EDGES) == pytest.approx([0.15] * 4)
    assert disturbed_shares(steady(1.2, 0.8, None), EDGES) == pytest.approx([0.2] * 4)


def test_a_block_that_the_readings_hardly_reach_is_not_known() -> None:
    """They end at 12.6 s: the third block is known by more than its half, the last one not at all."""
    found = steady(1.2, 0.8, times=[8 + step / 5 for step in range(24)])
    assert disturbed_shares(found, EDGES) == pytest.approx([0.2, 0.2, 0.2, None])


def test_ticks_that_come_late_are_taken_back() -> None:
    """Ours and the machine's are counted apart: a reading of others' CPU may fall, and is no new beginning."""
    found = [machine(at, busy=0.5 * at + (0.02 if at % 1 else -0.02), own=0.5 * at) for at in TIMES]
    shares = disturbed_shares(found, EDGES)
    assert all(share is not None and share <= 0.04 for share in shares)


@given(
    busy=st.floats(0, 2),
    own=st.floats(0, 2),
    stolen=st.floats(0, 2),
    offset=st.floats(0, 0.49),
    cuts=st.integers(1, 20),
)
def test_a_share_is_a_share(busy: float, own: float, stolen: float, offset: float, cuts: int) -> None:
    """Whatever the readings and the blocks, and the same for steady use whenever it was read."""
    found = steady(busy, own, stolen, times=[at + offset for at in TIMES])
    shares = disturbed_shares(found, [10 + 4 * cut / cuts for cut in range(cuts + 1)])
    truth = min(1.0, max(0.0, (busy - own + stolen) / 2))
    assert shares == pytest.approx([truth] * cuts, abs=1e-9)
