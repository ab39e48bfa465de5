"""Faults of the machine: others use its processors, or its memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec
import psutil

from harness.child import Child, expect_line
from harness.errors import HarnessError
from harness.fault.fault import Bench, FaultFailed
from harness.fault.neighbour import Appetite
from harness.scenario.units import Bytes

READY_S = 30.0
MEMORY_SHARE_MAX = 0.8
"""Of what is available: beyond it the machine's own processes would be ended, and not only what is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuContended:
    """Other processes burn the processors, each as much as it gets.

    Everything takes longer, the harness as well: its own timing error is in the report. Queues have to stay bounded,
    and leases must not be lost.
    """

    cores: int = 0  # processes that burn; 0: one for each processor

    needs = ()

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[_Burnt]:
        """Processes of our own, ended at the end."""
        count = self.cores or len(os.sched_getaffinity(0))
        neighbours = [await asyncio.to_thread(_neighbour, bench, Appetite(burns=True)) for _ in range(count)]
        try:
            yield _Burnt([psutil.Process(each.pid) for each in neighbours])
        finally:
            await asyncio.to_thread(_end, neighbours)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryHeld:
    """Another process holds memory and has written every page of it.

    What is left has to do: caches and queues must be bounded.
    """

    size: Bytes

    needs = ()

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[_Held]:
        """One process of our own. Raises FaultFailed when the machine does not have that much to give."""
        available = psutil.virtual_memory().available
        if self.size > MEMORY_SHARE_MAX * available:
            most = f"{MEMORY_SHARE_MAX:.0%} of the {available / 2**20:.0f} MiB that are available"
            raise FaultFailed(f"{self.size / 2**20:.0f} MiB are more than {most}")
        neighbour = await asyncio.to_thread(_neighbour, bench, Appetite(holds=self.size))
        try:
            yield _Held(neighbour.pid)
        finally:
            await asyncio.to_thread(_end, [neighbour])


@dataclass(slots=True)
class _Burnt:
    neighbours: list[psutil.Process]

    async def count(self) -> int:
        """Hundredths of a second of CPU that they got."""
        try:
            return sum(round(100 * sum(each.cpu_times()[:2])) for each in self.neighbours)
        except psutil.NoSuchProcess as gone:
            raise FaultFailed(f"the process that burnt the processors ended: {gone}") from None


@dataclass(slots=True)
class _Held:
    pid: int

    async def count(self) -> int:
        """MiB that it holds."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss / 2**20)
        except psutil.NoSuchProcess as gone:
            raise FaultFailed(f"the process that held the memory ended: {gone}") from None


def _neighbour(bench: Bench, appetite: Appetite) -> Child:
    """One that has what it wants. Raises FaultFailed."""
    neighbour = bench.start("harness.fault.neighbour", msgspec.json.encode(appetite))
    try:
        expect_line(neighbour, READY_S)
    except HarnessError as error:
        raise FaultFailed(str(error)) from None
    return neighbour


def _end(neighbours: list[Child]) -> None:
    for each in neighbours:
        each.end(grace_s=1.0)
