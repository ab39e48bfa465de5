"""The store that keeps documents in PostgreSQL: the authority on what was written.

One row a document and one a field, in a schema of their own, named after the namespace. What concurrent workflows
write while every connection is busy goes with the next statement (`harness/store/batcher.py`); each batch is one
transaction. A document that expired stays as its tombstone until the namespace is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

from harness.service.address import parse
from harness.store.batcher import Batcher
from harness.store.encoding import OPERATIONS_A_BATCH, check_namespace, chunks, found_document, now_us, result_of
from harness.store.postgres_connection import (
    SELECT,
    Apply,
    Call,
    Connection,
    Entry,
    PostgresLane,
    Read,
    Result,
    lock_number,
)
from harness.store.store import Expired, Merge, Operation, Versioned, Write, WriteResult

CONNECTIONS = 2


class PostgresStore:
    """A `StateStore` on a PostgreSQL server, 13 or newer.

    An operation answers or raises `StoreUnavailable`: after `acquire_s` when no connection was free for it, otherwise
    within twice `timeout_s` from when it got one (connecting again included). The same store works again when the
    server is back. Times to live are counted by `clock` (seconds), or by the server's clock. Unbatched, each operation
    is a statement of its own. Belongs to the asyncio loop that it was made on.
    """

    def __init__(
        self, url: str, *, namespace: str, timeout_s: float = 2.0, acquire_s: float = 2.0,
        connections: int = CONNECTIONS, clock: Callable[[], float] | None = None, batched: bool = True,
    ) -> None:  # fmt: skip
        url, address = parse("postgres", url, "the PostgreSQL URL")
        self.namespace = check_namespace(namespace)
        self._now_us = partial(now_us, clock)
        lanes = [
            PostgresLane(url, address, namespace, timeout_s=timeout_s, now_us=self._now_us) for _ in range(connections)
        ]
        self._batcher: Batcher[Entry, Result] = Batcher(
            lanes,
            batch_max=OPERATIONS_A_BATCH if batched else 1,
            wait_s=acquire_s,
            name=f"PostgreSQL at {address}",
        )

    @classmethod
    async def connect(
        cls, url: str, *, namespace: str, timeout_s: float = 2.0, acquire_s: float = 2.0,
        connections: int = CONNECTIONS, clock: Callable[[], float] | None = None, batched: bool = True,
    ) -> PostgresStore:  # fmt: skip
        """A store whose server answered and has our tables. Raises UsageError (URL, namespace), `StoreUnavailable`."""
        store = cls(
            url, namespace=namespace, timeout_s=timeout_s, acquire_s=acquire_s, connections=connections, clock=clock,
            batched=batched,
        )  # fmt: skip
        try:
            await store._call(lambda connection: connection.fetchval("select 1"))
        except BaseException:
            await store.close()
            raise
        return store

    async def read(self, key: str) -> Versioned | Expired | None:
        """The document, its tombstone, or None when it never was."""
        return cast("Versioned | Expired | None", await self._batcher.submit(Read(key.encode())))

    async def write(
        self, key: str, value: bytes, *, if_version: int, op_id: str, ttl_s: float | None = None, fence: int = 0
    ) -> WriteResult:
        """Compare and set."""
        (result,) = await self._apply([Write(key, value, if_version, op_id, ttl_s, fence)])
        return result

    async def merge(
        self, key: str, fields: Mapping[str, bytes], *, op_id: str, ttl_s: float | None = None, fence: int = 0
    ) -> WriteResult:
        """Set fields, a row each."""
        (result,) = await self._apply([Merge(key, fields, op_id, ttl_s, fence)])
        return result

    async def batch(self, operations: Sequence[Operation]) -> list[WriteResult]:
        """In transactions of OPERATIONS_A_BATCH: one that fails leaves nothing of itself."""
        return [result for part in chunks(operations) for result in await self._apply(part)]

    async def claim(self, key: str, fence: int) -> Versioned | Expired | None:
        """Raise the fencing token and read, in one transaction."""
        name = key.encode()

        async def ask(connection: Connection) -> Versioned | Expired | None:
            async with connection.transaction():
                now = self._now_us()
                await connection.execute(
                    "select claim($1, $2, $3, $4)", lock_number(self.namespace, name), name, fence, now
                )
                row = await connection.fetchrow(f"{SELECT} where document.key = any($1)", [name], now)
                return None if row is None else found_document(row)

        return cast("Versioned | Expired | None", await self._call(ask))

    async def scan(self, prefix: str) -> list[tuple[str, Versioned]]:
        """By the order of keys, so it reads no more than it gives."""

        async def ask(connection: Connection) -> list[Any]:
            condition = "where document.key >= $1 and substr(document.key, 1, length($1)) = $1 order by document.key"
            return list(await connection.fetch(f"{SELECT} {condition}", prefix.encode(), self._now_us()))

        rows = cast("list[Any]", await self._call(ask))
        found = [(row["key"].decode(), found_document(row)) for row in rows]
        return [(key, document) for key, document in found if isinstance(document, Versioned)]

    async def drop(self) -> None:
        """Remove the schema and everything in it. The store can then only be closed."""
        await self._call(lambda connection: connection.execute(f'drop schema if exists "{self.namespace}" cascade'))

    async def close(self) -> None:
        """Give back the connections. What was sent ends first; what was not fails."""
        await self._batcher.close()

    async def _apply(self, operations: Sequence[Operation]) -> list[WriteResult]:
        codes = cast("list[int]", await self._batcher.submit(Apply(operations)))
        return [result_of(code) for code in codes]

    async def _call(self, ask: Callable[[Connection], Result]) -> Result:
        return await self._batcher.submit(Call(ask))  # type: ignore[arg-type]
