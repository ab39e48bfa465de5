"""Documents that all workflows write to: each policy does what it says, and everything is on record."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from virtual_time import settle, simulate

from harness.observation.history import Answered, Called
from harness.orchestrator.call import AgentFailed, Call
from harness.orchestrator.crash import CrashPoints
from harness.orchestrator.owned import Owned
from harness.orchestrator.shared import PREFIX, History, SharedDocuments
from harness.scenario.scenario import Shared
from harness.scenario.shapes import Step
from harness.store.memory import MemoryStore
from harness.store.store import StateStore, Versioned, WriteResult
from harness.target.target import WorkflowRequest


def clock() -> float:
    return asyncio.get_running_loop().time()


class Slow(MemoryStore):
    """Every answer takes a millisecond, so that writers are in each other's way."""

    async def read(self, key: str) -> Versioned | None:  # type: ignore[override]
        await asyncio.sleep(0.001)
        return await super().read(key)  # type: ignore[return-value]

    async def write(self, *args: object, **kwargs: object) -> WriteResult:  # type: ignore[override]
        await asyncio.sleep(0.001)
        return await super().write(*args, **kwargs)  # type: ignore[arg-type]


def documents(store: StateStore, history: History | None = None, **shared: Shared) -> SharedDocuments:
    points = CrashPoints(None, path=None, level="", t0=0.0, clock=clock)
    return SharedDocuments(Owned(store, prefix=PREFIX, token=1, points=points), shared, seed=1, history=history)


def call(number: int) -> Call:
    return Call(WorkflowRequest(f"w-{number}", "job", 1, 30.0), Step(name="update", agent="writer"))


async def document(store: StateStore, name: str) -> Versioned:
    found = await store.read(PREFIX + name)
    assert isinstance(found, Versioned)
    return found


def test_refuse_counts_every_update_once() -> None:
    """However many race for it; an update that is tried again with the same operation id is not counted twice."""

    async def main() -> None:
        store = Slow(clock=clock)
        shared = documents(store, hot=Shared(policy="refuse"))
        await asyncio.gather(*[shared.update("hot", call(number)) for number in range(50)])
        await shared.update("hot", call(7))
        found = await document(store, "hot")
        assert found.version == 50
        assert msgspec.json.decode(found.value)["updates"] == 50
        assert shared.conflicts > 50

    simulate(main)


def test_refuse_gives_up_after_its_attempts() -> None:
    """As a failed attempt of the step, which may be tried again later."""

    async def main() -> None:
        store = Slow(clock=clock)
        shared = documents(store, hot=Shared(policy="refuse", attempts=1))
        results = await settle(*[shared.update("hot", call(number)) for number in range(10)])
        failed = [result for result in results if isinstance(result, AgentFailed)]
        assert len(failed) == 9
        assert {error.error_class for error in failed} == {"version_conflict"}

    simulate(main)


@pytest.mark.parametrize(("policy", "fields"), [("merge", 30), ("last_writer", 1)])
def test_the_blind_policies_never_conflict(policy: str, fields: int) -> None:
    """Merged fields stay side by side; of the last writer's there is one."""

    async def main() -> None:
        store = Slow(clock=clock)
        shared = documents(store, board=Shared(policy=policy))  # type: ignore[arg-type]
        await asyncio.gather(*[shared.update("board", call(number)) for number in range(100)])
        found = await document(store, "board")
        assert found.version == 100
        assert fields <= len(found.fields) <= 64 if policy == "merge" else len(found.fields) == fields
        assert shared.conflicts == 0

    simulate(main)


class Provisional(MemoryStore):
    """Answers from memory, as while its server is away."""

    async def merge(self, *args: object, **kwargs: object) -> WriteResult:  # type: ignore[override]
        return msgspec.structs.replace(await super().merge(*args, **kwargs), provisional=True)  # type: ignore[arg-type]

    async def read(self, key: str) -> Versioned | None:  # type: ignore[override]
        found = await super().read(key)
        assert isinstance(found, Versioned)
        return msgspec.structs.replace(found, provisional=True)


@pytest.mark.parametrize(("store", "answers"), [(MemoryStore, 2), (Provisional, 0)])
def test_the_history_has_every_call_and_every_answer_of_the_store(
    tmp_path: Path, store: type[MemoryStore], answers: int
) -> None:
    """An answer from memory is none: what memory says may yet happen, or not."""

    async def main() -> None:
        path = tmp_path / "history.jsonl"
        history = History(path, t0=0.0, clock=clock)
        shared = documents(store(clock=clock), history, board=Shared(policy="merge"))
        await shared.update("board", call(1))
        shared.close()
        decode = msgspec.json.Decoder(Called | Answered).decode
        lines = [decode(line) for line in path.read_bytes().splitlines()]
        called = [line for line in lines if isinstance(line, Called)]
        assert [(line.kind, line.op_id) for line in called] == [("merge", "w-1/update"), ("read", "")]
        assert sum(isinstance(line, Answered) for line in lines) == answers

    simulate(main)
