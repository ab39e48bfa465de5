"""Documents that all workflows of a run write to, each by its declared policy, with every operation on record.

merge        field by field, in the store: nobody waits for anybody, no field is lost
refuse       compare and set of the whole value: who lost a race reads again and tries again, with jitter
last_writer  the whole value, blindly: what was there is gone, which is what was asked for
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from zlib import crc32

import msgspec

from harness.llm.draws import uniforms
from harness.observation.history import Answered, Called
from harness.orchestrator.call import AgentFailed, Call
from harness.orchestrator.owned import Owned
from harness.scenario.scenario import Shared
from harness.store.store import Versioned, WriteResult

PREFIX = "shared/"
SLOTS = 64
"""Fields of a merged document: each workflow has one of them, so that the document does not grow with the load."""
CONFLICT_WAIT_S = (0.001, 0.1)
"""Before the second compare and set of an update, and at most; doubling in between, times a jitter of 0 to 1."""


class _Value(msgspec.Struct):
    """The value of a document with policy refuse: a count of updates, and the operation that made it."""

    updates: int
    by: str


class History:
    """Appends to `history.jsonl`, a system call a line: what was written survives the death of this process."""

    def __init__(self, path: Path, *, t0: float, clock: Callable[[], float]) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._t0 = t0
        self._clock = clock
        self._process = os.getpid()
        self._operations = 0

    def called(self, key: str, kind: str, op_id: str = "", if_version: int = 0) -> int:
        """An operation is sent now; its number."""
        self._operations += 1
        number = self._operations
        self._put(Called(number, self._process, key, kind, self._now(), op_id, if_version))  # type: ignore[arg-type]
        return number

    def read(self, number: int, found: Versioned | None) -> None:
        """It was a read, and this came back. An answer from memory is none: its version is not the store's."""
        if found is not None and found.provisional:
            return
        value = msgspec.json.decode(found.value, type=_Value).by if found is not None and found.value else ""
        version, fields = (found.version, tuple(found.fields)) if found is not None else (0, ())
        self._put(Answered(number, self._process, self._now(), True, version, value, fields))

    def written(self, number: int, result: WriteResult) -> None:
        """It was a write, and this came back. One that only memory has may yet happen, or not."""
        if result.provisional:
            return
        self._put(Answered(number, self._process, self._now(), result.ok, result.version))

    def close(self) -> None:
        """Nothing more is written."""
        os.close(self._descriptor)

    def _now(self) -> float:
        return self._clock() - self._t0

    def _put(self, line: Called | Answered) -> None:
        os.write(self._descriptor, msgspec.json.encode(line) + b"\n")


class SharedDocuments:
    """The declared shared documents in `store`. `history` is None where nobody judges."""

    def __init__(self, store: Owned, declared: Mapping[str, Shared], *, seed: int, history: History | None) -> None:
        self._store = store
        self._declared = declared
        self._seed = seed
        self._history = history
        self.conflicts = 0

    async def update(self, name: str, call: Call) -> None:
        """Write to the document for this step, once however often the step is tried. Raises `AgentFailed`."""
        shared = self._declared[name]
        op_id = f"{call.request.id}/{call.step.name}"
        if shared.policy == "refuse":
            await self._compare_and_set(name, op_id, shared.attempts)
        elif shared.policy == "merge":
            await self._merge(name, f"{crc32(call.request.id.encode()) % SLOTS:02d}", op_id)
        else:
            await self._merge(name, "last", op_id)
        await self._read(name)

    def close(self) -> None:
        """No update comes after this."""
        if self._history is not None:
            self._history.close()

    async def _compare_and_set(self, name: str, op_id: str, attempts: int) -> None:
        first_s, most_s = CONFLICT_WAIT_S
        for attempt in range(attempts):
            found = await self._read(name)
            before = msgspec.json.decode(found.value, type=_Value).updates if found is not None else 0
            version = found.version if found is not None else 0
            value = msgspec.json.encode(_Value(before + 1, op_id))
            number = self._history.called(name, "set", op_id, version) if self._history else 0
            result = await self._store.write(name, value, if_version=version, op_id=op_id)
            if self._history:
                self._history.written(number, result)
            if result.ok:
                return
            self.conflicts += 1
            jitter = uniforms("conflict", self._seed, op_id, attempt)[0]
            await asyncio.sleep(jitter * min(most_s, first_s * 2**attempt))
        message = f"shared document {name!r} was changed under each of {attempts} attempts to update it"
        raise AgentFailed(message, error_class="version_conflict")

    async def _merge(self, name: str, field: str, op_id: str) -> None:
        number = self._history.called(name, "merge", op_id) if self._history else 0
        result = await self._store.merge(name, {field: op_id.encode()}, op_id=op_id)
        if self._history:
            self._history.written(number, result)

    async def _read(self, name: str) -> Versioned | None:
        number = self._history.called(name, "read") if self._history else 0
        found = await self._store.read(name)
        if self._history:
            self._history.read(number, found if isinstance(found, Versioned) else None)
        return found if isinstance(found, Versioned) else None
