"""A store that goes on in memory while its server is away, says so in every result, and hands back what it held.

    authoritative  the primary answers; copies of what passes by are kept (`harness/store/shadows.py`)
    provisional    the primary did not answer: everything is done in memory at once, and one prober asks the primary
    promotion      it answered: what it lost is given back, what was written meanwhile is replayed, in order

Replay keeps the operation ids and versions of the writes, so that one whose reply was lost is recognised, and one that
was decided on what is no longer so is refused: then the document is `diverged`, and the primary's stands. Writes that
arrive during a promotion are replayed in it as well; for the last few of them callers wait, so that there is no moment
in which one is neither in memory nor after everything that was.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from harness.store.absence import Absence, Claim
from harness.store.encoding import OPERATIONS_A_BATCH, chunks
from harness.store.restoring import Restoring
from harness.store.store import Expired, Merge, Operation, StateStore, StoreUnavailable, Versioned, Write, WriteResult

BYTES_MAX = 64 * 2**20
DIVERGED_KEYS_KEPT = 100
_PROBE_KEY = "fallback/probe"  # read only; never written
_OPEN_PASSES_MAX = 8  # over what is held, before callers are made to wait for the last one
Result = TypeVar("Result")


class FallbackStore:
    """A `StateStore` over `primary`, which while that one is away answers from memory, marked `provisional`.

    What is known then: documents that this process wrote or read recently, and new ones. A document that is not
    known raises `StoreUnavailable`, except that a merge into it is held (it needs no reading). An `Expired` cannot be
    marked: it is given only for a time to live that this process gave and that ran out. A scan gives what is known.

    Bounded by `documents_max` documents and `bytes_max` bytes, each for the copies and for what is held: a write
    beyond raises `StoreUnavailable`. Times to live are counted by `clock` (seconds), the prober asks every `probe_s`.
    `on_change` is told whenever results begin (True) or cease (False) to be provisional.

    A document that the primary had lost and was given back has no time to live there until it is written with one.
    """

    def __init__(
        self,
        primary: StateStore,
        *,
        documents_max: int,
        clock: Callable[[], float],
        probe_s: float = 0.5,
        on_change: Callable[[bool], None] | None = None,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        self._primary = primary
        self._clock = clock
        self._probe_s = probe_s
        self._on_change = on_change
        self._absence = Absence(documents_max=documents_max, bytes_max=bytes_max, clock=clock)
        self._apart: set[str] = set()  # documents that diverged in this absence
        self._epoch = 0  # counts changes, so that a late failure of a time before is known as such
        self._gate: asyncio.Event | None = None  # set when the end of a promotion is over
        self._prober: asyncio.Task[None] | None = None
        self._closed = False
        self.provisional = False
        self.provisional_writes = 0
        self.promotions = 0
        self.diverged = 0
        self.restored = 0  # documents that the primary had lost, and was given back
        self.diverged_keys: deque[str] = deque(maxlen=DIVERGED_KEYS_KEPT)

    @property
    def held(self) -> int:
        """Writes and claims that were answered from memory, and that the primary has not got yet."""
        return len(self._absence)

    async def read(self, key: str) -> Versioned | Expired | None:
        """The document; provisional while the primary is away."""

        async def ask() -> Versioned | Expired | None:
            found = await self._primary.read(key)
            self._absence.saw(key, found)
            return found

        return await self._either(ask, lambda: self._absence.read(key))

    async def write(
        self, key: str, value: bytes, *, if_version: int, op_id: str, ttl_s: float | None = None, fence: int = 0
    ) -> WriteResult:
        """Compare and set; provisional while the primary is away."""
        if not self.provisional:
            epoch = self._epoch
            try:
                result = await self._primary.write(
                    key, value, if_version=if_version, op_id=op_id, ttl_s=ttl_s, fence=fence
                )
                self._absence.wrote(key, value, op_id, ttl_s, fence, result)
                return result
            except StoreUnavailable as error:
                self._lose(epoch, error)
        (result,) = await self.batch((Write(key, value, if_version, op_id, ttl_s, fence),))
        return result

    async def merge(
        self, key: str, fields: Mapping[str, bytes], *, op_id: str, ttl_s: float | None = None, fence: int = 0
    ) -> WriteResult:
        """Set fields; provisional while the primary is away."""
        if not self.provisional:
            epoch = self._epoch
            try:
                result = await self._primary.merge(key, fields, op_id=op_id, ttl_s=ttl_s, fence=fence)
                self._absence.wrote(key, fields, op_id, ttl_s, fence, result)
                return result
            except StoreUnavailable as error:
                self._lose(epoch, error)
        (result,) = await self.batch((Merge(key, fields, op_id, ttl_s, fence),))
        return result

    async def batch(self, operations: Sequence[Operation]) -> list[WriteResult]:
        """All of them, in order; if the primary fails at one, all of them in memory."""

        async def ask() -> list[WriteResult]:
            results = await self._primary.batch(operations)
            for each, result in zip(operations, results, strict=True):
                content = each.value if isinstance(each, Write) else each.fields
                self._absence.wrote(each.key, content, each.op_id, each.ttl_s, each.fence, result)
            return results

        async def hold() -> list[WriteResult]:
            results = []
            for operation in operations:
                results.append(result := await self._absence.hold(operation))
                self.provisional_writes += result.ok and not result.replayed
            return results

        return await self._either(ask, hold)

    async def claim(self, key: str, fence: int) -> Versioned | Expired | None:
        """Raise the fencing token and read; provisional while the primary is away."""

        async def ask() -> Versioned | Expired | None:
            found = await self._primary.claim(key, fence)
            self._absence.saw(key, found)
            return found

        return await self._either(ask, lambda: self._absence.claim(key, fence))

    async def scan(self, prefix: str) -> list[tuple[str, Versioned]]:
        """Every document; while the primary is away, every one that is known, which need not be all."""
        return await self._either(lambda: self._primary.scan(prefix), lambda: self._absence.scan(prefix))

    async def close(self) -> None:
        """Try once more to hand back what is held, then give back connections; what stays is told by `held`."""
        self._closed = True
        if self._prober is not None:
            self._prober.cancel()
            await asyncio.gather(self._prober, return_exceptions=True)
        if self._absence:
            await self._try_to_promote()
        await self._primary.close()

    async def _either(self, ask: Callable[[], Awaitable[Result]], hold: Callable[[], Awaitable[Result]]) -> Result:
        """From the primary while it answers, otherwise from memory."""
        while True:
            if not self.provisional:
                epoch = self._epoch
                try:
                    return await ask()
                except StoreUnavailable as error:
                    self._lose(epoch, error)
            elif self._gate is None:
                if self._prober is not None and self._prober.done() and not self._closed:
                    self._prober.result()  # a mistake of ours ended it: that must not be for ever, nor in silence
                return await hold()
            else:
                await self._gate.wait()

    def _lose(self, epoch: int, error: StoreUnavailable) -> None:
        """The primary is away, unless it has been back since the operation began: then it is asked again."""
        if self._closed:
            raise error
        if epoch != self._epoch:
            return
        self._absence.why = str(error)
        self._change(True)
        self._prober = asyncio.get_running_loop().create_task(self._probe())

    def _change(self, provisional: bool) -> None:
        self._epoch += 1
        self.provisional = provisional
        if self._on_change is not None:
            self._on_change(provisional)

    async def _probe(self) -> None:
        while self.provisional:
            await asyncio.sleep(self._probe_s)
            await self._try_to_promote()

    async def _try_to_promote(self) -> None:
        """Hand back everything, or as much as the primary takes."""
        try:
            await self._primary.read(_PROBE_KEY)
            await self._give_back()
            for _ in range(_OPEN_PASSES_MAX):
                if len(self._absence) <= OPERATIONS_A_BATCH:
                    break
                await self._replay(len(self._absence))
            self._gate = asyncio.Event()
            await self._replay(len(self._absence))
            self._absence.settle()
            self._apart.clear()
            self.promotions += 1
            self._change(False)
        except StoreUnavailable as error:
            self._absence.why = str(error)
        finally:
            gate, self._gate = self._gate, None
            if gate is not None:
                gate.set()

    async def _give_back(self) -> None:
        """Restore what the primary has lost: it has less than what it acknowledged.

        What is lost was written last (a server that did not come back with all of its file), or is everything; so the
        newest copies are looked at first, and the first chunk that is whole ends it.
        """
        if not isinstance(self._primary, Restoring):
            return
        for part in chunks(self._absence.newest_first()):
            found = await asyncio.gather(*(self._primary.read(key) for key in part))
            whole = True
            for key, document in zip(part, found, strict=True):
                lost = self._absence.lost(key, document)
                if lost is not None:
                    whole = False
                    self.restored += await self._primary.restore(key, lost)
            if whole:
                return

    async def _replay(self, count: int) -> None:
        """The first `count` that are held, in order. One is let go only when the primary has answered it."""
        while count > 0:
            part = self._absence.next_part(count)
            count -= len(part)
            first = part[0]
            if isinstance(first.what, Claim):
                found = await self._primary.claim(first.what.key, first.what.fence)
                done = isinstance(found, Versioned) and found.fence == first.what.fence
                results = [WriteResult(done, first.version)]
            elif self._absence.stale(first.what):
                results = [WriteResult(False, 0)]
            else:
                now_s = self._clock()
                results = await self._primary.batch([held.again(now_s) for held in part])
            for result in results:
                held = self._absence.told(result)
                if not result.ok:
                    self._note_diverged(held.what.key)

    def _note_diverged(self, key: str) -> None:
        if key not in self._apart:
            self._apart.add(key)
            self.diverged += 1
            self.diverged_keys.append(key)
