"""The natural batcher: what arrives while a server is busy with one batch goes to it in the next one.

There is no timer that waits for company: an operation that finds a free lane starts at once. A lane is one connection
to the server and does one batch at a time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence, Sized
from typing import Any, Generic, Protocol, TypeVar

from harness.store.store import StoreUnavailable

Entry = TypeVar("Entry", bound=Sized)
Result = TypeVar("Result")
Entry_in = TypeVar("Entry_in", bound=Sized, contravariant=True)
Result_out = TypeVar("Result_out", covariant=True)


class Lane(Protocol[Entry_in, Result_out]):
    """One connection to a server, which it opens when it is needed and replaces when it was lost."""

    async def perform(self, entries: Sequence[Entry_in]) -> Sequence[Result_out | StoreUnavailable]:
        """Send all entries, in order; a result for each. Raises `StoreUnavailable` when that is true of every one.

        Ends in bounded time.
        """

    async def close(self) -> None:
        """Give back the connection."""


class Batcher(Generic[Entry, Result]):
    """Spreads entries over lanes. An entry is a group of operations that travel together, in order.

    At most `batch_max` operations travel together, unless one entry alone is longer. An entry that no lane took within
    `wait_s` fails; it was never sent. A caller that is cancelled leaves its entry to be done (or not, when it was not
    sent yet) and harms nobody else: lanes work in tasks of their own.
    """

    def __init__(self, lanes: Sequence[Lane[Entry, Result]], *, batch_max: int, wait_s: float, name: str) -> None:
        self._lanes = tuple(lanes)
        self._free = list(reversed(self._lanes))
        self._batch_max = batch_max
        self._wait_s = wait_s
        self._name = name
        self._waiting: deque[tuple[Entry, asyncio.Future[Result], float]] = deque()
        self._at_work: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._starting = 0  # lanes that were woken and have not looked yet
        self._closed = False

    def submit(self, entry: Entry) -> asyncio.Future[Result]:
        """The result to come. It may be a `StoreUnavailable`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        if self._closed:
            future.set_exception(StoreUnavailable(f"{self._name}: the store was closed"))
            return future
        self._waiting.append((entry, future, loop.time() + self._wait_s))
        if self._free:
            self._starting += 1
            task = loop.create_task(self._work(self._free.pop()))
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)
        elif self._timer is None:
            self._timer = loop.call_later(self._wait_s, self._expire)
        return future

    async def close(self) -> None:
        """Fail what waits, let what was sent end, and give back the connections."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting:
            _fail(self._waiting.popleft()[1], f"{self._name}: the store was closed")
        if self._at_work:
            await asyncio.wait(self._at_work)
        for lane in self._lanes:
            await lane.close()

    async def _work(self, lane: Lane[Entry, Result]) -> None:
        """Do batch after batch while anything waits.

        Lanes woken together share what waits: while the server does one's batch, we do what the other's answered.
        """
        share = -(-len(self._waiting) // self._starting)
        self._starting -= 1
        try:
            while batch := self._take(min(share, self._batch_max)):
                share = self._batch_max
                await _perform(lane, batch)
        finally:
            self._free.append(lane)

    def _take(self, size_max: int) -> list[tuple[Entry, asyncio.Future[Result]]]:
        """The next batch, without entries whose callers have gone."""
        taken: list[tuple[Entry, asyncio.Future[Result]]] = []
        size = 0
        while self._waiting and (not taken or size + len(self._waiting[0][0]) <= size_max):
            entry, future, _ = self._waiting.popleft()
            if not future.done():
                taken.append((entry, future))
                size += len(entry)
        return taken

    def _expire(self) -> None:
        """Fail what has waited too long, and look again when the next one will have."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = None
        while self._waiting:
            _, future, until = self._waiting[0]
            if until > now and not future.done():
                self._timer = loop.call_at(until, self._expire)
                return
            self._waiting.popleft()
            _fail(future, f"{self._name}: no connection was free within {self._wait_s:g} s")


async def _perform(lane: Lane[Entry, Result], batch: list[tuple[Entry, asyncio.Future[Result]]]) -> None:
    """Hand each caller its result; every caller gets one, whatever happens."""
    try:
        results = await lane.perform([entry for entry, _ in batch])
        for (_, future), result in zip(batch, results, strict=True):
            if isinstance(result, StoreUnavailable):
                _fail(future, str(result))
            elif not future.done():
                future.set_result(result)
    except StoreUnavailable as error:
        for _, future in batch:
            _fail(future, str(error))
    except BaseException as error:
        # A mistake of ours, or the loop is ending: the callers are told, too, instead of waiting for ever.
        for _, future in batch:
            if not future.done():
                future.set_exception(StoreUnavailable(f"the store failed: {type(error).__name__}"))
        raise


def _fail(future: asyncio.Future[Any], message: str) -> None:
    """Each caller gets an exception of its own: one shared by many would grow a traceback of each."""
    if not future.done():
        future.set_exception(StoreUnavailable(message))
