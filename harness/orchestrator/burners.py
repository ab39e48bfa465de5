"""The processes that burn the agents' CPU time: a bounded number, direct children, warm before the first workflow.

Not `concurrent.futures`: its workers import the host's main module, it runs threads of its own, a burn cannot be
stopped, and one dead worker breaks all. Here a worker is a process and a socket (`burn.py` says what goes over it).
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

from harness.orchestrator.call import AgentFailed
from harness.orchestrator.pool import Pool

_SCRIPT = Path(__file__).with_name("burn.py")
_START_TIMEOUT_S = 30.0


class _Worker(asyncio.Protocol):
    """One process. It answers every burn with one line, in order, and burns one at a time."""

    def __init__(self, owner: Burners) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # Isolated and without site: the script needs nothing, and starts in a third of the time.
            command = [sys.executable, "-I", "-S", str(_SCRIPT)]
            self.process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=theirs.fileno())
        self.socket = ours
        self.reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()  # the first is "ready"
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are, but do not say so

    def data_received(self, chunk: bytes) -> None:
        self._unread += chunk
        if self._unread.endswith(b"\n"):
            line, self._unread = self._unread, b""
            if not self.reply.done():
                self.reply.set_result(line)
            self._owner.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.end()
        if not self.reply.done():
            message = f"CPU worker {self.process.pid} ended with status {self.process.returncode}"
            self.reply.set_exception(AgentFailed(message, error_class="cpu_worker_lost"))
        self._owner.lost(self)

    def send(self, line: bytes) -> None:
        assert self._transport is not None, "a worker is used after it said that it is ready"
        self._transport.write(line)

    def end(self) -> None:
        """Kill it and wait: it holds nothing that could be lost, and a killed process is gone at once."""
        self.process.kill()
        self.process.wait()
        if self._transport is not None:
            self._transport.close()
        else:
            self.socket.close()


class Burners:
    """`workers` processes. A burn waits, in order, until one of them is free.

    A worker that died is replaced by the next burn that would have used it.
    """

    def __init__(self, workers: int) -> None:
        self._places = Pool(workers, clock=time.monotonic)
        self._idle: list[_Worker | None] = [None] * workers  # None: a place whose process must be started
        self._busy: dict[_Worker, asyncio.Future[bytes]] = {}  # with the answer each owes

    async def start(self) -> None:
        """Start all processes and wait until each is ready."""
        self._idle = [await self._spawn() for _ in self._idle]

    async def stop(self) -> None:
        """End all processes."""
        workers = [worker for worker in (*self._idle, *self._busy) if worker is not None]
        self._idle = []
        for worker in workers:
            worker.end()

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the processes alive, as far as known."""
        return tuple(worker.process.pid for worker in (*self._idle, *self._busy) if worker is not None)

    async def burn(self, cpu_s: float) -> float:
        """Use `cpu_s` of CPU time in one of the processes; returns the seconds really used.

        Raises `AgentFailed` when the process dies. Cancelled, the burn stops within about a millisecond of CPU.
        """
        waiting = self._places.take(time.monotonic())
        if waiting is not None:
            await self._places.granted(waiting)
        worker = self._idle.pop()
        if worker is None:
            worker = await self._replacement()
        worker.reply = reply = asyncio.get_running_loop().create_future()
        self._busy[worker] = reply
        worker.send(b"%.9f\n" % cpu_s)
        # From here on the place is freed by the worker's answer or end, not by this caller: a cancelled burn is
        # still under way for a moment, and its worker must not be given a second one.
        try:
            return float(await reply)
        except asyncio.CancelledError:
            if self._busy.get(worker) is reply:  # else it answered meanwhile, and may work for another already
                worker.send(b"stop\n")
            raise

    def free(self, worker: _Worker) -> None:
        """The worker answered."""
        if worker in self._busy:  # else it said that it is ready
            del self._busy[worker]
            self._idle.append(worker)
            self._places.release(time.monotonic())

    def lost(self, worker: _Worker) -> None:
        """The worker's process ended."""
        if worker in self._busy:
            del self._busy[worker]
            self._idle.append(None)
            self._places.release(time.monotonic())
        elif worker in self._idle:
            self._idle[self._idle.index(worker)] = None

    async def _replacement(self) -> _Worker:
        """A new process in the place that this burn took; the place is given back when there is none to be had."""
        try:
            return await self._spawn()
        except BaseException:
            self._idle.append(None)
            self._places.release(time.monotonic())
            raise

    async def _spawn(self) -> _Worker:
        try:
            worker = _Worker(self)
        except OSError as error:
            raise AgentFailed(f"no CPU worker could be started: {error}", error_class="cpu_worker_lost") from error
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await asyncio.get_running_loop().create_unix_connection(lambda: worker, sock=worker.socket)
                await worker.reply
        except TimeoutError:
            worker.end()
            message = f"a CPU worker was not ready within {_START_TIMEOUT_S:g} s"
            raise AgentFailed(message, error_class="cpu_worker_lost") from None
        except BaseException:
            worker.end()
            raise
        return worker
