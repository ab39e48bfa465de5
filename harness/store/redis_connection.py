"""One connection to Redis that does one pipeline at a time, and is replaced when anything went wrong on it.

Nothing is sent twice by us, except a command that Redis said it never began (NOSCRIPT). redis-py's own retries are
off: they re-send on a lost reply, and then a write that took place is told "conflict".
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    InvalidResponse,
    NoPermissionError,
    NoScriptError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from harness.service.address import Address, scrubbed
from harness.service.asking import REDIS_OLDEST
from harness.store.store import StoreUnavailable

Command = tuple[bytes, ...]
Reply = Any
"""bytes, int, None or a list of them; or a `ResponseError`, which is of one command alone."""


class Script:
    """A Lua script of this package, called by its digest."""

    def __init__(self, name: str) -> None:
        self.source: Final = resources.files(__package__).joinpath(f"{name}.lua").read_bytes()
        self.digest: Final = hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode()


class RedisLane:
    """A lane of a `Batcher`: an entry is a list of commands, its result the list of their replies."""

    def __init__(self, url: str, address: Address, scripts: Sequence[Script], *, timeout_s: float) -> None:
        self._url = url
        self._name = f"Redis at {address}"
        self._timeout_s = timeout_s
        self._scripts = scripts
        # No time limit of redis-py's on the socket: one around the whole pipeline is stricter, and costs less.
        self._pool = ConnectionPool.from_url(
            url, protocol=2, retry=Retry(NoBackoff(), 0), driver_info=None, socket_timeout=None,
            socket_connect_timeout=timeout_s, health_check_interval=0,
        )  # fmt: skip
        self._connection: AbstractConnection | None = None
        self._greeting = False  # connected, but nothing was ever heard that only Redis says

    async def perform(self, entries: Sequence[list[Command]]) -> list[list[Reply] | StoreUnavailable]:
        """All commands as one pipeline, within `timeout_s`, connecting included."""
        commands = [command for entry in entries for command in entry]
        try:
            async with asyncio.timeout(self._timeout_s):
                replies = await self._pipeline(commands)
        except BaseException as error:
            # Replies may still be on their way: whoever used this connection next would read them as its own.
            await self._drop()
            if isinstance(error, RedisError | OSError):  # TimeoutError is an OSError
                raise StoreUnavailable(self._why(error)) from None
            raise
        results: list[list[Reply] | StoreUnavailable] = []
        at = 0
        for entry in entries:
            own = replies[at : at + len(entry)]
            at += len(entry)
            refused = next((reply for reply in own if isinstance(reply, ResponseError)), None)
            results.append(own if refused is None else StoreUnavailable(self._why(refused)))
        return results

    async def close(self) -> None:
        """Give back the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(RedisError, OSError):  # it is not needed any more, and may be gone already
                await connection.disconnect()

    async def _pipeline(self, commands: list[Command]) -> list[Reply]:
        connection = await self._ready()
        if not commands:
            return []
        replies = await _exchange(connection, commands)
        missing = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if missing:
            await self._load(connection)
            again = await _exchange(connection, [commands[at] for at in missing])
            for at, reply in zip(missing, again, strict=True):
                replies[at] = reply
        return replies

    async def _ready(self) -> AbstractConnection:
        """A connection that is open and has nothing left to read: the last one, or a new one."""
        if self._connection is not None:
            if not await self._connection.can_read():
                return self._connection
            await self._drop()  # the server closed it, or said something nobody asked for
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        self._connection, self._greeting = connection, True
        await connection.connect()  # type: ignore[no-untyped-call]
        await self._load(connection)
        self._greeting = False
        return connection

    async def _load(self, connection: AbstractConnection) -> None:
        """Make sure of the server's version, and give it the scripts."""
        loads: list[Command] = [(b"SCRIPT", b"LOAD", script.source) for script in self._scripts]
        told, *rest = await _exchange(connection, [(b"INFO", b"server"), *loads])
        for reply in (told, *rest):
            if isinstance(reply, ResponseError):
                raise reply
        version = _version(told)
        if version is None:
            raise InvalidResponse("it gave no version")
        if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < REDIS_OLDEST:
            oldest = ".".join(map(str, REDIS_OLDEST))
            raise StoreUnavailable(f"{self._name} is too old: {version}; {oldest} or newer is needed")

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    def _why(self, error: BaseException) -> str:
        """What is wrong, for a person, without credentials."""
        text = scrubbed(str(error).partition("\n")[0], self._url) or type(error).__name__
        if isinstance(error, TimeoutError | RedisTimeoutError):
            return f"{self._name} gave no answer within {self._timeout_s:g} s"
        if isinstance(error, AuthenticationError | NoPermissionError):
            return f"{self._name} refused us ({text}); look at the user and password"
        silent = self._greeting and ("closed by server" in text or "while reading" in text)
        if silent or isinstance(error, InvalidResponse):
            return f"{self._name} does not speak the Redis protocol ({text}); is it another kind of server?"
        if isinstance(error, ResponseError):
            return f"{self._name} refused: {text}"
        return f"{self._name} is not there or went away: {text}"


async def _exchange(connection: AbstractConnection, commands: Sequence[Command]) -> list[Reply]:
    """Send all, read all. An error of one command is its reply; one of the connection is raised."""
    await connection.send_packed_command(_packed(commands), check_health=False)
    replies = []
    for _ in commands:
        try:
            replies.append(await connection.read_response(disconnect_on_error=False))
        except ResponseError as error:
            replies.append(error)
    return replies


def _packed(commands: Sequence[Command]) -> bytes:
    """As they go over the wire. redis-py's own packing, which takes any type, is half of what a write costs."""
    return b"".join(
        [
            b"*%d\r\n%b" % (len(command), b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in command]))
            for command in commands
        ]
    )


def _version(told: Reply) -> str | None:
    """Of what INFO says; Valkey tells the Redis version it is compatible with."""
    for line in bytes(told).splitlines():
        name, _, value = line.partition(b":")
        if name == b"redis_version":
            return value.decode(errors="replace").strip()
    return None
