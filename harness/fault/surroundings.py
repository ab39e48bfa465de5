"""Faults of what the system lends to the orchestrator's process: files, and the time of day."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import msgspec

from harness.errors import HarnessError
from harness.fault.beside import beside
from harness.fault.fault import Bench, FaultFailed
from harness.scenario.units import Seconds
from harness.target.target import Answered, JumpClock, OpenFile, Order

ANSWER_S = 30.0
RENEWED_S = 0.5
LEASE_S = 5.0
"""A clock that nobody tells to stay wrong for so long is right again."""
NEEDS = ("target",)


@dataclass(frozen=True, slots=True, kw_only=True)
class FewFiles:
    """The target may open no further file or connection (`RLIMIT_NOFILE`); those that it has stay open.

    A connection that is lost cannot be replaced, and a new client waits to be let in. Nothing may be lost of it, and
    all has to go on when there are files again.
    """

    most: int = 3  # files numbered below this may be opened; 0, 1 and 2 are standard input, output and error

    needs = NEEDS

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[_Refused]:
        """By prlimit(2): the soft limit, as it was before at the end."""
        pids = bench.pids("target")
        if not pids:
            raise FaultFailed("the target has no process whose files could be limited")
        pid = pids[0]
        try:
            soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(self.most, soft), hard))
        except OSError as error:
            raise FaultFailed(f"the target's files could not be limited: {error.strerror}") from None
        try:
            yield _Refused(bench)
        finally:
            with contextlib.suppress(ProcessLookupError):  # its successor has limits of its own
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockJumped:
    """The wall clock of the target jumps, and back again at the end.

    Leases, deadlines, times to live and back-offs are to go by clocks that do not jump: none of them may end early, or
    late. What jumps is what its Python code is told by `time.time`; see harness/target/clock.py for what that reaches.
    """

    by: Seconds = 3600.0
    way: Literal["forward", "backward"] = "forward"

    needs = NEEDS

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[_Seen]:
        """By the target's host, which is told so again before it forgets; so is a successor."""
        by_s, seen = (self.by if self.way == "forward" else -self.by), _Seen()

        async def renewed() -> None:
            while True:
                await asyncio.sleep(RENEWED_S)
                seen.times += await _asked(bench, JumpClock(by_s, LEASE_S))

        try:
            seen.times = await _asked(bench, JumpClock(by_s, LEASE_S))
            async with beside(renewed()):
                yield seen
        finally:
            await _asked(bench, JumpClock(by_s, 0.0))


@dataclass(slots=True)
class _Refused:
    bench: Bench
    seen: int = 0

    async def count(self) -> int:
        """1 once the target's process has tried to open a file, and was refused."""
        self.seen = self.seen or await _asked(self.bench, OpenFile())
        return self.seen


@dataclass(slots=True)
class _Seen:
    times: int = 0

    async def count(self) -> int:
        """How often the target's process looked and found its clock off by that much."""
        return self.times


async def _asked(bench: Bench, order: Order) -> int:
    try:
        answer = await asyncio.to_thread(bench.ask_target, msgspec.json.encode(order), ANSWER_S)
    except HarnessError as error:
        raise FaultFailed(f"the target could not be asked: {error}") from None
    return msgspec.json.decode(answer, type=Answered).count
