"""Workflows outlive the orchestrator that accepted them: each goes on from its last checkpoint, and ends once."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from virtual_time import RecordingWatch, settle, simulate, turns

from harness.errors import Rejected, TargetError
from harness.load.integrity import Integrity
from harness.orchestrator.agent import finding
from harness.orchestrator.call import Call
from harness.orchestrator.durable import DurableOrchestrator
from harness.orchestrator.options import read_options
from harness.orchestrator.owned import END
from harness.store.fallback import FallbackStore
from harness.store.memory import MemoryStore
from harness.store.store import StateStore, StoreUnavailable, Versioned, WriteResult
from harness.target.target import Services, WorkflowRequest

OPTIONS: dict[str, Any] = {
    "workflow": [{"kind": "job", "shape": "sequential"}, {"kind": "fan", "shape": "fan-out"}],
    "state": {"store": "redis", "lease": 1.0, "kept": 60.0},
}
OPTIONS = {**OPTIONS, "agent": {"data": {"pool": 100}}}


def clock() -> float:
    return asyncio.get_running_loop().time()


class World:
    """A store that outlives its orchestrators, and how often each step was done."""

    def __init__(self, store: MemoryStore | None = None, **options: Any) -> None:
        self.store = MemoryStore(clock=clock) if store is None else store
        self.done: Counter[tuple[str, str]] = Counter()
        self.replaced: list[str] = []
        self.options = {**OPTIONS, **options}
        self.agents: tuple[str, ...] = ("triage", "data", "optimization")

    def wrapped(self) -> StateStore:
        """The store as one orchestrator sees it."""
        return self.store

    async def agent(self, call: Call) -> bytes:
        """A second of work."""
        await asyncio.sleep(1.0)
        self.done[call.request.id, call.step.name] += 1
        return finding(call)

    def orchestrator(self) -> DurableOrchestrator:
        """One more, over the same store."""
        world = self

        class OverMemory(DurableOrchestrator):
            async def open(self, services: Services) -> StateStore:
                return world.wrapped()

        agents = dict.fromkeys(self.agents, self.agent)
        return OverMemory(read_options(self.options), clock=clock, agents=agents, on_replaced=self.replaced.append)

    async def started(self) -> DurableOrchestrator:
        one = self.orchestrator()
        await one.start(Services())
        return one


async def crash(one: DurableOrchestrator, *runs: asyncio.Task[Any]) -> None:
    """Everything in the process is gone at once; the store keeps what it has."""
    one._lease._beating.cancel()  # type: ignore[union-attr]
    tasks = [*runs, *(flight.task for flight in one._flights.values())]
    for task in tasks:
        task.cancel()
    await settle(*tasks)
    await one._engine.stop()
    await turns()


def request(name: str = "w-1", kind: str = "job", deadline_s: float = 30.0) -> WorkflowRequest:
    return WorkflowRequest(name, kind, 7, deadline_s)


def expected(asked: WorkflowRequest) -> str:
    return Integrity(read_options(OPTIONS).workflow).expected(asked)


async def submitted(one: DurableOrchestrator, asked: WorkflowRequest) -> asyncio.Task[Any]:
    """As the host does it."""
    one.admit(asked)
    await one.accept(asked)
    return asyncio.create_task(one.run(asked, RecordingWatch()))


def test_a_workflow_without_crashes_ends_as_declared() -> None:
    """Its end is stored with it, and kept."""

    async def main() -> None:
        world = World()
        one = await world.started()
        result = await (await submitted(one, request()))
        assert result.digest == expected(request())
        found = await world.store.read("w/w-1")
        assert isinstance(found, Versioned)
        assert set(found.fields) == {"triage", "data", "optimization", END}
        await one.stop()

    simulate(main)


@pytest.mark.parametrize("kind", ["job", "fan"])
@pytest.mark.parametrize("after_s", [0.0, 0.5, 1.5, 2.5])
def test_a_successor_goes_on_from_the_last_checkpoint(kind: str, after_s: float) -> None:
    """Steps that were stored are not done again; the client attaches and gets the right result."""

    async def main() -> None:
        world = World()
        one = await world.started()
        asked = request(kind=kind)
        run = await submitted(one, asked)
        await asyncio.sleep(after_s)
        await crash(one, run)
        stored = set(world.done)
        two = await world.started()
        assert two.use().state.taken_up == 1  # type: ignore[union-attr]
        watch = RecordingWatch()
        two.admit(asked)
        await two.accept(asked)
        result = await two.run(asked, watch)
        assert result.digest == expected(asked)
        assert set(world.done.values()) == {1}
        assert {step[0] for step in watch.steps} == {step for _, step in world.done} - {step for _, step in stored}
        await two.stop()

    simulate(main)


def test_a_stored_end_is_told_again_and_nothing_runs() -> None:
    """The first owner died after it stored the end and before it told anybody."""

    async def main() -> None:
        world = World()
        one = await world.started()
        first = await (await submitted(one, request()))
        await crash(one)
        two = await world.started()
        assert await (await submitted(two, request())) == first
        assert set(world.done.values()) == {1}
        await two.stop()

    simulate(main)


def test_a_failed_workflow_stays_failed() -> None:
    """Its end is stored, too: a successor does not try again what was told to have failed."""

    async def main() -> None:
        world = World()
        one = await world.started()
        with pytest.raises(TargetError, match="deadline") as error:
            await (await submitted(one, request(deadline_s=1.5)))
        await crash(one)
        two = await world.started()
        with pytest.raises(TargetError) as again:
            await (await submitted(two, request(deadline_s=1.5)))
        assert again.value.error_class == error.value.error_class == "workflow_deadline"
        await two.stop()

    simulate(main)


def test_a_deadline_goes_on_while_nobody_owns_the_workflow() -> None:
    """It is counted from acceptance, not from the take-over."""

    async def main() -> None:
        world = World()
        one = await world.started()
        run = await submitted(one, request(deadline_s=3.0))
        await asyncio.sleep(0.5)
        await crash(one, run)
        await asyncio.sleep(10.0)
        two = await world.started()
        with pytest.raises(TargetError) as error:
            await two.run(request(deadline_s=3.0), RecordingWatch())
        assert error.value.error_class == "workflow_deadline"
        assert world.done == {}
        await two.stop()

    simulate(main)


def test_a_replaced_owner_cannot_write() -> None:
    """It was paused, its successor took over: its next checkpoint is refused, and it learns why."""

    async def main() -> None:
        world = World()
        one = await world.started()
        run = await submitted(one, request())
        await asyncio.sleep(0.5)
        one._lease._beating.cancel()  # type: ignore[union-attr]
        two = await world.started()  # takes a lease's time: the first owner's step ends after it
        with pytest.raises(Exception, match="a newer orchestrator has taken over"):
            await run
        assert world.replaced
        assert one._store.fenced == 1
        result = await two.run(request(), RecordingWatch())
        assert result.digest == expected(request())
        await crash(one)
        await two.stop()

    simulate(main)


def test_what_was_promised_is_never_refused_by_a_successor() -> None:
    """Even when more is unfinished than it would accept anew; a new one is told the depth it found."""

    async def main() -> None:
        world = World(orchestrator={"slots": 1, "queue": 2})
        one = await world.started()
        runs = [await submitted(one, request(f"w-{number}")) for number in range(3)]
        with pytest.raises(Rejected):
            one.admit(request("w-3"))
        await crash(one, *runs)
        world.options["orchestrator"] = {"slots": 1, "queue": 0}
        two = await world.started()
        results = [await two.run(request(f"w-{number}"), RecordingWatch()) for number in range(3)]
        assert [result.digest for result in results] == [expected(request(f"w-{number}")) for number in range(3)]
        await two.stop()

    simulate(main)


def test_a_document_that_lost_its_request_keeps_no_successor_from_starting() -> None:
    """It expired under way, and a finding was written to nothing: it is not the workflow, nor a new one."""

    async def main() -> None:
        world = World()
        await world.store.merge("w/w-1", {"data": b"found"}, op_id="w-1/data")
        one = await world.started()
        assert one.use().state.taken_up == 0  # type: ignore[union-attr]
        with pytest.raises(TargetError, match="exists already") as error:
            await submitted(one, request())
        assert error.value.error_class == "version_conflict"
        assert error.value.definite
        assert not world.done
        await one.stop()

    simulate(main)


class Flaky(MemoryStore):
    """Every other answer is lost, after the write took place."""

    calls = 0

    async def merge(self, *args: Any, **kwargs: Any) -> WriteResult:
        result = await super().merge(*args, **kwargs)
        self.calls += 1
        if self.calls % 2:
            raise StoreUnavailable("the answer was lost")
        return result

    async def write(self, *args: Any, **kwargs: Any) -> WriteResult:
        result = await super().write(*args, **kwargs)
        self.calls += 1
        if self.calls % 2:
            raise StoreUnavailable("the answer was lost")
        return result


def test_lost_answers_of_the_store_change_nothing() -> None:
    """Writes are sent again with their operation ids, and recognised."""

    async def main() -> None:
        world = World(Flaky(clock=clock))
        one = await world.started()
        for name in ("w-1", "w-2", "w-3"):
            result = await (await submitted(one, request(name)))
            assert result.digest == expected(request(name))
        assert set(world.done.values()) == {1}
        await one.stop()

    simulate(main)


@pytest.mark.parametrize("seed", range(20))
def test_any_crashes_lose_and_repeat_nothing(seed: int) -> None:
    """Fifty workflows, an orchestrator that dies at random moments: every one ends right."""
    from random import Random

    rng = Random(seed)

    async def main() -> None:
        world = World()
        asked = [request(f"w-{number}", rng.choice(["job", "fan"]), 600.0) for number in range(50)]
        one = await world.started()
        runs = [await submitted(one, each) for each in asked]
        for _ in range(6):
            await asyncio.sleep(rng.uniform(0.0, 1.2))
            await crash(one, *runs)
            one = await world.started()
            runs = [await submitted(one, each) for each in asked]
        results = await asyncio.gather(*runs)
        assert [result.digest for result in results] == [expected(each) for each in asked]
        await one.stop()

    simulate(main)


def test_a_mistake_of_an_agent_is_an_end() -> None:
    """Stored as any other: a successor does not try again what was told to have failed."""

    async def main() -> None:
        world = World()

        async def mistaken(call: Call) -> bytes:
            world.done[call.request.id, call.step.name] += 1
            raise ZeroDivisionError("a mistake")

        world.agent = mistaken  # type: ignore[method-assign]
        one = await world.started()
        with pytest.raises(TargetError, match="a mistake") as error:
            await (await submitted(one, request()))
        assert (error.value.error_class, error.value.definite) == ("ZeroDivisionError", True)
        await crash(one)
        two = await world.started()
        assert two.use().state.taken_up == 0  # type: ignore[union-attr]
        with pytest.raises(TargetError, match="a mistake"):
            await (await submitted(two, request()))
        assert set(world.done.values()) == {1}
        await two.stop()

    simulate(main)


class EndsLate(MemoryStore):
    """The owner before stores an end after its successor has looked, and before it claims."""

    end: bytes | None = None

    async def scan(self, prefix: str) -> list[tuple[str, Versioned]]:
        found = await super().scan(prefix)
        if self.end is not None:
            await self.merge("w/w-1", {END: self.end}, op_id="w-1/end", fence=1)
        return found


def test_an_end_that_was_stored_until_the_claim_stands() -> None:
    """Whoever was told it was told the truth."""

    async def main() -> None:
        store = EndsLate(clock=clock)
        world = World(store)
        one = await world.started()
        run = await submitted(one, request())
        await asyncio.sleep(0.5)
        await crash(one, run)
        store.end = b'{"digest":"as told"}'
        two = await world.started()
        assert (await two.run(request(), RecordingWatch())).digest == "as told"
        assert world.done == {}
        await two.stop()

    simulate(main)


@pytest.mark.parametrize("after_s", [0.5, 1.5, 5.0])
@pytest.mark.parametrize("kind", ["job", "fan"])
def test_what_a_replaced_owner_accepted_is_gone_on_with(kind: str, after_s: float) -> None:
    """It did not know yet, and nothing fences a new document: its successor finds it when the client comes back."""

    async def main() -> None:
        world = World()
        one = await world.started()
        one._lease._beating.cancel()  # type: ignore[union-attr]
        two = await world.started()
        asked = request(kind=kind)
        late = await submitted(one, asked)
        await asyncio.sleep(after_s)
        stored = set(world.done)
        result = await (await submitted(two, asked))
        assert result.digest == expected(asked)
        assert {world.done[step] for step in stored} <= {1}
        await settle(late)
        await crash(one)
        await two.stop()

    simulate(main)


def test_a_workflow_that_ended_is_told_again_by_whoever_ran_it() -> None:
    """Long after its client was told, too."""

    async def main() -> None:
        world = World()
        one = await world.started()
        first = await (await submitted(one, request()))
        assert await (await submitted(one, request())) == first
        assert set(world.done.values()) == {1}
        assert one.use().running == 0
        await one.stop()

    simulate(main)


def test_what_is_overdue_at_its_take_over_begins_nothing() -> None:
    """Not even a step that takes no time: its client was told that it failed, or will be."""

    async def main() -> None:
        world = World()
        one = await world.started()
        run = await submitted(one, request(deadline_s=3.0))
        await asyncio.sleep(0.5)
        await crash(one, run)
        await asyncio.sleep(10.0)
        begun: list[str] = []

        async def at_once(call: Call) -> bytes:
            begun.append(call.step.name)
            return finding(call)

        world.agent = at_once  # type: ignore[method-assign]
        two = await world.started()
        with pytest.raises(TargetError) as error:
            await two.run(request(deadline_s=3.0), RecordingWatch())
        assert error.value.error_class == "workflow_deadline"
        assert begun == []
        assert two.use().running == 0
        await two.stop()

    simulate(main)


def test_a_start_that_fails_half_way_gives_everything_back() -> None:
    """The next owner need not wait for the lease; stopping what did not start is nothing."""

    async def main() -> None:
        world = World()
        one = world.orchestrator()

        async def unreachable(services: Services, token: int) -> None:
            raise ConnectionError("no witness")

        one.reach = unreachable  # type: ignore[method-assign]
        with pytest.raises(ConnectionError, match="no witness"):
            await one.start(Services())
        await one.stop()
        began = clock()
        two = await world.started()
        assert clock() == began
        await two.stop()

    simulate(main)


def test_an_accept_that_failed_leaves_nothing_behind() -> None:
    """Neither its slot nor what was noted of its document."""

    async def main() -> None:
        primary = Away(clock=clock)
        world = World(primary, orchestrator={"slots": 1, "queue": 0})
        one = await world.started()
        primary.away = True
        asked = request(deadline_s=2.0)
        one.admit(asked)
        with pytest.raises(TargetError, match="away") as error:
            await one.accept(asked)
        assert error.value.error_class == "state_unavailable"
        assert one._store.provisional == set()
        one.admit(request("w-2"))
        accepting = asyncio.create_task(one.accept(request("w-2")))
        await asyncio.sleep(0.5)
        accepting.cancel()
        await settle(accepting)
        primary.away = False
        result = await (await submitted(one, request("w-3")))
        assert result.digest == expected(request("w-3"))
        await one.stop()

    simulate(main)


class Away(MemoryStore):
    """A store that can be away."""

    away = False

    async def read(self, *args: Any, **kwargs: Any) -> Any:
        self.answer()
        return await super().read(*args, **kwargs)

    async def write(self, *args: Any, **kwargs: Any) -> WriteResult:
        self.answer()
        return await super().write(*args, **kwargs)

    async def merge(self, *args: Any, **kwargs: Any) -> WriteResult:
        self.answer()
        return await super().merge(*args, **kwargs)

    async def scan(self, *args: Any, **kwargs: Any) -> Any:
        self.answer()
        return await super().scan(*args, **kwargs)

    def answer(self) -> None:
        if self.away:
            raise StoreUnavailable("away")


class FallingBack(World):
    """Each orchestrator falls back to memory of its own."""

    def wrapped(self) -> StateStore:
        return FallbackStore(self.store, documents_max=100, clock=clock)


def test_what_rests_on_memory_is_degraded_and_then_forgotten() -> None:
    """Also when it is only its end that memory has."""

    async def main() -> None:
        primary = Away(clock=clock)
        world = FallingBack(primary)
        one = await world.started()
        run = await submitted(one, request())
        await asyncio.sleep(2.5)
        primary.away = True
        assert (await run).degraded == ("state_fallback",)
        assert one._store.provisional == set()
        primary.away = False
        await asyncio.sleep(5.0)
        assert (await (await submitted(one, request("w-2")))).degraded == ()
        await one.stop()

    simulate(main)


def test_a_successor_waits_for_the_store_itself() -> None:
    """What memory knows of the documents is not all of them: what was promised would be forgotten."""

    async def main() -> None:
        primary = Away(clock=clock)
        world = FallingBack(primary)
        one = await world.started()
        run = await submitted(one, request())
        await asyncio.sleep(0.5)
        await crash(one, run)
        starting = asyncio.create_task(world.started())
        await asyncio.sleep(0.5)
        primary.away = True
        await asyncio.sleep(4.0)
        primary.away = False
        two = await starting
        assert two.use().state.taken_up == 1  # type: ignore[union-attr]
        assert (await two.run(request(), RecordingWatch())).digest == expected(request())
        await two.stop()

    simulate(main)


def test_shared_documents_are_claimed_by_their_new_owner() -> None:
    """Whoever it replaced cannot write to them any more, though nobody has written since."""

    async def main() -> None:
        options = {
            "agent": {"data": {"pool": 100, "work": {"update": ["board"]}}},
            "shared": {"board": {"policy": "merge"}},
        }
        world = World(**options)
        world.agents = ("triage", "optimization")  # data does its declared work
        one = await world.started()
        await (await submitted(one, request()))
        await crash(one)
        two = await world.started()
        found = await world.store.read("shared/board")
        assert isinstance(found, Versioned)
        assert found.fence == 2
        await two.stop()

    simulate(main)


@pytest.mark.parametrize(("back_s", "starts"), [(5.0, True), (60.0, False)])
def test_a_start_outlasts_a_short_absence_of_the_store(back_s: float, starts: bool) -> None:
    """A successor may be started in the middle of an outage; for ever it does not wait."""

    async def main() -> None:
        class OpensLate(World):
            def wrapped(self) -> StateStore:
                if clock() < back_s:
                    raise StoreUnavailable("not yet")
                return self.store

        world = OpensLate()
        starting = asyncio.create_task(world.started())
        if starts:
            await (await starting).stop()
            return
        with pytest.raises(StoreUnavailable, match="not yet"):
            await starting
        assert clock() < 20.0

    simulate(main)
