"""Admission runs some, queues some, refuses the rest, and drops nothing that it accepted."""

from __future__ import annotations

import asyncio

import pytest
from virtual_time import simulate

from harness.errors import Rejected
from harness.orchestrator.admission import RETRY_AFTER_S, RETRY_AFTER_UNKNOWN_S, Admission


def clock() -> float:
    return asyncio.get_running_loop().time()


def test_slots_then_queue_then_no() -> None:
    """With 2 slots and a queue of 3, five are accepted and the sixth finds a depth of 3."""

    async def main() -> None:
        admission = Admission(2, 3, clock=clock)
        places = [admission.admit()[1] for _ in range(5)]
        assert [place is None for place in places] == [True, True, False, False, False]
        with pytest.raises(Rejected) as refused:
            admission.admit()
        assert refused.value.queue_depth == 3
        assert refused.value.definite
        assert (admission.accepted, admission.rejected, admission.queue_peak) == (5, 1, 3)

    simulate(main)


def test_a_queue_of_none_still_gives_every_slot() -> None:
    """`queue = 0` refuses only when all slots are taken."""

    async def main() -> None:
        admission = Admission(1, 0, clock=clock)
        assert admission.admit()[1] is None
        with pytest.raises(Rejected):
            admission.admit()
        admission.ended()
        assert admission.admit()[1] is None

    simulate(main)


def test_a_freed_slot_goes_to_the_oldest_in_the_queue() -> None:
    """And makes room in the queue for one more."""

    async def main() -> None:
        admission = Admission(1, 1, clock=clock)
        admission.admit()
        _, place = admission.admit()
        assert place is not None
        admission.ended()
        assert place.done()
        assert admission.admit()[1] is not None

    simulate(main)


def test_retry_after_follows_the_rate_of_completion() -> None:
    """Ten a second and a queue of 8: half of it, and one more, drain in 0.5 s; a stall makes it longer."""

    async def main() -> None:
        admission = Admission(1, 8, clock=clock)
        admission.admit()
        for _ in range(8):
            admission.admit()
        with pytest.raises(Rejected) as before:
            admission.admit()
        assert before.value.retry_after_s == RETRY_AFTER_UNKNOWN_S
        for _ in range(40):
            await asyncio.sleep(0.1)
            admission.ended()
            admission.admit()
        with pytest.raises(Rejected) as steady:
            admission.admit()
        assert steady.value.retry_after_s == pytest.approx(0.5, rel=0.05)
        await asyncio.sleep(4.0)
        with pytest.raises(Rejected) as stalled:
            admission.admit()
        assert stalled.value.retry_after_s == pytest.approx(1.0, rel=0.05)
        await asyncio.sleep(1000.0)
        with pytest.raises(Rejected) as stuck:
            admission.admit()
        assert stuck.value.retry_after_s == RETRY_AFTER_S[1]

    simulate(main)
