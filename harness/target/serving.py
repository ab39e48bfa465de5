"""What a target host does once its target runs: workflows from any number of connections, each id at most once."""

from __future__ import annotations

import asyncio
import traceback
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import cast

import msgspec

from harness.errors import Rejected, TargetError
from harness.observation.observation import HostUse, Outcome
from harness.target.target import (
    CANCELLED,
    Admitting,
    CancelSome,
    Durable,
    Measurable,
    Services,
    StepTuple,
    Target,
    WorkflowRequest,
    WorkflowResult,
)
from harness.target.wire import (
    LINE_BYTES_MAX,
    Accepted,
    ClientFrame,
    Ended,
    Refused,
    RejectedFrame,
    Stats,
    Submit,
)

LAG_TICK_S = 0.02
UNDELIVERED_MAX = 10_000  # ended workflows kept for clients that lost their connection

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ClientFrame).decode


class WorkflowWatch:
    """The Watch handed to a target for one workflow."""

    __slots__ = ("clock", "services", "started_at", "steps")

    def __init__(self, clock: Callable[[], float], services: Services) -> None:
        self.clock = clock
        self.services = services
        self.steps: list[StepTuple] = []
        self.started_at: float | None = None

    def started(self) -> None:
        self.started_at = self.clock()

    @asynccontextmanager
    async def step(self, agent: str, name: str | None = None) -> AsyncIterator[None]:
        begun = self.clock()
        outcome = Outcome.FAILED
        try:
            yield
            outcome = Outcome.OK
        finally:
            self.steps.append((name or agent, agent, begun, begun, self.clock(), outcome.value, 1, 0.0))


class Running:
    """A workflow between its submission and the delivery of its end; `accepted_at` is None until it is promised."""

    __slots__ = ("accepted_at", "began", "connections", "ended")

    def __init__(self, connection: Connection) -> None:
        self.began = False  # a task that is cancelled before its first step never runs, and tells nobody
        self.accepted_at: float | None = None
        self.connections = {connection}
        self.ended: bytes | None = None


class Host:
    """Runs workflows for any number of connections; each id at most once."""

    def __init__(self, target: Target, services: Services, clock: Callable[[], float]) -> None:
        self._target = target
        self._admit = target.admit if isinstance(target, Admitting) else None
        self._accept = target.accept if isinstance(target, Durable) else None
        self._use = target.use if isinstance(target, Measurable) else HostUse
        self._services = services
        self._clock = clock
        self._known: dict[str, Running] = {}
        self._undelivered: OrderedDict[str, None] = OrderedDict()
        self._tasks: dict[asyncio.Task[None], Running] = {}
        self._accepted = 0
        self._rejected = 0
        self._lags_s: list[float] = []
        self._traced: set[str] = set()

    def submit(self, frame: Submit, connection: Connection) -> None:
        """Accept or reject a new workflow; attach to a known one."""
        running = self._known.get(frame.id)
        if running is not None:
            if running.accepted_at is not None:
                connection.send(_encode(Accepted(frame.id, running.accepted_at)))
            running.connections.add(connection)
            if running.ended is not None:
                self._deliver(frame.id, running)
            return
        request = WorkflowRequest(frame.id, frame.kind, frame.seed, frame.deadline_s, frame.input)
        if self._admit is not None:
            try:
                self._admit(request)
            except Rejected as no:
                self._rejected += 1
                connection.send(_encode(RejectedFrame(frame.id, no.retry_after_s, no.queue_depth, no.reason)))
                return
        running = self._known[frame.id] = Running(connection)
        if self._accept is None:
            self._promise(frame.id, running)
        task = asyncio.get_running_loop().create_task(self._run(request, running))
        self._tasks[task] = running
        task.add_done_callback(self._tasks.pop)

    def _promise(self, workflow: str, running: Running) -> None:
        """From here on it is accepted: tell everybody who waits for it."""
        self._accepted += 1
        running.accepted_at = self._clock()
        for connection in running.connections:
            connection.send(_encode(Accepted(workflow, running.accepted_at)))

    async def _run(self, request: WorkflowRequest, running: Running) -> None:
        running.began = True
        watch = WorkflowWatch(self._clock, self._services)
        result: WorkflowResult | None = None
        failure: tuple[Outcome, str, str] = (Outcome.OK, "", "")
        try:
            if self._accept is not None:
                await self._accept(request)
                self._promise(request.id, running)
            result = await self._target.run(request, watch)
        except TargetError as error:
            failure = (Outcome.FAILED if error.definite else Outcome.UNKNOWN, error.error_class, str(error))
        except asyncio.CancelledError as error:
            # A target that says nothing of its own about it has left what it did undone or half done: nobody knows.
            failure = (Outcome.UNKNOWN, "host_stopped", "the host was stopped while the workflow ran")
            if error.args == (CANCELLED,):
                failure = (Outcome.UNKNOWN, "cancelled", CANCELLED)
        except Exception as error:  # noqa: BLE001 - a target's own bug is the outcome of this workflow, with its name
            failure = (Outcome.FAILED, type(error).__name__, str(error) or repr(error))
            self._trace_once(error)
        outcome, error_class, message = failure
        ended_at = self._clock()
        accepted_at = ended_at if running.accepted_at is None else running.accepted_at
        running.ended = _encode(
            Ended(
                id=request.id,
                outcome=outcome,
                accepted=accepted_at,
                started=accepted_at if watch.started_at is None else watch.started_at,
                ended=ended_at,
                digest=result.digest if result else "",
                error_class=error_class,
                message=message[:500],
                attempts=result.attempts if result else max((step[6] for step in watch.steps), default=1),
                degraded=result.degraded if result else (),
                tokens=result.tokens if result else 0,
                cost_usd=result.cost_usd if result else 0.0,
                steps=msgspec.Raw(_encode(watch.steps)),
            )
        )
        self._deliver(request.id, running)

    def _trace_once(self, error: Exception) -> None:
        """One traceback for each kind of error in the log: enough to mend it, too few to fill a disk."""
        name = type(error).__name__
        if name not in self._traced:
            self._traced.add(name)
            traceback.print_exception(error)

    def _deliver(self, workflow: str, running: Running) -> None:
        assert running.ended is not None
        sent = False
        for connection in running.connections:
            if connection.is_open:
                connection.send(running.ended)
                connection.unacknowledged.append(workflow)
                sent = True
        running.connections.clear()
        if not sent:
            self.keep(workflow)

    def acknowledged(self, workflow: str) -> None:
        """The client has seen this end: forget the workflow."""
        self._known.pop(workflow, None)
        self._undelivered.pop(workflow, None)

    def keep(self, workflow: str) -> None:
        """Nobody may have seen this end: hold it for a client that comes back, the oldest ones leaving first."""
        self._undelivered[workflow] = None
        while len(self._undelivered) > UNDELIVERED_MAX:
            oldest, _ = self._undelivered.popitem(last=False)
            self._known.pop(oldest, None)

    def use(self) -> HostUse:
        """The target's own view with the host's; loop lags since the last call."""
        lags, self._lags_s = self._lags_s, []
        return msgspec.structs.replace(
            self._use(),
            in_flight=len(self._tasks),
            accepted=self._accepted,
            rejected=self._rejected,
            loop_lags_s=tuple(lags),
        )

    def tick(self, due: float) -> None:
        """Measure how late the loop is, over and over; at most 50 ticks a second, 1,000 kept."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if len(self._lags_s) < 1000:
            self._lags_s.append(max(0.0, now - due))
        loop.call_at(now + LAG_TICK_S, self.tick, now + LAG_TICK_S)

    def cancel_some(self, order: CancelSome) -> int:
        """Cancel a share of the workflows that are accepted and have not ended, each once; how many."""
        rng = Random(order.seed)
        running = [task for task, each in self._tasks.items() if each.began and each.accepted_at is not None]
        chosen = [task for task in running if rng.random() < order.share and not task.cancelling()]
        for task in chosen:
            task.cancel(CANCELLED)
        return len(chosen)

    async def stop(self) -> None:
        """End what runs, as unknown, and stop the target."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._target.stop()


class Connection(asyncio.Protocol):
    """One client. A submit acknowledges every `ended` that was sent on this connection before it."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._rest = b""
        self._refused = False
        self._transport: asyncio.Transport | None = None
        self.unacknowledged: list[str] = []

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        for workflow in self.unacknowledged:
            self._host.keep(workflow)
        self.unacknowledged.clear()

    def send(self, frame: bytes) -> None:
        if self._transport is not None:
            self._transport.write(frame + b"\n")

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            try:
                frame = _decode(line)
            except msgspec.DecodeError as error:
                return self._refuse(f"not a frame: {error}")
            if isinstance(frame, Submit):
                for workflow in self.unacknowledged:
                    self._host.acknowledged(workflow)
                self.unacknowledged.clear()
                self._host.submit(frame, self)
            else:
                self.send(_encode(Stats(self._host.use())))
        if len(self._rest) > LINE_BYTES_MAX:
            return self._refuse(f"a line is longer than {LINE_BYTES_MAX} bytes")
        return None

    def _refuse(self, why: str) -> None:
        """Say why and say no more. What still comes is read and dropped: closing on it would reset the connection,
        and the client would see that instead of the reason."""
        self._refused = True
        self._rest = b""
        self.send(_encode(Refused(why)))
        if self._transport is not None:
            self._transport.write_eof()
