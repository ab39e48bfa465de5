"""The embedded orchestrator whose workflows outlive its process.

    accept   the workflow's document is created, with the request in it: from here on it is promised
    run      every finding is merged into it (the engine does that), every effect carries the fencing token
    end      the result is merged into it, and only then is the client told
    start    lease, then every document without an end is claimed and gone on with, from its last checkpoint

A workflow that is submitted again is attached to: to its run if it is under way, to its stored end otherwise.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import msgspec

from harness.errors import Rejected, TargetError
from harness.observation.observation import HostUse
from harness.orchestrator.breakers import Breakers
from harness.orchestrator.call import AgentFunction
from harness.orchestrator.crash import FILE, CrashPoints
from harness.orchestrator.engine import Engine
from harness.orchestrator.guarded import guarding
from harness.orchestrator.lease import Lease, outlasting
from harness.orchestrator.options import Options
from harness.orchestrator.outside import Outside, open_outside
from harness.orchestrator.owned import END, Owned, Replaced, end_process
from harness.orchestrator.record import Accepted, End, Flight, written_down
from harness.orchestrator.stream_queue import StreamQueue
from harness.orchestrator.turns import Turns, unqueued
from harness.store.opening import open_store, state_use
from harness.store.store import Operation, StateStore, Versioned
from harness.target.serving import WorkflowWatch
from harness.target.target import Disturb, Services, Watch, WorkflowRequest, WorkflowResult

WORKFLOWS = "w/"
END_STORED_LEAST_S = 0.2
STATE_FALLBACK = "state_fallback"
"""An end is stored before its client is told, which may take until the workflow's deadline, and this at least: then
the client is told that nobody knows."""


class DurableOrchestrator:
    """A `Target` that is `Admitting`, `Durable` and `Measurable`.

    `clock` is the machine's monotonic clock: deadlines of workflows that are taken up are counted on it, so a
    successor must run on the same machine. `on_replaced` is called when another owner has taken over.
    """

    def __init__(
        self,
        options: Options,
        *,
        clock: Callable[[], float] = time.monotonic,
        agents: Mapping[str, AgentFunction] | None = None,
        on_replaced: Callable[[str], None] = end_process,
    ) -> None:
        self._options = options
        self._clock = clock
        self._agents = agents
        self._on_replaced = on_replaced
        self._flights: dict[str, Flight] = {}  # taken up from an earlier owner
        self._ends: dict[str, End] = {}  # stored by an earlier owner, and perhaps never told
        self._accepted: dict[str, Versioned] = {}  # by us, and not yet in `run`
        self._taken_up = 0
        self._opened = AsyncExitStack()
        self._traced: set[type[Exception]] = set()  # mistakes of agents that are in the log
        self._turns: Turns | None = None
        self._breakers = Breakers(options, clock=clock)
        place = options.placement
        self._points = CrashPoints(
            place.crash if place else None,
            path=Path(place.run_dir) / FILE if place else None,
            level=place.level if place else "",
            t0=place.t0 if place else 0.0,
            clock=clock,
        )

    async def start(self, services: Services) -> None:
        """Open the stores, wait for the lease, and go on with what an earlier owner left unfinished.

        What was opened is given back when it fails.
        """
        options = self._options
        async with AsyncExitStack() as opened:
            opened.enter_context(self._breakers)
            self._raw: StateStore = await outlasting(lambda: self.open(services), clock=self._clock)
            opened.push_async_callback(self._raw.close)
            replaced = partial(self._on_replaced, "another orchestrator holds the lease")
            self._lease = Lease(self._raw, lease_s=options.state.lease, clock=self._clock, on_replaced=replaced)
            opened.push_async_callback(self._lease.release)
            token = await self._lease.acquire()
            self._store = Owned(self._raw, prefix=WORKFLOWS, token=token, points=self._points)
            self._outside = await self.reach(services, token)
            if self._outside is not None:
                opened.push_async_callback(self._outside.close)
            if options.state.queue == "redis":
                assert services.redis_url is not None, "a scenario with a durable queue is given a Redis"
                connect = partial(
                    StreamQueue.connect, services.redis_url, namespace=services.namespace, owner=str(token)
                )
                self._turns = Turns(await outlasting(connect, clock=self._clock), options.orchestrator.slots)
                opened.push_async_callback(self._turns.close)
                options = unqueued(options)
            self._engine = Engine(
                options,
                store=self._store,
                clock=self._clock,
                agents=self._agents,
                outside=self._outside,
                breakers=self._breakers,
            )
            opened.push_async_callback(self._engine.stop)
            await self._engine.start(services)
            await self._take_up()
            self._opened = opened.pop_all()

    async def open(self, services: Services) -> StateStore:
        """The store that the options name."""
        guard = guarding(self._breakers.dependencies)
        return await open_store(self._options.state, services, clock=self._clock, between=self._between, guard=guard)

    async def reach(self, services: Services, token: int) -> Outside | None:
        """What its agents reach for outside, as the owner with this token."""
        return await open_outside(
            self._options, services, self._raw, token=token, points=self._points, clock=self._clock
        )

    async def stop(self) -> None:
        """Stop acting, and let the next owner in. What is unfinished is gone on with by whoever starts next."""
        for flight in self._flights.values():
            flight.task.cancel()
        await asyncio.gather(*(flight.task for flight in self._flights.values()), return_exceptions=True)
        await self._opened.aclose()

    def admit(self, request: WorkflowRequest) -> None:
        """Accept a workflow, or raise `Rejected`. One that was accepted before, by whomever, is never refused."""
        if request.id in self._flights or request.id in self._ends:
            return
        try:
            self._engine.admit(request)
        except Rejected as no:
            depth = self._turns.waiting if self._turns else no.queue_depth
            raise Rejected(retry_after_s=no.retry_after_s, queue_depth=depth, reason=no.reason) from None

    async def accept(self, request: WorkflowRequest) -> None:
        """Write down that it was accepted. Raises `TargetError` when that cannot be done within its deadline."""
        key = request.id
        if key in self._flights or key in self._ends:
            return
        self._points.passed("before_claim", key)
        try:
            found = await written_down(self._store, request, accepted_at=self._clock(), state=self._options.state)
        except BaseException as error:
            self._engine.withdraw(request)
            self._store.forget(key)
            if isinstance(error, Replaced):
                self._on_replaced(str(error))
            raise
        self._points.passed("after_claim", key)
        if self._noted_end(key, found):
            self._engine.withdraw(request)
            return
        self._accepted[key] = found
        if self._turns is not None:
            await self._turns.add(key)

    async def run(self, request: WorkflowRequest, watch: Watch) -> WorkflowResult:
        """Run it, or attach to its run, or tell its stored end. One that was not accepted before is accepted now."""
        key = request.id
        if key not in self._flights and key not in self._ends and key not in self._accepted:
            self.admit(request)
            await self.accept(request)
        flight = self._flights.get(key)
        if flight is not None:
            end = await asyncio.shield(flight.task)
            watch.steps.extend(flight.watch.steps)
            return end.result()
        if key in self._ends:
            return self._ends[key].result()
        end = await self._perform(request, watch, self._accepted.pop(key))
        return end.result()

    def use(self) -> HostUse:
        """Queue, pools, and what the stores went through."""
        state = msgspec.structs.replace(
            state_use(self._raw),
            taken_up=self._taken_up,
            fenced=self._store.fenced,
            conflicts=self._outside.conflicts if self._outside else 0,
            requeued=self._turns.requeued if self._turns else 0,
        )
        use = msgspec.structs.replace(self._engine.use(), state=state)
        return self._turns.seen(use) if self._turns is not None else use

    def disturb(self, order: Disturb) -> int:
        """Have the agent misbehave; how many attempts it did so far."""
        return self._engine.disturb(order)

    async def _take_up(self) -> None:
        """Claim every document without an end, and go on with its workflow."""
        unfinished = []
        for key, document in await self._store.scan(""):
            if not self._noted_end(key, document):
                unfinished.append(key)
        claimed: list[tuple[str, Versioned, Accepted]] = []
        for key in unfinished:
            self._points.passed("before_claim", key)
            found = await self._store.claim(key)
            self._points.passed("after_claim", key)
            # Just now it may have expired, or have ended: its owner could write until it was claimed. One that expired
            # in between and was written to again has lost its request: whoever asks for it is told of the conflict.
            if isinstance(found, Versioned) and found.value and not self._noted_end(key, found):
                claimed.append((key, found, msgspec.json.decode(found.value, type=Accepted)))
        claimed.sort(key=lambda entry: entry[2].accepted_at)
        if self._turns is not None:
            await outlasting(partial(self._turns.open, [key for key, _, _ in claimed]), clock=self._clock)
        for key, found, record in claimed:
            self._go_on(key, found, record)

    def _noted_end(self, key: str, found: Versioned) -> bool:
        """Whether it has ended; its end is then known here."""
        if END not in found.fields:
            return False
        self._ends[key] = msgspec.json.decode(found.fields[END], type=End)
        return True

    def _go_on(self, key: str, found: Versioned, record: Accepted) -> None:
        """Run what is left of a workflow, whether or not its client comes back."""
        left_s = record.accepted_at + record.deadline_s - self._clock()
        request = WorkflowRequest(key, record.kind, record.seed, left_s, record.input)
        self._engine.admit(request, promised=True)
        place = self._options.placement
        t0 = place.t0 if place else 0.0
        watch = WorkflowWatch(lambda: self._clock() - t0, Services())
        self._flights[key] = Flight(asyncio.create_task(self._perform(request, watch, found)), watch)
        self._taken_up += 1

    async def _perform(self, request: WorkflowRequest, watch: Watch, found: Versioned) -> End:
        """Run a workflow that is written down, and write down its end."""
        key, accepted_at = request.id, self._clock()  # of what was taken up, the deadline is what was left of it
        try:
            end = await self._outcome(request, watch, found)
            if self._store.forget(key) and not end.error_class:
                end.degraded = (*end.degraded, STATE_FALLBACK)
            self._points.passed("before_ack", key)
            due = accepted_at + request.deadline_s
            async with asyncio.timeout(max(END_STORED_LEAST_S, due - self._clock())):
                await self._store.merge(
                    key, {END: msgspec.json.encode(end)}, op_id=f"{key}/end", ttl_s=self._options.state.kept
                )
            if self._store.forget(key) and not end.error_class and STATE_FALLBACK not in end.degraded:
                end.degraded = (*end.degraded, STATE_FALLBACK)
        except TimeoutError:
            end = End(
                error_class="end_not_stored",
                message=f"the store did not take the end: {self._store.trouble}",
                definite=False,
            )
        except Replaced as error:
            self._on_replaced(str(error))
            raise
        self._points.passed("after_ack", key)
        if self._turns is not None:
            await self._turns.done(key)
        return end

    async def _outcome(self, request: WorkflowRequest, watch: Watch, found: Versioned) -> End:
        """Wait for its turn, and run it."""
        if request.deadline_s <= 0:
            self._engine.withdraw(request)
            return End.late(request, "while nobody owned it")
        if self._turns is not None:
            try:
                async with asyncio.timeout(request.deadline_s):
                    await self._turns.granted(request.id)
            except TimeoutError:
                self._engine.withdraw(request)
                return End.late(request, "in the queue")
        try:
            return End.of(await self._engine.run(request, watch, found))
        except TargetError as error:
            return End(error_class=error.error_class, message=str(error), definite=error.definite)
        except Replaced:
            raise
        except Exception as error:  # noqa: BLE001 - an agent's own mistake is the end of its workflow, with its name
            if type(error) not in self._traced:
                self._traced.add(type(error))
                traceback.print_exception(error)
            return End(error_class=type(error).__name__, message=str(error) or repr(error))

    def _between(self, operation: Operation) -> None:
        self._points.passed("between_stores", operation.key.removeprefix(WORKFLOWS))
