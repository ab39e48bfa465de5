"""Faults inside the orchestrator's own process."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

import msgspec

from harness.errors import HarnessError
from harness.fault.beside import Sum, beside
from harness.fault.fault import Bench, FaultFailed
from harness.scenario.units import Seconds, Share
from harness.target.target import Answered, BlockLoop, CancelSome

ANSWER_S = 30.0
NEEDS = ("target",)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopBlocked:
    """The target's event loop is blocked again and again, as by a synchronous call within a coroutine.

    Nothing else of the process runs meanwhile: heartbeats are late, and must not cost the lease.
    """

    blocked: Seconds = 0.5  # each time
    every: Seconds = 1.0  # from the beginning of one to that of the next

    needs = NEEDS

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[Sum]:
        """By its host, which is told to, and says so when it was."""
        found = Sum()

        async def again_and_again() -> None:
            while True:
                next_one = asyncio.create_task(asyncio.sleep(self.every))
                order = msgspec.json.encode(BlockLoop(self.blocked))
                try:
                    await asyncio.to_thread(bench.ask_target, order, ANSWER_S)
                except HarnessError as error:
                    raise FaultFailed(f"the target's loop could not be blocked: {error}") from None
                found.bites += 1
                await next_one

        async with beside(again_and_again()):
            yield found


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """The target's process is killed (SIGKILL) at moments that nobody chose, and starts again each time.

    Whatever it had acknowledged has to come to an end, and nothing may happen twice. `[crash]` kills at named points.
    """

    every: Seconds = 2.0  # on average: from half of it to one and a half, drawn by the scenario's seed

    needs = ("target", "store")

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[Sum]:
        """The kill is in `crashes.jsonl` first, by which the successor is started."""
        found, rng = Sum(), Random(bench.seed)

        async def again_and_again() -> None:
            while True:
                await asyncio.sleep(self.every * rng.uniform(0.5, 1.5))
                pid = bench.pids("target")[:1]
                if pid and bench.note_kill(pid[0]):
                    os.kill(pid[0], signal.SIGKILL)
                    found.bites += 1

        async with beside(again_and_again()):
            yield found


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """Workflows that run are cancelled, a share of them again and again, at whatever await they stand.

    Their clients are told. Pools, permits and connections are given back, and no reply that was still to come is ever
    taken for another's.
    """

    share: Share = 0.5  # of the workflows that run, each time
    every: Seconds = 0.5

    needs = NEEDS

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[Sum]:
        """By its host, which says how many."""
        found, rng = Sum(), Random(bench.seed)

        async def again_and_again() -> None:
            while True:
                order = msgspec.json.encode(CancelSome(self.share, rng.getrandbits(32)))
                try:
                    answer = await asyncio.to_thread(bench.ask_target, order, ANSWER_S)
                except HarnessError as error:
                    raise FaultFailed(f"workflows could not be cancelled: {error}") from None
                found.bites += msgspec.json.decode(answer, type=Answered).count
                await asyncio.sleep(self.every)

        async with beside(again_and_again()):
            yield found
