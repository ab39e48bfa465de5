"""Under overload newcomers are refused early, with a reason and a time to come back; who was accepted stays so."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from virtual_time import RecordingWatch, settle, simulate

from harness.errors import Rejected
from harness.orchestrator.admission import RETRY_AFTER_S
from harness.orchestrator.call import Call
from harness.orchestrator.embedded import Embedded
from harness.orchestrator.shedding import Shedding
from harness.target.target import WorkflowRequest

SLOTS, EACH_S, TARGET_S = 10, 0.1, 0.2
CAPACITY = SLOTS / EACH_S


def clock() -> float:
    return asyncio.get_running_loop().time()


def target(shed: float | None) -> Embedded:
    """100 workflows a second can be done."""

    async def agent(call: Call) -> bytes:
        await asyncio.sleep(EACH_S)
        return b"done"

    options = {
        "workflow": [{"kind": "job", "steps": [{"name": "a", "agent": "x"}]}],
        "agent": {"x": {"pool": SLOTS}},
        "orchestrator": {"slots": SLOTS, "queue": 1000, "shed": shed},
    }
    return Embedded(options, clock=clock, agents={"x": agent})


class Offered:
    """Poisson arrivals at a rate, and what became of them: waits for a slot, and refusals."""

    def __init__(self, one: Embedded) -> None:
        self.one = one
        self.waits_s: list[float] = []
        self.ok = 0
        self.accepted = 0
        self.refused: list[Rejected] = []

    async def run(self, rate: float, seconds: float, seed: int) -> None:
        rng, tasks, number = Random(seed), [], 0
        until = clock() + seconds
        while clock() < until:
            await asyncio.sleep(rng.expovariate(rate))
            number += 1
            tasks.append(asyncio.create_task(self._workflow(WorkflowRequest(f"{clock()}-{number}", "job", 1, 30.0))))
        await asyncio.gather(*tasks)

    async def _workflow(self, request: WorkflowRequest) -> None:
        watch, arrived = RecordingWatch(), clock()
        try:
            self.one.admit(request)
        except Rejected as no:
            self.refused.append(no)
            return
        self.accepted += 1
        await self.one.run(request, watch)
        assert watch.started_at is not None
        self.waits_s.append(watch.started_at - arrived)
        self.ok += 1


@pytest.mark.parametrize("overload", [1.5, 3.0, 10.0])
def test_overload_is_shed_and_what_was_accepted_is_done(overload: float) -> None:
    """Waits stay around the target where they would be seconds; nearly all of the capacity is used; nothing is lost."""

    async def main() -> None:
        offered = Offered(target(TARGET_S))
        await offered.run(overload * CAPACITY, 5.0, seed=1)  # until the bound is found
        offered.waits_s.clear()
        offered.ok = 0
        await offered.run(overload * CAPACITY, 20.0, seed=2)
        waits_s = sorted(offered.waits_s)
        assert waits_s[len(waits_s) * 99 // 100] <= 1.5 * TARGET_S
        assert offered.ok >= 0.95 * CAPACITY * 20.0
        use = offered.one.use()
        assert len(offered.refused) == use.rejected == use.shed
        assert (use.running, use.queue_depth) == (0, 0)
        assert all(no.error_class == "rejected" and no.definite for no in offered.refused)
        assert all("waiting takes longer than 0.2 s" in str(no) for no in offered.refused)
        assert all(RETRY_AFTER_S[0] <= no.retry_after_s <= RETRY_AFTER_S[1] for no in offered.refused)
        assert offered.accepted == use.accepted

    simulate(main)


def test_without_it_the_queue_takes_whoever_fits() -> None:
    """The default is off: the same overload waits for seconds, and nobody is refused while there is room."""

    async def main() -> None:
        offered = Offered(target(None))
        await offered.run(1.5 * CAPACITY, 10.0, seed=1)
        assert offered.refused == []
        assert max(offered.waits_s) > 10 * TARGET_S

    simulate(main)


def test_load_that_can_be_carried_is_not_shed() -> None:
    """At 70 % of the capacity, and in a burst that is worked off in time."""

    async def main() -> None:
        offered = Offered(target(TARGET_S))
        await offered.run(0.7 * CAPACITY, 20.0, seed=3)
        burst = [WorkflowRequest(f"b{n}", "job", 1, 30.0) for n in range(3 * SLOTS)]
        results = await settle(*[offered.one.run(each, RecordingWatch()) for each in burst])
        assert not any(isinstance(result, Rejected) for result in results)
        assert offered.refused == []

    simulate(main)


def test_a_queue_that_does_not_move_tells_by_its_head() -> None:
    """Nobody leaves it, so nobody tells how long he waited; newcomers are refused all the same."""

    async def stuck(call: Call) -> bytes:
        await asyncio.sleep(20.0)
        return b"done"

    async def main() -> None:
        one = Embedded(
            {
                "workflow": [{"kind": "job", "steps": [{"name": "a", "agent": "x"}]}],
                "orchestrator": {"slots": 1, "queue": 1000, "shed": TARGET_S},
            },
            clock=clock,
            agents={"x": stuck},
        )
        requests = [WorkflowRequest(f"w{n}", "job", 1, 1000.0) for n in range(6)]
        running = [asyncio.create_task(one.run(each, RecordingWatch())) for each in requests[:5]]
        await asyncio.sleep(TARGET_S * 1.1)
        with pytest.raises(Rejected, match="overloaded"):
            one.admit(requests[5])
        assert not any(isinstance(end, BaseException) for end in await settle(*running))
        one.admit(requests[5])  # the queue is empty again
        await one.run(requests[5], RecordingWatch())

    simulate(main)


def test_a_promised_workflow_is_never_shed() -> None:
    """What an earlier owner accepted is not this one's to refuse; who gives up waiting is no sign of load."""

    async def main() -> None:
        one = target(TARGET_S)
        offered = Offered(one)
        flood = asyncio.create_task(offered.run(5 * CAPACITY, 3.0, seed=4))
        await asyncio.sleep(2.5)
        promised = WorkflowRequest("promised", "job", 1, 30.0)
        one.admit(promised, promised=True)
        withdrawn = WorkflowRequest("withdrawn", "job", 1, 30.0)
        one.admit(withdrawn, promised=True)
        one.withdraw(withdrawn)
        await one.run(promised, RecordingWatch())
        await flood
        assert (one.use().running, one.use().queue_depth) == (0, 0)

    simulate(main)


async def queue_of(shedding: Shedding, count: int, since: float) -> list[asyncio.Future[None]]:
    """So many begin to wait at that time."""
    places = [asyncio.get_running_loop().create_future() for _ in range(count)]
    for place in places:
        shedding.entered(place, since)
    return places


def test_one_congestion_halves_the_bound_once() -> None:
    """All who waited too long came before it was halved: they are its past. The next ones halve it again."""

    async def main() -> None:
        shedding = Shedding(TARGET_S, most=100)
        for place in await queue_of(shedding, 100, since=0.0):
            place.set_result(None)
            shedding.settle(1.0)
        assert shedding.bound == 50.0
        assert not shedding.refuses(49, 1.0)
        assert shedding.refuses(50, 1.0)
        for place in await queue_of(shedding, 50, since=1.0):
            place.set_result(None)
            shedding.settle(2.0)
        assert shedding.bound == 25.0

    simulate(main)


def test_short_waits_in_a_queue_that_is_full_let_in_more() -> None:
    """One more for each bound's worth, up to the whole queue; short waits in a short queue say nothing."""

    async def main() -> None:
        shedding = Shedding(TARGET_S, most=12)
        (late,) = await queue_of(shedding, 1, since=0.0)
        late.set_result(None)
        shedding.settle(1.0)
        assert shedding.bound == 1.0
        now = 1.0
        for _ in range(200):
            now += 0.1
            for place in await queue_of(shedding, int(shedding.bound), since=now - 0.1):
                place.set_result(None)
            shedding.settle(now)
        assert 6.0 < shedding.bound <= 12.0
        before = shedding.bound
        for _ in range(200):
            now += 0.1
            (alone,) = await queue_of(shedding, 1, since=now - 0.1)
            alone.set_result(None)
            shedding.settle(now)
        assert shedding.bound == before

    simulate(main)


def test_who_gives_up_waiting_is_not_waited_for() -> None:
    """Neither does his absence look like a queue that stands still."""

    async def main() -> None:
        shedding = Shedding(TARGET_S, most=100)
        (gone,) = await queue_of(shedding, 1, since=0.0)
        shedding.left(gone)
        assert not shedding.refuses(0, 10.0)
        assert shedding.bound == 100.0

    simulate(main)
