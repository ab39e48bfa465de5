"""One connection to PostgreSQL that does one batch at a time, and is replaced when it was lost.

Connections are our own, not asyncpg's pool's: the reset query of a pool is half of what a write costs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from importlib import resources
from typing import TypeAlias
from zlib import crc32

from harness.errors import UsageError
from harness.service.address import Address, scrubbed
from harness.service.asking import NO_ASYNCPG, POSTGRES_OLDEST
from harness.store.encoding import found_document, microseconds
from harness.store.store import Operation, StoreUnavailable, Write

try:
    import asyncpg  # type: ignore[import-untyped]
except ModuleNotFoundError:
    raise UsageError(NO_ASYNCPG) from None

Connection: TypeAlias = asyncpg.Connection
SCHEMAS = ("postgres_schema.sql",)
"""What brings a schema from version n to n + 1; a change of the tables is a new file at the end."""

_APPLY = "select apply($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
_NOW = "coalesce($2::bigint, (extract(epoch from clock_timestamp()) * 1000000)::bigint)"
SELECT = f"""
    select document.key, version, value, fence, coalesce(ends_us <= {_NOW}, false) as ended, names, contents
    from document left join lateral (
        select array_agg(name) as names, array_agg(field.value) as contents from field where field.key = document.key
    ) as fields on true
"""
_READ = f"{SELECT} where document.key = any($1)"
_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@dataclass(frozen=True, slots=True)
class Apply:
    """Writes and merges, done together or not at all; the result is a code each."""

    operations: Sequence[Operation]

    def __len__(self) -> int:
        return len(self.operations)


@dataclass(frozen=True, slots=True)
class Read:
    """One document; the result is what `StateStore.read` gives."""

    key: bytes

    def __len__(self) -> int:
        return 1


@dataclass(frozen=True, slots=True)
class Call:
    """Anything else, with the connection for itself."""

    ask: Callable[[Connection], Awaitable[object]]

    def __len__(self) -> int:
        return 1


Entry = Apply | Read | Call
Result = object


class PostgresLane:
    """A lane of a `Batcher`: all `Apply` entries of a batch are one statement, all `Read` entries another."""

    def __init__(
        self, url: str, address: Address, schema: str, *, timeout_s: float, now_us: Callable[[], int | None]
    ) -> None:
        self._url = url
        self._name = f"PostgreSQL at {address}"
        self._schema = schema
        self._timeout_s = timeout_s
        self._now_us = now_us
        self._connection: Connection | None = None
        self._too_late = False

    async def perform(self, entries: Sequence[Entry]) -> list[Result | StoreUnavailable]:
        """Each entry's result. One that the server refuses fails alone: it is done again without the others."""
        try:
            async with self._ready() as connection:
                results: dict[int, Result | StoreUnavailable] = {}
                for kind, together in ((Apply, self._apply), (Read, self._read), (Call, self._call)):
                    places = [at for at, entry in enumerate(entries) if isinstance(entry, kind)]
                    if places:
                        same = [entries[at] for at in places]
                        answers = await self._isolated(connection, together, same)  # type: ignore[arg-type]
                        results.update(zip(places, answers, strict=True))
        except _ERRORS as error:
            raise StoreUnavailable(self._why(error)) from None
        return [results[at] for at in range(len(entries))]

    async def close(self) -> None:
        """Give back the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*_ERRORS):  # it is not needed any more, and may be gone already
                await connection.close(timeout=self._timeout_s)

    @contextlib.asynccontextmanager
    async def _ready(self) -> AsyncIterator[Connection]:
        """A connection that works, taken away after `timeout_s`.

        It is cut rather than asked to cancel, which a server that hangs would not hear; the server's own statement
        timeout is a little shorter, so that nothing of it goes on there.
        """
        self._too_late = False
        connection, new = self._connection, False
        if connection is None or connection.is_closed():
            connection, new = await self._connect(), True
            self._connection = connection
        timer = asyncio.get_running_loop().call_later(self._timeout_s, self._cut, connection)
        try:
            if new:
                await self._make_schema(connection)
                new = False
            yield connection
        except BaseException as error:
            if new or not isinstance(error, asyncpg.PostgresError):  # after a plain refusal it is as good as before
                connection.terminate()
            raise
        finally:
            timer.cancel()

    def _cut(self, connection: Connection) -> None:
        self._too_late = True
        connection.terminate()

    async def _connect(self) -> Connection:
        milliseconds = self._timeout_s * 1000
        connection = await asyncpg.connect(
            self._url,
            timeout=self._timeout_s,
            server_settings={
                "application_name": "harness",
                "search_path": f'"{self._schema}"',
                "statement_timeout": str(round(0.9 * milliseconds)),
                "lock_timeout": str(round(0.25 * milliseconds)),
                "jit": "off",
            },
        )
        if connection.get_server_version().major < POSTGRES_OLDEST:
            connection.terminate()
            raise StoreUnavailable(f"{self._name} is too old; version {POSTGRES_OLDEST} or newer is needed")
        return connection

    async def _make_schema(self, connection: Connection) -> None:
        """Create or renew our tables, one process at a time; a schema of a newer harness is refused."""
        if await self._version(connection) == len(SCHEMAS):
            return
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", lock_number(self._schema, b""))
            await connection.execute(f'create schema if not exists "{self._schema}"')
            version = await self._version(connection)
            if version > len(SCHEMAS):
                raise StoreUnavailable(
                    f"{self._name}: schema {self._schema!r} has version {version}, this harness knows {len(SCHEMAS)}; "
                    "use a newer harness, or another namespace"
                )
            for name in SCHEMAS[version:]:
                await connection.execute(resources.files(__package__).joinpath(name).read_text())
            await connection.execute("create table if not exists schema_version (version int not null)")
            await connection.execute("delete from schema_version")
            await connection.execute("insert into schema_version values ($1)", len(SCHEMAS))

    async def _version(self, connection: Connection) -> int:
        """0 when there is no schema yet."""
        if await connection.fetchval("select to_regclass('schema_version')") is None:
            return 0
        return int(await connection.fetchval("select version from schema_version") or 0)

    async def _isolated(
        self,
        connection: Connection,
        together: Callable[[Connection, Sequence[Entry]], Awaitable[list[Result]]],
        entries: Sequence[Entry],
    ) -> list[Result | StoreUnavailable]:
        """All as one; when the server refuses that, nothing was done, and each is tried alone."""
        try:
            return list(await together(connection, entries))
        except (asyncpg.PostgresError, asyncpg.DataError) as error:
            if connection.is_closed():
                raise
            if len(entries) == 1:
                return [StoreUnavailable(self._why(error))]
        return [result for entry in entries for result in await self._isolated(connection, together, [entry])]

    async def _apply(self, connection: Connection, entries: Sequence[Apply]) -> list[Result]:
        operations = [operation for entry in entries for operation in entry.operations]
        codes = await connection.fetchval(_APPLY, *arguments(self._schema, operations), self._now_us())
        results: list[Result] = []
        at = 0
        for entry in entries:
            results.append(codes[at : at + len(entry)])
            at += len(entry)
        return results

    async def _read(self, connection: Connection, entries: Sequence[Read]) -> list[Result]:
        rows = await connection.fetch(_READ, list({entry.key for entry in entries}), self._now_us())
        found = {row["key"]: found_document(row) for row in rows}
        return [found.get(entry.key) for entry in entries]

    async def _call(self, connection: Connection, entries: Sequence[Call]) -> list[Result]:
        return [await entry.ask(connection) for entry in entries]

    def _why(self, error: BaseException) -> str:
        """What is wrong, for a person, without credentials."""
        text = scrubbed(str(error).partition("\n")[0], self._url) or type(error).__name__
        if self._too_late or isinstance(error, TimeoutError | asyncpg.QueryCanceledError):
            return f"{self._name} gave no answer within {self._timeout_s:g} s; is it PostgreSQL, and is it well?"
        if isinstance(error, asyncpg.LockNotAvailableError):
            return f"{self._name}: a lock was not to be had within {self._timeout_s / 4:g} s: {text}"
        if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError | asyncpg.InvalidCatalogNameError):
            return f"{self._name} refused us ({text}); look at the user, password and database"
        if isinstance(error, asyncpg.PostgresError):
            return f"{self._name} refused: {text}"
        if isinstance(error, asyncpg.InternalClientError) or "unexpected" in text:
            return f"{self._name} does not speak the PostgreSQL protocol ({text}); is it another kind of server?"
        return f"{self._name} is not there or went away: {text}"


def lock_number(schema: str, key: bytes) -> int:
    """The number of a document's advisory lock. Two documents with the same one only wait for each other."""
    return (crc32(schema.encode()) & 0x7FFFFFFF) << 32 | crc32(key)


def arguments(schema: str, operations: Sequence[Operation]) -> tuple[Sequence[object], ...]:
    """What the server's `apply` takes, less the time: a list a column.

    An operation id travels as a digest of 64 bits. A document compares it with at most 256 others, so one that is
    taken for another is expected once in 10**17 writes.
    """
    keys = [operation.key.encode() for operation in operations]
    merges = [({} if isinstance(operation, Write) else operation.fields) for operation in operations]
    return (
        sorted({lock_number(schema, key) for key in keys}),
        keys,
        [int.from_bytes(blake2b(each.op_id.encode(), digest_size=8).digest(), signed=True) for each in operations],
        [each.if_version for each in operations],
        [each.fence for each in operations],
        [None if each.ttl_s is None else microseconds(each.ttl_s) for each in operations],
        [each.value if isinstance(each, Write) else None for each in operations],
        [len(fields) for fields in merges],
        [name.encode() for fields in merges for name in fields],
        [value for fields in merges for value in fields.values()],
    )
