"""`health.jsonl`: each service asked for a sign of life four times a second, so that a slow Redis is seen as such.

Each service is asked over a connection of our own, by a task of its own: one that is slow, held still or dead delays
nothing but its own answers. What a service does not answer is a line, not an exception.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol

import msgspec

from harness.errors import HarnessError
from harness.observation.observation import HealthSample

FILE = "health.jsonl"
SAMPLE_S = 0.25
ANSWER_S = 1.0


class Pulse(Protocol):
    """A connection to one service, that can be asked for a sign of life."""

    async def beat(self) -> int:
        """Ask, and wait for the answer; connects when it has to. Raises whatever went wrong.

        How much the server has carried out since it started, this question included.
        """

    async def close(self) -> None:
        """Give the connection back, or drop it when it is broken."""


_TRANSACTIONS = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"


class RedisPulse:
    """INFO of its counters: a sign of life, and what it did, seen from its side."""

    def __init__(self, url: str) -> None:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        # No time limits of its own: the sampler has one, for connecting and answering together.
        self._client = Redis.from_url(url, retry=Retry(NoBackoff(), 0), single_connection_client=True)

    async def beat(self) -> int:
        counters: dict[str, Any] = await self._client.info("stats")
        return int(counters["total_commands_processed"])

    async def close(self) -> None:
        await self._client.aclose()


class PostgresPulse:
    """Its counters of transactions: of this one database, with those of a backend a second late at most."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None  # asyncpg has no types

    async def beat(self) -> int:
        import asyncpg  # type: ignore[import-untyped]

        if self._connection is None:
            self._connection = await asyncpg.connect(self._url)
        found: int = await self._connection.fetchval(_TRANSACTIONS)
        return found

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


PULSES: Mapping[str, type[RedisPulse] | type[PostgresPulse]] = {"redis": RedisPulse, "postgres": PostgresPulse}


class HealthUnwritten(HarnessError):
    """The samples could not be put on disk."""


class HealthSampler:
    """Samples one level in a thread of its own, from `start` to `stop`, appending to `path`; also as a context."""

    def __init__(self, path: Path, services: Mapping[str, str], *, level: str, t0: float) -> None:
        """`services` maps a service of `PULSES` to its URL."""
        self._path = path
        self._level = level
        self._t0 = t0
        self._services = dict(services)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)
        self.latest: dict[str, HealthSample] = {}
        self.error: OSError | None = None

    def __enter__(self) -> HealthSampler:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self.error is not None and error is None:
            raise HealthUnwritten(f"the health of the services could not be written: {self.error}") from self.error

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take no more samples; returns when the last one is written, `ANSWER_S` later at most.

        A failure to write is in `error`.
        """
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with self._path.open("ab") as file:
                asyncio.run(self._sample_all(file))
        except* OSError as group:
            self.error = _first(group)

    async def _sample_all(self, file: BinaryIO) -> None:
        async with asyncio.TaskGroup() as tasks:
            for service, url in self._services.items():
                tasks.create_task(self._sample(service, url, file))

    async def _sample(self, service: str, url: str, file: BinaryIO) -> None:
        pulse = PULSES[service](url)
        try:
            due = time.monotonic()
            while not self._stop.is_set():
                sample = await self._one(service, pulse)
                self.latest[service] = sample
                file.write(msgspec.json.encode(sample) + b"\n")
                file.flush()
                due = max(due + SAMPLE_S, time.monotonic())
                await self._pause(due)
        finally:
            await self._drop(pulse)

    async def _pause(self, until: float) -> None:
        while not self._stop.is_set() and (left := until - time.monotonic()) > 0:  # noqa: ASYNC110 - a thread sets it
            await asyncio.sleep(min(left, 0.05))

    async def _one(self, service: str, pulse: Pulse) -> HealthSample:
        asked = time.monotonic()
        at = asked - self._t0
        try:
            async with asyncio.timeout(ANSWER_S):
                commands = await pulse.beat()
        except TimeoutError:
            error = f"no answer within {ANSWER_S:g} s"
        except Exception as trouble:  # noqa: BLE001 - whatever a client raises is what was seen of the service
            error = _plain(trouble)
        else:
            took_s = time.monotonic() - asked
            return HealthSample(level=self._level, at=at, service=service, response_s=took_s, commands=commands)
        await self._drop(pulse)
        return HealthSample(level=self._level, at=at, service=service, error=error)

    async def _drop(self, pulse: Pulse) -> None:
        # A broken connection may break again while it is closed; the next beat makes a new one.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(ANSWER_S):
                await pulse.close()


def _plain(error: BaseException) -> str:
    """Its kind, and what the system said; a client's own words may name a user."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError) and below.errno:
            return f"{type(error).__name__}: {os.strerror(below.errno)}"
        below = below.__cause__ or below.__context__
    return type(error).__name__


def _first(group: BaseExceptionGroup[OSError]) -> OSError:
    one = group.exceptions[0]
    return _first(one) if isinstance(one, BaseExceptionGroup) else one
