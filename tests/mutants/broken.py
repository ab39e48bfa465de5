"""Orchestrators that are broken on purpose. Each passes every limit while nothing goes wrong; the invariants catch it.

They are served by real hosts, in place of the embedded target: see test_mutants.py.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any

from harness.observation.effects import Effects
from harness.observation.ledger import Answer
from harness.orchestrator.durable import DurableOrchestrator
from harness.orchestrator.options import read_options
from harness.orchestrator.outside import Outside
from harness.store import opening
from harness.store.fallback import FallbackStore
from harness.store.store import Expired, Operation, StateStore, Versioned, WriteResult
from harness.target.target import Services, Watch, WorkflowRequest, WorkflowResult


class Altered:
    """A store behind which another one does the work; a mutant changes what goes through."""

    def __init__(self, store: StateStore) -> None:
        self.store = store

    async def read(self, key: str) -> Versioned | Expired | None:
        return await self.store.read(key)

    async def write(
        self, key: str, value: bytes, *, if_version: int, op_id: str, ttl_s: float | None = None, fence: int = 0
    ) -> WriteResult:
        return await self.store.write(key, value, if_version=if_version, op_id=op_id, ttl_s=ttl_s, fence=fence)

    async def merge(
        self, key: str, fields: Mapping[str, bytes], *, op_id: str, ttl_s: float | None = None, fence: int = 0
    ) -> WriteResult:
        return await self.store.merge(key, fields, op_id=op_id, ttl_s=ttl_s, fence=fence)

    async def batch(self, operations: list[Operation]) -> list[WriteResult]:
        return await self.store.batch(operations)

    async def claim(self, key: str, fence: int) -> Versioned | Expired | None:
        return await self.store.claim(key, fence)

    async def scan(self, prefix: str) -> list[tuple[str, Versioned]]:
        return await self.store.scan(prefix)

    async def close(self) -> None:
        await self.store.close()


class AlteredEffects(Effects):
    """The witness's client, as a mutant uses it."""

    def __init__(self, services: Services, *, anonymous: bool = False, unfenced: bool = False) -> None:
        assert services.witness is not None
        super().__init__(services.witness, scope=services.namespace)
        self._anonymous = anonymous
        self._unfenced = unfenced

    async def act(self, workflow: str, step: str, op_id: str, token: int = 0) -> Answer:
        op_id = secrets.token_hex(8) if self._anonymous else op_id
        return await super().act(workflow, step, op_id, 0 if self._unfenced else token)


class NoOperationIds(DurableOrchestrator):
    """Every attempt of a write or an effect looks like a new one."""

    class Store(Altered):
        async def write(self, *args: Any, **kwargs: Any) -> WriteResult:
            return await super().write(*args, **{**kwargs, "op_id": secrets.token_hex(8)})

        async def merge(self, *args: Any, **kwargs: Any) -> WriteResult:
            return await super().merge(*args, **{**kwargs, "op_id": secrets.token_hex(8)})

    async def open(self, services: Services) -> StateStore:
        return self.Store(await super().open(services))  # type: ignore[return-value]

    async def reach(self, services: Services, token: int) -> Outside | None:
        outside = await super().reach(services, token)
        if outside is not None and services.witness is not None:
            outside._effects = AlteredEffects(services, anonymous=True)
        return outside


class NoFencing(DurableOrchestrator):
    """No token goes with any write or effect, and an owner that was replaced does not care."""

    class Store(Altered):
        async def write(self, *args: Any, **kwargs: Any) -> WriteResult:
            return await super().write(*args, **{**kwargs, "fence": 0})

        async def merge(self, *args: Any, **kwargs: Any) -> WriteResult:
            return await super().merge(*args, **{**kwargs, "fence": 0})

        async def claim(self, key: str, fence: int) -> Versioned | Expired | None:
            return await self.read(key)

    async def open(self, services: Services) -> StateStore:
        return self.Store(await super().open(services))  # type: ignore[return-value]

    async def reach(self, services: Services, token: int) -> Outside | None:
        outside = await super().reach(services, token)
        if outside is not None and services.witness is not None:
            outside._effects = AlteredEffects(services, unfenced=True)
        return outside


class BlindWrites(DurableOrchestrator):
    """Whatever version a write was meant for, it is written over the one that is there."""

    class Store(Altered):
        async def write(
            self, key: str, value: bytes, *, if_version: int, op_id: str, ttl_s: float | None = None, fence: int = 0
        ) -> WriteResult:
            while True:
                found = await self.store.read(key)
                version = found.version if found is not None else 0
                result = await self.store.write(key, value, if_version=version, op_id=op_id, ttl_s=ttl_s, fence=fence)
                if result.ok or isinstance(found, Expired):
                    return result

    async def open(self, services: Services) -> StateStore:
        return self.Store(await super().open(services))  # type: ignore[return-value]


def no_operation_ids(options: Mapping[str, Any]) -> DurableOrchestrator:
    return NoOperationIds(read_options(options))


def no_fencing(options: Mapping[str, Any]) -> DurableOrchestrator:
    return NoFencing(read_options(options), on_replaced=lambda why: None)


def blind_writes(options: Mapping[str, Any]) -> DurableOrchestrator:
    return BlindWrites(read_options(options))


class Latched(FallbackStore):
    """Once in memory it stays there."""

    async def _try_to_promote(self) -> None:
        return


class DropsItsQueue(DurableOrchestrator):
    """What an earlier owner had accepted is forgotten: whoever asks for it waits for ever."""

    async def _take_up(self) -> None:
        unfinished = [key for key, document in await self._store.scan("") if not self._noted_end(key, document)]
        self._dropped = frozenset(unfinished)

    def admit(self, request: WorkflowRequest) -> None:
        if request.id not in self._dropped:
            super().admit(request)

    async def accept(self, request: WorkflowRequest) -> None:
        if request.id not in self._dropped:
            await super().accept(request)

    async def run(self, request: WorkflowRequest, watch: Watch) -> WorkflowResult:
        if request.id in self._dropped:
            await asyncio.get_running_loop().create_future()
        return await super().run(request, watch)


def latched_fallback(options: Mapping[str, Any]) -> DurableOrchestrator:
    opening.FallbackStore = Latched  # type: ignore[misc]
    return DurableOrchestrator(read_options(options))


def drops_queue(options: Mapping[str, Any]) -> DurableOrchestrator:
    return DropsItsQueue(read_options(options))
