"""The faults of one level, on time: a scenario's `[[fault]]` tables, each turn of which is in `faults.jsonl` first."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec
import psutil

from harness.child import Child, Children, expect_line
from harness.errors import HarnessError
from harness.fault.fault import Bite, Server, Toxics
from harness.observation.faults import FaultEvent, Turn
from harness.run.hosting import Hosting
from harness.scenario.faults import PlannedFault
from harness.service.process import ProcessServer
from harness.service.redis import spare
from harness.service.service import Running

LEASE_S = 10.0
"""Longer than a fault's own window: so long it lasts when nobody is left to lift it."""
LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelBench:
    """What faults may lay hands on, of one level. (`harness.fault.fault.Bench`)"""

    seed: int
    lease_s: float
    namespace: str
    children: Children
    running: Mapping[str, Running]
    proxies: Mapping[str, Toxics] = field(default_factory=dict)
    hosting: Hosting | None = None
    asking: threading.Lock = field(default_factory=threading.Lock, repr=False)  # one order and its answer at a time

    def proxy(self, service: str) -> Toxics:
        """The proxy in front of it."""
        return self.proxies[service]

    def url(self, service: str) -> str:
        """Of the service itself."""
        return self.running[service].url

    def pids(self, what: str) -> list[int]:
        """Its processes that live now, the oldest first."""
        server = self.hosting.host if what == "target" and self.hosting is not None else self.running.get(what)
        root = server.pid if isinstance(server, Child | ProcessServer) else None
        try:
            parent = psutil.Process(root) if root is not None else None
            tree = [parent, *parent.children(recursive=True)] if parent is not None else []
        except psutil.NoSuchProcess:
            return []
        return [each.pid for each in tree]

    def server(self, service: str) -> Server:
        """Which can be killed and started again."""
        lives = self._process(service).lives
        assert lives is not None, "we started it"
        return lives

    def spare(self) -> AbstractContextManager[str]:
        """A further Redis."""
        return spare(self._process("redis"), self.children)

    def _process(self, service: str) -> ProcessServer:
        server = self.running[service]
        assert isinstance(server, ProcessServer), "checked before the run"
        return server

    def ask_target(self, order: bytes, timeout_s: float) -> bytes:
        """What its host says."""
        assert self.hosting is not None, "checked before the run"
        with self.asking:
            host = self.hosting.host
            host.tell(order)
            return expect_line(host, timeout_s)

    def note_kill(self, pid: int) -> bool:
        """In the run's `crashes.jsonl`."""
        assert self.hosting is not None, "checked before the run"
        return self.hosting.note_kill(pid)

    def start(self, module: str, first_line: bytes) -> Child:
        """A process of the run's."""
        return self.children.start(module.rpartition(".")[2], module, first_line=first_line)


class Faults:
    """The faults of one level. `begin` when the measure phase does, `look` often, `end` at last, which lifts them all.

    They keep their own time, in a thread with a loop of its own: whoever waits for a target to start would otherwise
    hold up the end of the fault that the target waits for.
    """

    def __init__(
        self, planned: Sequence[PlannedFault], bench: LevelBench, path: Path, *, level: str, t0: float
    ) -> None:
        self._planned = planned
        self._bench = bench
        self._path = path
        self._level = level
        self._t0 = t0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None
        self._trouble: HarnessError | None = None
        self._active: dict[int, str] = {}

    @property
    def active(self) -> tuple[str, ...]:
        """The kinds of those that act now."""
        return tuple(self._active.values())

    def begin(self, at: float) -> None:
        """The measure phase began (s from t0)."""
        if self._planned:
            self._thread = threading.Thread(target=self._run, args=(at,), name="faults", daemon=True)
            self._thread.start()
            self._ready.wait()

    def look(self) -> None:
        """Raises what kept a fault from being begun or lifted: HarnessError."""
        if self._trouble is not None:
            raise self._trouble

    def end(self) -> None:
        """No further one begins, and those that act are lifted. Idempotent. Raises HarnessError."""
        if self._thread is not None and self._loop is not None and self._over is not None:
            if self._thread.is_alive():
                self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join()
            self._thread = None
        self.look()

    def _run(self, began: float) -> None:
        try:
            with self._path.open("ab") as file:
                asyncio.run(self._keep_time(began, file))
        except OSError as error:
            self._trouble = HarnessError(f"{self._path.name} cannot be written: {error.strerror}")
        finally:
            self._ready.set()

    async def _keep_time(self, began: float, file: IO[bytes]) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        windows = [self._window(place, each, began, file) for place, each in enumerate(self._planned)]
        for result in await asyncio.gather(*windows, return_exceptions=True):
            if isinstance(result, HarnessError):
                self._trouble = self._trouble or result
            elif isinstance(result, Exception):
                self._trouble = self._trouble or HarnessError(f"a fault broke: {result!r}")

    async def _window(self, place: int, planned: PlannedFault, began: float, file: IO[bytes]) -> None:
        """One fault from its beginning to its end."""

        def note(turn: Turn, *, bites: int = 0, detail: str = "") -> None:
            if turn == "began":
                self._active[place] = window.kind
            elif turn in ("lifted", "failed"):
                self._active.pop(place, None)
            at = time.monotonic() - self._t0
            event = FaultEvent(
                level=self._level, fault=place, kind=window.kind, turn=turn, at=at, bites=bites, detail=detail
            )
            file.write(msgspec.json.encode(event) + b"\n")
            file.flush()

        window = planned.window
        if await self._until(self._t0 + began + window.at):
            return
        bites = 0
        try:
            async with AsyncExitStack() as acting:
                note("begins")
                bite: Bite = await acting.enter_async_context(planned.fault.inject(self._bench))
                note("began")
                ends = time.monotonic() + window.lasts  # breaking may have taken a while: hundreds of connections
                while True:
                    over = await self._until(min(ends, time.monotonic() + LOOK_EVERY_S))
                    before, bites = bites, await bite.count()
                    if bites and not before:
                        note("bit", bites=bites)
                    if over or time.monotonic() >= ends:
                        break
                note("lifts")
            note("lifted", bites=bites)
        except HarnessError as error:
            note("failed", bites=bites, detail=str(error))
            raise HarnessError(f"fault {place + 1}, {window.kind}: {error}") from error

    async def _until(self, when: float) -> bool:
        """Wait until then (monotonic clock); True when all is over before it."""
        assert self._over is not None
        try:
            async with asyncio.timeout(max(0.0, when - time.monotonic())):
                await self._over.wait()
        except TimeoutError:
            return False
        return True
