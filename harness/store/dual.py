"""Two stores that hold the same: the authority is right, the mirror follows it.

Every write, merge and claim goes to the authority first, and its answer is the answer; then the same goes to the
mirror, with the same operation id. Every read is the authority's, also one that decides no write: the mirror is for
those outside who read it, and may be behind by what is in flight, by a crash between the two, or by an absence.
What the mirror is known or suspected to have missed is repaired from the authority: a document that answered
otherwise at once, everything (`reconcile`) after the mirror was away or turned out to have forgotten something.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from harness.store.restoring import Restoring
from harness.store.store import Expired, Merge, Operation, StateStore, StoreUnavailable, Versioned, Write, WriteResult

DUE_MAX = 10_000
"""Documents remembered for repair; beyond it everything is compared."""

AHEAD_KEPT = 100

_EXPIRY_S = 0.001
_PROBE_KEY = "mirror/probe"  # read only; never written


class DualStore:
    """A `StateStore` on `authority`, mirrored in `mirror`.

    Writes of this process to one document are done one after the other, in both stores in the same order. `between`
    is called when the authority has done an operation and the mirror has not been asked: where a crash hurts. An
    absent mirror costs nobody an error: work goes on, and a task looks for it every `repair_s`.
    A document that expired at the authority is taken from the mirror by `reconcile`, if its time there is longer.
    One that is newer in the mirror (written there by somebody else) cannot be repaired: `ahead` names it.
    """

    def __init__(
        self,
        authority: StateStore,
        mirror: Restoring,
        *,
        between: Callable[[Operation], None] | None = None,
        repair_s: float = 0.5,
        due_max: int = DUE_MAX,
    ) -> None:
        self._authority = authority
        self._mirror = mirror
        self._between = between
        self._repair_s = repair_s
        self._due_max = due_max
        self._turns: dict[str, tuple[asyncio.Lock, list[None]]] = {}  # key -> its lock, and one entry for each user
        self._due: dict[str, None] = {}  # documents to be compared
        self._all_due = False
        self._away = False
        self._repairing: asyncio.Task[None] | None = None
        self._closed = False
        self.repairs = 0  # documents of the mirror that were brought up to the authority's
        self.ahead: deque[str] = deque(maxlen=AHEAD_KEPT)  # documents of the mirror that are newer than the authority's

    @property
    def due(self) -> bool:
        """Whether the mirror may lack something, as far as this process knows."""
        return self._all_due or bool(self._due)

    async def start(self) -> None:
        """Reconcile, for the process before may have ended between the two; with the mirror away, when it is back."""
        self._all_due = True
        if not await self._repair_due():
            self._lose()

    async def read(self, key: str) -> Versioned | Expired | None:
        """The authority's."""
        return await self._authority.read(key)

    async def write(
        self, key: str, value: bytes, *, if_version: int, op_id: str, ttl_s: float | None = None, fence: int = 0
    ) -> WriteResult:
        """Compare and set at the authority, then in the mirror."""
        (result,) = await self.batch((Write(key, value, if_version, op_id, ttl_s, fence),))
        return result

    async def merge(
        self, key: str, fields: Mapping[str, bytes], *, op_id: str, ttl_s: float | None = None, fence: int = 0
    ) -> WriteResult:
        """Set fields at the authority, then in the mirror."""
        (result,) = await self.batch((Merge(key, fields, op_id, ttl_s, fence),))
        return result

    async def batch(self, operations: Sequence[Operation]) -> list[WriteResult]:
        """All at the authority, then those that it did in the mirror."""
        keys = sorted({operation.key for operation in operations})
        async with self._turn(keys):
            try:
                results = await self._authority.batch(operations)
                await self._follow(operations, results)
            except BaseException:
                self._suspect(keys)  # cancelled or failed: perhaps one of them has it and the other has not
                raise
        return results

    async def claim(self, key: str, fence: int) -> Versioned | Expired | None:
        """Raise the fencing token at the authority, then in the mirror."""
        async with self._turn([key]):
            try:
                found = await self._authority.claim(key, fence)
                if not self._away and isinstance(found, Versioned):
                    try:
                        mirrored = await self._mirror.claim(key, found.fence)
                    except StoreUnavailable:
                        self._lose()
                    else:
                        if mirrored != found:
                            self._suspect([key])
            except BaseException:
                self._suspect([key])
                raise
        return found

    async def scan(self, prefix: str) -> list[tuple[str, Versioned]]:
        """The authority's."""
        return await self._authority.scan(prefix)

    async def reconcile(self, prefix: str = "") -> int:
        """Compare every document of both stores, and make the mirror's as the authority's; how many were repaired.

        To be run when an orchestrator starts: the one before it may have ended between the two. May run beside
        writes. Raises `StoreUnavailable`.
        """
        right, mirrored = dict(await self._authority.scan(prefix)), dict(await self._mirror.scan(prefix))
        differing = [key for key in sorted(right.keys() | mirrored.keys()) if right.get(key) != mirrored.get(key)]
        before = self.repairs
        for key in differing:
            await self._repair(key)
        return self.repairs - before

    async def close(self) -> None:
        """Repair what is due if the mirror lets us, and give back connections."""
        self._closed = True
        if self._repairing is not None:
            self._repairing.cancel()
            await asyncio.gather(self._repairing, return_exceptions=True)
        await self._repair_due()
        await self._mirror.close()
        await self._authority.close()

    @asynccontextmanager
    async def _turn(self, keys: Sequence[str]) -> AsyncIterator[None]:
        """Be the only one at these documents; `keys` are sorted, so that two who want the same ones do not deadlock."""
        held: list[asyncio.Lock] = []
        try:
            for key in keys:
                lock, users = self._turns.setdefault(key, (asyncio.Lock(), []))
                users.append(None)
                try:
                    await lock.acquire()
                except BaseException:
                    self._leave(key)
                    raise
                held.append(lock)
            yield
        finally:
            for key, lock in zip(keys, held, strict=False):
                lock.release()
                self._leave(key)

    def _leave(self, key: str) -> None:
        """A lock that nobody uses or waits for is forgotten."""
        users = self._turns[key][1]
        users.pop()
        if not users:
            del self._turns[key]

    async def _follow(self, operations: Sequence[Operation], results: Sequence[WriteResult]) -> None:
        """Do in the mirror what the authority did."""
        done: list[tuple[Operation, int]] = []
        for operation, result in zip(operations, results, strict=True):
            if result.replayed:
                # Done before, perhaps long ago: what the mirror has of it is for a comparison to say.
                self._suspect([operation.key])
            elif result.ok:
                if self._between is not None:
                    self._between(operation)
                done.append((operation, result.version))
        if not done or self._away:
            return
        try:
            mirrored = await self._mirror.batch([_following(operation, version) for operation, version in done])
        except StoreUnavailable:
            self._lose()
            return
        for (operation, version), result in zip(done, mirrored, strict=True):
            if result.version < version:  # one that lost this (it expired, or was evicted) may have lost any other
                self._suspect_all()
            elif not result.ok or result.version != version:
                self._suspect([operation.key])

    def _lose(self) -> None:
        """The mirror is away. It may come back with less than it had, so that everything must be compared."""
        self._away = True
        self._suspect_all()

    def _suspect(self, keys: Sequence[str]) -> None:
        """These may differ."""
        if not self._all_due:
            self._due.update(dict.fromkeys(keys))
            if len(self._due) > self._due_max:
                self._suspect_all()
        self._start_repairing()

    def _suspect_all(self) -> None:
        """Any may differ."""
        self._all_due = True
        self._due.clear()
        self._start_repairing()

    def _start_repairing(self) -> None:
        if self._closed or (self._repairing is not None and not self._repairing.done()):
            return
        if self._repairing is not None:
            self._repairing.result()  # a mistake of ours that ended it is not passed over
        self._repairing = asyncio.get_running_loop().create_task(self._keep_repairing())

    async def _keep_repairing(self) -> None:
        """At once, and then as often as `repair_s` allows, until nothing is due."""
        while True:
            if await self._repair_due():
                return
            await asyncio.sleep(self._repair_s)

    async def _repair_due(self) -> bool:
        """Whether nothing is due any more."""
        try:
            if self._away:
                await self._mirror.read(_PROBE_KEY)
                self._away = False  # from here on writes are mirrored again, while what they find is compared
            if self._all_due:
                self._all_due = False
                try:
                    await self.reconcile()
                except BaseException:
                    self._all_due = True
                    raise
            while self._due:
                key = next(iter(self._due))
                await self._repair(key)
                self._due.pop(key, None)
        except StoreUnavailable:
            return False  # it stays due
        return not self.due

    async def _repair(self, key: str) -> None:
        """Make the mirror's document as the authority's, while nobody here writes it."""
        async with self._turn([key]):
            right = await self._authority.read(key)
            mirrored = await self._mirror.read(key)
            if isinstance(right, Versioned):
                if right == mirrored:
                    return
                if await self._mirror.restore(key, right):
                    self.repairs += 1
                else:
                    self.ahead.append(key)
            elif isinstance(mirrored, Versioned):
                op_id = f"expired/{mirrored.version}"
                await self._mirror.merge(key, {}, op_id=op_id, ttl_s=_EXPIRY_S, fence=mirrored.fence)
                if right is None or right.version != mirrored.version:  # else only its time is up here, too
                    self.repairs += 1


def _following(operation: Operation, version: int) -> Operation:
    """What the mirror is to do so that it has this version then, too. It may have it already: a successor, who thinks
    that we are gone, may have repaired it from the authority while we were held still between the two."""
    return replace(operation, if_version=version - 1) if isinstance(operation, Merge) else operation
