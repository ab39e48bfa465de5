"""Faults that PostgreSQL has by its own means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.fault.beside import Sum, beside
from harness.fault.fault import Bench, FaultFailed
from harness.scenario.units import Seconds

if TYPE_CHECKING:
    from asyncpg import Connection  # type: ignore[import-untyped]

ANSWER_S = 5.0
NEEDS = ("server:postgres",)
OURS = "harness fault"
"""By this application name the other connections are told from ours."""

OTHERS = "FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> $1"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendsTerminated:
    """Every connection's backend is ended (`pg_terminate_backend`), again and again.

    Transactions in flight are rolled back, or committed and not told of: the pool has to heal, and what is repeated has
    to be repeated by its operation's id.
    """

    every: Seconds = 0.5

    needs = NEEDS

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[Sum]:
        """Until the end, by a task of its own."""
        async with _control(bench) as postgres:
            found = Sum()

            async def again_and_again() -> None:
                while True:
                    words = f"SELECT count(pg_terminate_backend(pid)) {OTHERS}"
                    found.bites += await _asked(postgres.fetchval(words, OURS))
                    await asyncio.sleep(self.every)

            async with beside(again_and_again()):
                yield found


@dataclass(frozen=True, slots=True, kw_only=True)
class TablesLocked:
    """A transaction holds an exclusive lock on every table of the level, as a migration does, and stays idle.

    Statements queue up behind it; a statement or lock timeout has to end them, and repeating them must be safe.
    """

    needs = NEEDS

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[_Waiting]:
        """`LOCK TABLE … ACCESS EXCLUSIVE`, given up by the end of its transaction."""
        async with _control(bench) as postgres, _control(bench) as watching:
            names = "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname LIKE $1"
            rows = await _asked(postgres.fetch(names, bench.namespace.replace("_", r"\_") + "%"))
            if not rows:
                raise FaultFailed("PostgreSQL has no table of this level that could be locked")
            transaction = postgres.transaction()
            await _asked(transaction.start())
            try:
                tables = ", ".join(row["name"] for row in rows)
                await _asked(postgres.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE"))
                yield _Waiting(watching)
            finally:
                await _asked(transaction.rollback())


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOnly:
    """Every new transaction is read-only, as on a server that became a replica.

    Nothing may be acknowledged that could not be written.
    """

    needs = NEEDS

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[_InForce]:
        """`default_transaction_read_only`, for the server, by a reload of its settings."""
        async with _control(bench) as postgres, _control(bench, read_only=None) as watching:
            try:
                await _asked(postgres.execute("ALTER SYSTEM SET default_transaction_read_only = on"))
                await _asked(postgres.execute("SELECT pg_reload_conf()"))
                yield _InForce(watching)
            finally:
                await _asked(postgres.execute("ALTER SYSTEM RESET default_transaction_read_only"))
                await _asked(postgres.execute("SELECT pg_reload_conf()"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionsUsedUp:
    """Others hold every connection that the server has left: a new one is refused (`too many clients`).

    Whoever holds connections goes on with them; whoever needs one has to say so within its deadline.
    """

    needs = NEEDS

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[Sum]:
        """As many idle connections as it takes, let go at the end."""
        async with AsyncExitStack() as held:
            found = Sum()
            try:
                while True:
                    await held.enter_async_context(_control(bench))
                    found.bites += 1
            except FaultFailed:
                if not found.bites:
                    raise
            yield found


@dataclass(slots=True)
class _Waiting:
    postgres: Connection
    most: int = 0

    async def count(self) -> int:
        """The most sessions that waited for a lock at one time."""
        words = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        self.most = max(self.most, await _asked(self.postgres.fetchval(words)))
        return self.most


@dataclass(slots=True)
class _InForce:
    postgres: Connection
    seen: int = 0

    async def count(self) -> int:
        """1 once a session, such as the orchestrator's, may not write."""
        words = "SELECT current_setting('transaction_read_only') = 'on'"
        self.seen = self.seen or int(await _asked(self.postgres.fetchval(words)))
        return self.seen


@asynccontextmanager
async def _control(bench: Bench, *, read_only: str | None = "off") -> AsyncIterator[Connection]:
    """A connection past the proxy, known by its name. Raises FaultFailed."""
    import asyncpg

    settings = {"application_name": OURS}
    if read_only is not None:  # of its own, whatever the server's setting is
        settings["default_transaction_read_only"] = read_only
    connecting = asyncpg.connect(bench.url("postgres"), timeout=ANSWER_S, server_settings=settings)
    postgres = await _asked(connecting)
    try:
        yield postgres
    finally:
        postgres.terminate()


async def _asked(coroutine: Coroutine[Any, Any, Any]) -> Any:
    import asyncpg

    try:
        async with asyncio.timeout(ANSWER_S):
            return await coroutine
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:  # a TimeoutError is an OSError
        raise FaultFailed(f"PostgreSQL did not take it: {type(error).__name__} {error}".rstrip()) from None
