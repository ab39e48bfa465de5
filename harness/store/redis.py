"""The store that keeps documents in Redis: one hash each, written by Lua in one round trip, never by WATCH/MULTI.

`namespace:d:{key}` is the document, `namespace:o:{key}` the ids of its last operations; the braces keep both in one
slot. What concurrent workflows write while a pipeline is in flight goes with the next one (`harness/store/batcher.py`).
Redis may lose what it acknowledged (a crash, a failover): PostgreSQL is the authority, and `restore` repairs.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from harness.service.address import parse
from harness.store.batcher import Batcher
from harness.store.encoding import OPERATIONS_A_BATCH, check_namespace, chunks, microseconds, now_us, result_of
from harness.store.redis_connection import Command, RedisLane, Reply, Script
from harness.store.store import Expired, Operation, Versioned, Write, WriteResult

TOMBSTONE_KEPT_S = 3600.0
CONNECTIONS = 1  # one pipeline in flight: two or three moved no more
CONNECTIONS_UNBATCHED = 20
_KEYS_A_SCAN = 1000
_APPLY = Script("redis_apply")
_READ = Script("redis_read")
_RESTORE = Script("redis_restore")


class RedisStore:
    """A `StateStore` on a Redis server, 6.2 or newer, or a Valkey.

    An operation answers or raises `StoreUnavailable` within twice `timeout_s`; the same store works again when the
    server is back. Times to live are counted by `clock` (seconds), or by the server's clock; an expired document is
    known as such for `tombstone_kept_s` (seconds of the server's clock). Unbatched, each operation has a connection of
    its own out of CONNECTIONS_UNBATCHED. Belongs to the asyncio loop that it was made on.
    """

    def __init__(
        self, url: str, *, namespace: str, timeout_s: float = 1.0, clock: Callable[[], float] | None = None,
        batched: bool = True, tombstone_kept_s: float = TOMBSTONE_KEPT_S,
    ) -> None:  # fmt: skip
        url, address = parse("redis", url, "the Redis URL")
        self.namespace = check_namespace(namespace)
        self._document = f"{namespace}:d:{{".encode()
        self._operations = f"{namespace}:o:{{".encode()
        self._clock = clock
        self._kept_ms = b"%d" % round(tombstone_kept_s * 1000)
        scripts = (_APPLY, _READ, _RESTORE)
        lanes = [
            RedisLane(url, address, scripts, timeout_s=timeout_s)
            for _ in range(CONNECTIONS if batched else CONNECTIONS_UNBATCHED)
        ]
        self._batcher: Batcher[list[Command], list[Reply]] = Batcher(
            lanes, batch_max=OPERATIONS_A_BATCH if batched else 1, wait_s=timeout_s, name=f"Redis at {address}"
        )

    @classmethod
    async def connect(
        cls, url: str, *, namespace: str, timeout_s: float = 1.0, clock: Callable[[], float] | None = None,
        batched: bool = True, tombstone_kept_s: float = TOMBSTONE_KEPT_S,
    ) -> RedisStore:  # fmt: skip
        """A store whose server answered. Raises UsageError (the URL or the namespace) and `StoreUnavailable`."""
        store = cls(
            url, namespace=namespace, timeout_s=timeout_s, clock=clock, batched=batched,
            tombstone_kept_s=tombstone_kept_s,
        )  # fmt: skip
        try:
            await store._ask((b"PING",))
        except BaseException:
            await store.close()
            raise
        return store

    async def read(self, key: str) -> Versioned | Expired | None:
        """The document, its tombstone while Redis keeps it, or None."""
        return _found(await self._ask(self._read_command(key.encode())))

    async def write(
        self, key: str, value: bytes, *, if_version: int, op_id: str, ttl_s: float | None = None, fence: int = 0
    ) -> WriteResult:
        """Compare and set, in one round trip."""
        return result_of(await self._ask(self._apply_command(key, op_id, if_version, ttl_s, fence, (b"d", value))))

    async def merge(
        self, key: str, fields: Mapping[str, bytes], *, op_id: str, ttl_s: float | None = None, fence: int = 0
    ) -> WriteResult:
        """Set fields in the document's hash, in one round trip."""
        return result_of(await self._ask(self._apply_command(key, op_id, None, ttl_s, fence, _flat(fields))))

    async def batch(self, operations: Sequence[Operation]) -> list[WriteResult]:
        """As one pipeline, or several when they are many. One that raised may have been done in part."""
        commands = [
            self._apply_command(each.key, each.op_id, each.if_version, each.ttl_s, each.fence, (b"d", each.value))
            if isinstance(each, Write)
            else self._apply_command(each.key, each.op_id, each.if_version, each.ttl_s, each.fence, _flat(each.fields))
            for each in operations
        ]
        return [result_of(reply) for part in chunks(commands) for reply in await self._batcher.submit(list(part))]

    async def claim(self, key: str, fence: int) -> Versioned | Expired | None:
        """Raise the fencing token and read, in one script."""
        return _found(await self._ask(self._read_command(key.encode(), fence)))

    async def scan(self, prefix: str) -> list[tuple[str, Versioned]]:
        """By SCAN, which looks at every key of the server: for recovery and audits, not for every step."""
        keys = {key async for key in self._keys(self._document + prefix.encode())}
        names = sorted(key[len(self._document) : -1] for key in keys)
        found: list[tuple[str, Versioned]] = []
        for part in chunks(names):
            replies = await self._batcher.submit([self._read_command(name) for name in part])
            for name, reply in zip(part, replies, strict=True):
                document = _found(reply)
                if isinstance(document, Versioned):
                    found.append((name.decode(), document))
        return sorted(found)

    async def restore(self, key: str, document: Versioned) -> bool:
        """Make the document exactly this, unless the one here has a higher version; whether it was done.

        The operation ids here stay, and so does a time to live that has not ended; a tombstone comes alive for good.
        """
        name = key.encode() + b"}"
        command = (
            b"EVALSHA", _RESTORE.digest, b"2", self._document + name, self._operations + name,
            b"%d" % document.version, b"%d" % document.fence, self._now(),
            b"d", document.value, *_flat(document.fields),
        )  # fmt: skip
        return bool(await self._ask(command))

    async def drop(self) -> None:
        """Remove everything that begins with the namespace."""
        keys = [key async for key in self._keys(f"{self.namespace}:".encode())]
        for part in chunks(keys, _KEYS_A_SCAN):
            await self._ask((b"UNLINK", *part))

    async def close(self) -> None:
        """Give back the connections. What was sent ends first; what was not fails."""
        await self._batcher.close()

    async def _ask(self, command: Command) -> Reply:
        (reply,) = await self._batcher.submit([command])
        return reply

    async def _keys(self, prefix: bytes) -> AsyncIterator[bytes]:
        """Every key that begins so; one may come twice."""
        pattern = re.sub(rb"([*?\[\]\\])", rb"\\\1", prefix) + b"*"
        cursor: bytes = b"0"
        while True:
            cursor, keys = await self._ask((b"SCAN", cursor, b"MATCH", pattern, b"COUNT", b"%d" % _KEYS_A_SCAN))
            for key in keys:
                yield key
            if cursor == b"0":
                return

    def _now(self) -> bytes:
        return _number(now_us(self._clock))

    def _read_command(self, name: bytes, fence: int | None = None) -> Command:
        return (b"EVALSHA", _READ.digest, b"1", self._document + name + b"}", self._now(), _number(fence))

    def _apply_command(
        self, key: str, op_id: str, if_version: int | None, ttl_s: float | None, fence: int, pairs: tuple[bytes, ...]
    ) -> Command:
        name = key.encode() + b"}"
        return (
            b"EVALSHA", _APPLY.digest, b"2", self._document + name, self._operations + name, op_id.encode(),
            _number(if_version), b"%d" % fence, b"" if ttl_s is None else b"%d" % microseconds(ttl_s), self._now(),
            self._kept_ms, *pairs,
        )  # fmt: skip


def _number(number: int | None) -> bytes:
    """As our scripts take one that may be absent."""
    return b"" if number is None else b"%d" % number


def _flat(fields: Mapping[str, bytes]) -> tuple[bytes, ...]:
    """Names and values in turn; the prefix keeps them apart from the document's own."""
    return tuple(word for name, value in fields.items() for word in (b"." + name.encode(), value))


def _found(reply: Reply) -> Versioned | Expired | None:
    """What the read script answers."""
    if reply is None:
        return None
    if isinstance(reply, int):
        return Expired(reply)
    words = _split(reply)
    parts = dict(zip(words[::2], words[1::2], strict=True))
    return Versioned(
        int(parts[b"v"]),
        parts.get(b"d", b""),
        {name[1:].decode(): value for name, value in parts.items() if name.startswith(b".")},
        int(parts.get(b"t", 0)),
    )


def _split(reply: bytes) -> list[bytes]:
    """Words that stand each after its length in four bytes."""
    words, at = [], 0
    while at < len(reply):
        end = at + 4 + int.from_bytes(reply[at : at + 4], "big")
        words.append(reply[at + 4 : end])
        at = end
    return words
