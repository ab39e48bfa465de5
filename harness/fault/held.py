"""Faults of whole programs: held still, as a machine that swaps or a virtual machine that is moved."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psutil

from harness.fault.fault import Bench, FaultFailed

ROUNDS_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """Every process of it is held still (SIGSTOP): connections are taken by the kernel, and nobody answers.

    Connecting succeeds, so that only a deadline of the caller's notices. A lease that is not renewed meanwhile may be
    taken over; its old owner has to be fenced when it goes on.
    """

    service: str

    @property
    def needs(self) -> tuple[str, ...]:
        """Processes of our own: a server's, or the target's."""
        return ("target" if self.service == "target" else f"process:{self.service}",)

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[_Stopped]:
        """SIGSTOP, and SIGCONT at the end to whatever lives of it then."""
        held: list[int] = []
        try:
            for _ in range(ROUNDS_MAX):  # the oldest first, until none was started meanwhile
                found = [pid for pid in bench.pids(self.service) if pid not in held]
                held += found
                if not found:
                    break
                _signal(found, signal.SIGSTOP)
            if not held:
                raise FaultFailed(f"{self.service} has no process that could be held still")
            yield _Stopped(held)
        finally:
            _signal([*held, *bench.pids(self.service)], signal.SIGCONT)


@dataclass(slots=True)
class _Stopped:
    pids: list[int]
    most: int = 0

    async def count(self) -> int:
        """Processes that the kernel says are stopped."""
        self.most = max(self.most, sum(_is_stopped(pid) for pid in self.pids))
        return self.most


def _is_stopped(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


def _signal(pids: list[int], signum: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).send_signal(signum)
