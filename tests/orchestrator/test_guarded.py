"""A store whose server has a breaker: refused at once while it is open, so that a fallback serves or a step fails."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from virtual_time import RecordingWatch, settle, simulate

from harness.errors import TargetError
from harness.llm.client.client import Answer, LlmFailed, Prompt
from harness.orchestrator.asking import Asking
from harness.orchestrator.breaker import BreakerOpen, WindowedBreaker
from harness.orchestrator.breakers import Breakers
from harness.orchestrator.call import AgentFailed, Call
from harness.orchestrator.embedded import Embedded
from harness.orchestrator.guarded import GuardedRestoring, GuardedStore, StoreRefused, guarding
from harness.orchestrator.options import read_options
from harness.orchestrator.owned import END
from harness.scenario.models import Ask
from harness.scenario.scenario import Breaker, State
from harness.scenario.shapes import Step
from harness.store.fallback import FallbackStore
from harness.store.memory import MemoryStore
from harness.store.opening import open_store
from harness.store.restoring import Restoring
from harness.store.store import Merge, StateStore, StoreUnavailable, Versioned, WriteResult
from harness.target.target import Services, WorkflowRequest
from tests.orchestrator.test_breakers import recorded
from tests.orchestrator.test_durable import OPTIONS, World, request, submitted

RULE = Breaker(failures=0.5, slow=0.5, slow_share=0.5, calls_min=4, window=10, open=5.0)


def clock() -> float:
    return asyncio.get_running_loop().time()


class Server(MemoryStore):
    """In memory, and away or slow when it is told to be; `asked` counts what reached it."""

    def __init__(self) -> None:
        super().__init__(clock=clock)
        self.away = False
        self.wait_s = 0.0
        self.asked = 0

    async def read(self, key: str) -> Any:
        await self._reached()
        return await super().read(key)

    async def write(
        self, key: str, value: bytes, *, if_version: int, op_id: str, ttl_s: float | None = None, fence: int = 0
    ) -> WriteResult:
        await self._reached()
        return await super().write(key, value, if_version=if_version, op_id=op_id, ttl_s=ttl_s, fence=fence)

    async def merge(
        self, key: str, fields: Mapping[str, bytes], *, op_id: str, ttl_s: float | None = None, fence: int = 0
    ) -> WriteResult:
        await self._reached()
        return await super().merge(key, fields, op_id=op_id, ttl_s=ttl_s, fence=fence)

    async def _reached(self) -> None:
        self.asked += 1
        if self.wait_s:
            await asyncio.sleep(self.wait_s)
        if self.away:
            raise StoreUnavailable("the server does not answer")


async def opened(server: Server, store: StateStore) -> None:
    """Four failures, one after the other."""
    server.away = True
    for _ in range(4):
        with pytest.raises(StoreUnavailable):
            await store.read("k")


def test_an_open_breaker_asks_nothing_and_closes_again() -> None:
    """Refused operations are told from lost ones; versions that conflict are no failures."""

    async def main() -> None:
        server = Server()
        breaker = WindowedBreaker(RULE, clock=clock)
        store = GuardedStore(server, breaker, server="redis")
        for number in range(20):
            assert not (await store.write("k", b"", if_version=7, op_id=f"c{number}")).ok
        server.away = True
        for _ in range(10):
            with pytest.raises(StoreUnavailable):
                await store.read("k")
        assert breaker.state == "open"
        asked = server.asked
        operations = (
            store.read("k"),
            store.write("k", b"", if_version=0, op_id="o"),
            store.merge("k", {}, op_id="o"),
            store.batch([Merge("k", {}, "o")]),
            store.claim("k", 1),
        )
        assert all(isinstance(end, StoreRefused) for end in await settle(*operations))
        assert server.asked == asked
        server.away = False
        await asyncio.sleep(5.0)
        assert await store.read("k") is None
        assert breaker.state == "closed"

    simulate(main)


def test_a_slow_server_opens_it_and_a_cancelled_operation_does_not() -> None:
    """Every answer comes, late; nobody's impatience counts."""

    async def main() -> None:
        server = Server()
        breaker = WindowedBreaker(RULE, clock=clock)
        store = GuardedStore(server, breaker, server="redis")
        server.wait_s = 1.0
        for _ in range(10):
            task = asyncio.create_task(store.read("k"))
            await asyncio.sleep(0.1)
            task.cancel()
            await settle(task)
        assert breaker.state == "closed"
        for _ in range(4):
            await store.read("k")
        assert breaker.state == "open"

    simulate(main)


def test_a_guard_has_the_powers_of_what_it_guards() -> None:
    """A store that can be restored can be so behind its breaker; a server without a breaker is left alone."""

    class Restorable(Server):
        async def restore(self, key: str, document: Versioned) -> bool:
            await self._reached()
            return True

    async def main() -> None:
        server, breaker = Restorable(), WindowedBreaker(RULE, clock=clock)
        guard = guarding({"redis": breaker})
        guarded = guard("redis", server)
        assert isinstance(guarded, GuardedRestoring)
        assert isinstance(guarded, Restoring)
        assert await guarded.restore("k", Versioned(1, b"", {}))
        assert not isinstance(guard("redis", Server()), Restoring)
        assert guard("postgres", server) is server
        await opened(server, guarded)
        with pytest.raises(StoreRefused):
            await guarded.restore("k", Versioned(1, b"", {}))

    simulate(main)


def test_the_fallback_serves_at_once_while_it_is_open() -> None:
    """A server that answers late: once the breaker is open nobody waits for it, and it is asked again after a while."""

    async def main() -> None:
        server = Server()
        breaker = WindowedBreaker(RULE, clock=clock)
        store = FallbackStore(GuardedStore(server, breaker, server="redis"), documents_max=100, clock=clock)
        assert (await store.write("k", b"one", if_version=0, op_id="o1")).ok
        server.wait_s = 1.0
        for number in range(4):
            await store.merge("k", {"f": b"x"}, op_id=f"m{number}")
        assert breaker.state == "open"
        began, asked = clock(), server.asked
        result = await store.merge("k", {"f": b"y"}, op_id="m5")
        assert result.provisional
        assert (clock(), server.asked) == (began, asked)
        server.wait_s = 0.0
        await asyncio.sleep(6.0)
        assert not store.provisional
        found = await store.read("k")
        assert isinstance(found, Versioned)
        assert found.fields == {"f": b"y"}
        await store.close()

    simulate(main)


class Guarded(World):
    """Orchestrators over a server with a breaker."""

    def __init__(self, **options: Any) -> None:
        self.server = Server()
        super().__init__(self.server, **options)
        self.breakers = Breakers(read_options(self.options), clock=clock)
        self.guarded = True

    def wrapped(self) -> StateStore:
        return guarding(self.breakers.dependencies)("redis", self.server) if self.guarded else self.server


BREAKER = {"orchestrator": {"breaker": {"redis": {"calls_min": 4, "window": 10, "open": 5.0}}}}


def test_without_a_fallback_steps_fail_definitely_and_their_ends_are_still_stored() -> None:
    """A checkpoint is refused at once where it would be sent again until the deadline; the end waits for the server."""

    async def main() -> None:
        world = Guarded(**BREAKER)
        one = await world.started()
        runs = [await submitted(one, request(f"w-{n}")) for n in range(6)]
        await asyncio.sleep(0.5)
        world.server.away = True
        await asyncio.sleep(3.0)
        assert world.breakers.dependencies["redis"].state == "open"
        assert not any(run.done() for run in runs)  # their ends are not stored yet, so nobody is told
        world.server.away = False
        ends = await settle(*runs)
        assert clock() < 10.0
        assert {getattr(end, "error_class", "ok") for end in ends} == {"breaker_open"}
        for number in range(6):
            found = await world.server.read(f"w/w-{number}")
            assert isinstance(found, Versioned)
            assert END in found.fields
        await one.stop()

    simulate(main)


def test_a_workflow_is_refused_at_once_and_never_half_accepted() -> None:
    """Its document was never asked for, so that it did not happen is certain."""

    async def main() -> None:
        world = Guarded(**BREAKER)
        one = await world.started()
        await opened(world.server, world.wrapped())
        began = clock()
        with pytest.raises(BreakerOpen) as refused:
            await submitted(one, request("late"))
        assert refused.value.definite
        assert clock() == began
        assert one.use().running == 0
        world.server.away = False
        await asyncio.sleep(10.0)
        assert await world.server.read("w/late") is None
        await one.stop()

    simulate(main)


def test_an_acceptance_that_was_sent_and_then_refused_is_unknown() -> None:
    """The first try may have made the document."""

    async def main() -> None:
        world = Guarded(**BREAKER)
        one = await world.started()
        world.server.away = True
        with pytest.raises(BreakerOpen) as refused:
            await submitted(one, request("perhaps"))
        assert not refused.value.definite
        world.server.away = False
        await asyncio.sleep(10.0)
        await one.stop()

    simulate(main)


def test_an_owner_keeps_its_lease_while_its_breaker_is_open() -> None:
    """A second one that watches for silence sees none, and the work goes on with the first."""

    async def main() -> None:
        world = Guarded(orchestrator={"breaker": {"redis": {"calls_min": 4, "window": 10, "open": 60.0}}})
        first = await world.started()
        await opened(world.server, world.wrapped())
        world.server.away = False
        world.guarded = False  # the second one's own breaker is closed
        standby = world.orchestrator()
        starting = asyncio.create_task(standby.start(Services()))
        await asyncio.sleep(20.0)
        assert world.breakers.dependencies["redis"].state == "open"
        assert not starting.done()
        assert world.replaced == []
        starting.cancel()
        await settle(starting)
        await first.stop()

    simulate(main)


class Provider:
    """A model that fails as it is told."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: LlmFailed | None = None
        self.wait_s = 0.0

    async def ask(self, ask: Ask, prompt: Prompt, attempt: int) -> Answer:
        self.asked += 1
        await asyncio.sleep(self.wait_s)
        if self.error is not None:
            raise self.error
        return Answer(text='{"finding": "' + "0f" * 16 + '", "summary": "s"}')

    async def close(self) -> None:
        """Nothing is open."""


def test_calls_to_models_go_through_their_breaker() -> None:
    """Failures open it, then nobody is asked and nothing is tried again; a wrong question is no failure of theirs."""

    async def main() -> None:
        provider, breaker = Provider(), WindowedBreaker(RULE, clock=clock)
        asking = Asking({"openai": provider}, clock=clock, breaker=breaker)
        call = Call(WorkflowRequest("w", "job", 1, 30.0), Step(name="a", agent="x"), attempt=1)

        async def ask() -> bytes:
            return await asking.finding(Ask(model="m"), call, b"0f" * 16)

        provider.error = LlmFailed("too long", error_class="llm_context_overflow", final=True)
        assert all(isinstance(end, AgentFailed) for end in [*await settle(*[ask() for _ in range(20)])])
        assert breaker.state == "closed"
        provider.error = LlmFailed("503", error_class="llm_server_error")
        for _ in range(10):
            await settle(ask())
        assert breaker.state == "open"
        asked = provider.asked
        with pytest.raises(BreakerOpen):
            await ask()
        assert provider.asked == asked
        provider.error = None
        await asyncio.sleep(5.0)
        assert await ask() == b"0f" * 16
        assert breaker.state == "closed"

    simulate(main)


def test_a_model_that_hangs_is_a_failure_by_the_deadline_of_the_step() -> None:
    """Though the call is cancelled, and the time-out is made of that further out."""

    async def main() -> None:
        provider, breaker = Provider(), WindowedBreaker(RULE, clock=clock)
        asking = Asking({"openai": provider}, clock=clock, breaker=breaker)
        provider.wait_s = 60.0

        async def agent(call: Call) -> bytes:
            return await asking.finding(Ask(model="m"), call, b"0f" * 16)

        target = Embedded(
            {
                "workflow": [{"kind": "job", "steps": [{"name": "a", "agent": "x"}]}],
                "agent": {"x": {"deadline": 1.0}},
            },
            clock=clock,
            agents={"x": agent},
        )
        ends = []
        for number in range(6):
            with pytest.raises(TargetError) as failed:
                await target.run(WorkflowRequest(f"w{number}", "job", 1, 30.0), RecordingWatch())
            ends.append(failed.value.error_class)
        assert ends == ["step_deadline"] * 4 + ["breaker_open"] * 2
        assert provider.asked == 4

    simulate(main)


@pytest.mark.parametrize("fallback", [False, True])
def test_a_real_server_is_opened_behind_its_breaker(redis_url: str, fallback: bool) -> None:
    """Below the fallback, so that what is refused is served from memory."""

    async def main() -> None:
        breaker = WindowedBreaker(Breaker(calls_min=1, failures=0.5, open=60.0), clock=clock)
        services = Services(redis_url=redis_url, namespace=f"t-{uuid4().hex}")
        state = State(store="redis", fallback=fallback)
        store = await open_store(state, services, clock=clock, guard=guarding({"redis": breaker}))
        assert await store.read("k") is None
        permit = breaker.admit()
        assert permit is not None
        breaker.record(permit, failed=True)
        breaker.record(breaker.admit() or permit, failed=True)
        assert breaker.state == "open"
        if fallback:
            assert (await store.merge("k", {"f": b"x"}, op_id="o")).provisional
        else:
            with pytest.raises(StoreRefused):
                await store.read("k")
        await store.close()

    asyncio.run(main())


def test_dependencies_are_on_record_beside_agents(tmp_path: Path) -> None:
    """With their server's name."""

    async def main() -> None:
        place = {"placement": {"level": "10", "run_dir": str(tmp_path), "t0": 0.0}}
        breakers = Breakers(read_options({**OPTIONS, **BREAKER, **place}), clock=clock)
        with breakers:
            server = Server()
            await opened(server, guarding(breakers.dependencies)("redis", server))

    simulate(main)
    assert [(line.of, line.name, line.after, line.why) for line in recorded(tmp_path)] == [
        ("dependency", "redis", "closed", "begins"),
        ("dependency", "redis", "open", "failures"),
        ("dependency", "redis", "open", "ends"),
    ]
