"""The queue of accepted workflows on a Redis stream: a transport, whose loss is repaired.

What was accepted is known by the state store; the stream only carries it, first in, first out. An entry stays in the
stream until it is `done`: taken and not done, it is pending with its consumer, and `take_over` gives it to another.
One consumer group; each owner is a consumer of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.service.address import parse
from harness.store.batcher import Batcher
from harness.store.encoding import OPERATIONS_A_BATCH, check_namespace, chunks
from harness.store.redis_connection import Command, RedisLane, Reply
from harness.store.store import StoreUnavailable

_GROUP = "orchestrators"
_FIELD = "w"
_ENTRIES_A_PAGE = 500


@dataclass(frozen=True, slots=True)
class Entry:
    """One place in the stream: its id there, and the workflow's id."""

    id: str
    workflow: str


class StreamQueue:
    """Entries come in the order they were added; no two owners get the same one, unless by `take_over`.

    Every operation answers or raises `StoreUnavailable` within twice `timeout_s` (a `take` has `block_s` more), and
    works again when the server is back. What was sent to this owner in a reply that was lost comes with a later `take`.
    Not idempotent: whoever adds a workflow twice finds it in the stream twice. One task at a time may `take`.
    """

    def __init__(self, url: str, *, namespace: str, owner: str, timeout_s: float, block_s: float) -> None:
        url, address = parse("redis", url, "the Redis URL")
        self._stream = f"{check_namespace(namespace)}:queue"
        self._owner = owner
        self._block_ms = max(1, round(block_s * 1000))  # 0 would be for ever
        self._held: set[str] = set()  # ids of entries that were given out here and are not done
        self._control: Batcher[list[Command], list[Reply]] = Batcher(
            [RedisLane(url, address, (), timeout_s=timeout_s)],
            batch_max=OPERATIONS_A_BATCH,
            wait_s=timeout_s,
            name=f"Redis at {address}",
        )
        # A read that blocks would hold up everything else on its connection.
        self._reading = RedisLane(url, address, (), timeout_s=timeout_s + block_s)

    @classmethod
    async def connect(
        cls, url: str, *, namespace: str, owner: str, timeout_s: float = 1.0, block_s: float = 0.5
    ) -> StreamQueue:
        """A queue whose server answered. `owner` is unique to the process. Raises UsageError, `StoreUnavailable`."""
        queue = cls(url, namespace=namespace, owner=owner, timeout_s=timeout_s, block_s=block_s)
        try:
            await queue.length()
        except BaseException:
            await queue.close()
            raise
        return queue

    async def add(self, workflow: str) -> None:
        """Put it at the end. After `StoreUnavailable` it may be there all the same."""
        await self._control.submit([self._addition(workflow)])

    async def take(self, count: int) -> list[Entry]:
        """At least one entry and at most `count`, in order; none when none came within `block_s`."""
        entries = await self._next(count)
        if not entries:
            entries = [entry for entry in await self._pending() if entry.id not in self._held][:count]
        self._held.update(entry.id for entry in entries)
        return entries

    async def done(self, entry: Entry) -> None:
        """It leaves the stream. After `StoreUnavailable` it may be there still; then a later `take` brings it again."""
        try:
            await self._control.submit(
                [_words("XACK", self._stream, _GROUP, entry.id), _words("XDEL", self._stream, entry.id)]
            )
        finally:
            self._held.discard(entry.id)

    async def take_over(self, idle_s: float) -> list[Entry]:
        """What other consumers took and have left undone for `idle_s`, in order; it is this owner's now."""
        taken: list[Entry] = []
        start = b"0-0"
        while True:
            start, found, *_ = await self._in_group(
                _words(
                    "XAUTOCLAIM", self._stream, _GROUP, self._owner, round(idle_s * 1000), start,
                    "COUNT", _ENTRIES_A_PAGE,
                )
            )  # fmt: skip
            taken += [entry for entry in _entries(found) if entry.id not in self._held]
            if start == b"0-0":
                break
        self._held.update(entry.id for entry in taken)
        return taken

    async def repair(self, expected: Sequence[str]) -> int:
        """Add those of the `expected` workflows that are nowhere in the stream, in this order; how many they were."""
        present = {entry.workflow for entry in await self._all()}
        missing = [workflow for workflow in dict.fromkeys(expected) if workflow not in present]
        for part in chunks(missing):
            await self._control.submit([self._addition(workflow) for workflow in part])
        return len(missing)

    async def length(self) -> int:
        """Entries in the stream, taken ones included."""
        (count,) = await self._control.submit([_words("XLEN", self._stream)])
        return int(count)

    async def close(self) -> None:
        """Give back the connections. What this owner holds stays pending with it."""
        await self._control.close()
        await self._reading.close()

    def _addition(self, workflow: str) -> Command:
        return _words("XADD", self._stream, "*", _FIELD, workflow)

    def _creation(self) -> Command:
        """From the stream's beginning: what was added while there was no group is delivered, too."""
        return _words("XGROUP", "CREATE", self._stream, _GROUP, "0", "MKSTREAM")

    async def _next(self, count: int) -> list[Entry]:
        """New entries; waits for the first one.

        The group is created every time, which Redis refuses when there is one: so a stream that was lost is there
        again. It is also tried again when it was lost during the wait.
        """
        read = _words(
            "XREADGROUP", "GROUP", _GROUP, self._owner, "COUNT", count, "BLOCK", self._block_ms,
            "STREAMS", self._stream, ">",
        )  # fmt: skip
        _, result = await self._reading.perform([[self._creation()], [read]])
        if isinstance(result, StoreUnavailable):
            _, result = await self._reading.perform([[self._creation()], [read]])
        if isinstance(result, StoreUnavailable):
            raise result
        return _of_stream(result[0])

    async def _pending(self) -> list[Entry]:
        """Everything that Redis holds for given to this owner, in order."""
        found: list[Entry] = []
        after = "0-0"
        while True:
            reply = await self._in_group(
                _words(
                    "XREADGROUP", "GROUP", _GROUP, self._owner, "COUNT", _ENTRIES_A_PAGE,
                    "STREAMS", self._stream, after,
                )
            )  # fmt: skip
            if not reply or not reply[0][1]:
                return found
            found += _of_stream(reply)
            after = reply[0][1][-1][0].decode()

    async def _all(self) -> list[Entry]:
        """The whole stream."""
        found: list[Entry] = []
        after = "-"
        while True:
            (reply,) = await self._control.submit(
                [_words("XRANGE", self._stream, after, "+", "COUNT", _ENTRIES_A_PAGE)]
            )  # fmt: skip
            if not reply:
                return found
            found += _entries(reply)
            after = f"({reply[-1][0].decode()}"

    async def _in_group(self, command: Command) -> Any:
        """The reply to a command that needs the group."""
        _, result = await asyncio.gather(
            self._control.submit([self._creation()]), self._control.submit([command]), return_exceptions=True
        )
        if isinstance(result, BaseException):
            raise result
        return result[0]


def _words(*words: str | bytes | int) -> Command:
    """A command as it travels."""
    return tuple(word if isinstance(word, bytes) else str(word).encode() for word in words)


def _of_stream(reply: Reply) -> list[Entry]:
    """What XREADGROUP answers of its one stream."""
    return list(_entries(reply[0][1])) if reply else []


def _entries(replies: Sequence[Any]) -> Iterator[Entry]:
    """Entries as Redis gives them. One that was deleted while it was pending has no fields, and is none any more."""
    for reply in replies:
        if reply and reply[1]:
            yield Entry(
                reply[0].decode(), dict(zip(reply[1][::2], reply[1][1::2], strict=True))[_FIELD.encode()].decode()
            )
