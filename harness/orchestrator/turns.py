"""The order in which accepted workflows begin, when a stream decides it.

The state store knows what was accepted; the stream only carries it. So whatever the stream loses is put back into it
from what is known here, and whatever it brings that has ended already is taken out without a turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from harness.observation.observation import HostUse
from harness.orchestrator.options import Options
from harness.orchestrator.stream_queue import Entry, StreamQueue
from harness.store.store import StoreUnavailable

AWAY_WAIT_S = 0.1


class Turns:
    """Gives at most `slots` turns at a time, in the stream's order. `requeued` counts what the stream had lost."""

    def __init__(self, queue: StreamQueue, slots: int) -> None:
        self._queue = queue
        self._slots = slots
        self._expected: dict[str, asyncio.Future[None]] = {}  # accepted and not done, in order of acceptance
        self._given: dict[str, Entry] = {}
        self._room = asyncio.Event()
        self._room.set()
        self._lost = False  # something is known to be missing in the stream
        self._consuming: asyncio.Task[None] | None = None
        self._waiting_peak = 0
        self.requeued = 0

    @property
    def waiting(self) -> int:
        """Accepted workflows whose turn has not come."""
        return len(self._expected) - len(self._given)

    def seen(self, use: HostUse) -> HostUse:
        """The same, with what waits here for its turn, and runs in nobody's view."""
        waiting = self.waiting
        self._waiting_peak = max(self._waiting_peak, waiting)
        return msgspec.structs.replace(
            use, running=use.running - waiting, queue_depth=waiting, queue_peak=self._waiting_peak
        )

    async def open(self, unfinished: Sequence[str]) -> None:
        """Go on with what an earlier owner left: `unfinished` workflows in order of acceptance. Then hand out turns.

        Raises `StoreUnavailable`; it may then be tried again.
        """
        for workflow in unfinished:
            self._expect(workflow)
        for entry in await self._queue.take_over(0.0):
            await self._give(entry)
        self._lost = bool(unfinished)
        self._consuming = asyncio.create_task(self._consume())

    async def close(self) -> None:
        """No more turns."""
        if self._consuming is not None:
            self._consuming.cancel()
            await asyncio.gather(self._consuming, return_exceptions=True)
        await self._queue.close()

    async def add(self, workflow: str) -> None:
        """A workflow was accepted. With the stream away it is put there later: it is promised already."""
        self._expect(workflow)
        try:
            await self._queue.add(workflow)
        except StoreUnavailable:
            self._lost = True

    async def granted(self, workflow: str) -> None:
        """Wait for its turn."""
        await asyncio.shield(self._expected[workflow])

    async def done(self, workflow: str) -> None:
        """It ended, with or without a turn: its entry leaves the stream. One that cannot be told stays pending, and
        is found ended by whoever takes it over."""
        self._expected.pop(workflow, None)
        entry = self._given.pop(workflow, None)
        self._room.set()
        if entry is not None:
            await self._remove(entry)

    def _expect(self, workflow: str) -> None:
        if workflow not in self._expected:
            self._expected[workflow] = asyncio.get_running_loop().create_future()

    async def _consume(self) -> None:
        """Read the stream while there is room; put back what it lost."""
        while True:
            await self._room.wait()
            room = self._slots - len(self._given)
            if room <= 0:
                self._room.clear()
                continue
            try:
                if self._lost:
                    self._lost = False
                    self.requeued += await self._queue.repair(self._not_given())
                entries = await self._queue.take(room)
                for entry in entries:
                    await self._give(entry)
                self._lost = self._lost or (not entries and self.waiting > 0)
            except StoreUnavailable:
                self._lost = True
                await asyncio.sleep(AWAY_WAIT_S)

    async def _give(self, entry: Entry) -> None:
        future = self._expected.get(entry.workflow)
        if future is None or entry.workflow in self._given:  # it ended before, or stands in the stream twice
            await self._remove(entry)
            return
        self._given[entry.workflow] = entry
        future.set_result(None)

    async def _remove(self, entry: Entry) -> None:
        try:
            await self._queue.done(entry)
        except StoreUnavailable:
            self._lost = True

    def _not_given(self) -> list[str]:
        return [workflow for workflow in self._expected if workflow not in self._given]


def unqueued(options: Options) -> Options:
    """For an engine whose workflows wait for turns: as many are admitted, and none of them waits in it."""
    bounds = options.orchestrator
    return replace(options, orchestrator=replace(bounds, slots=bounds.slots + bounds.queue, queue=0))
