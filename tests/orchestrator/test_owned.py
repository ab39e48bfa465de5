"""The store as its owner sees it: its documents, its token, and no answer that a newer owner should have had."""

from __future__ import annotations

import asyncio

import pytest

from harness.orchestrator.crash import CrashPoints
from harness.orchestrator.owned import Owned, Replaced
from harness.store.memory import MemoryStore
from harness.store.store import Merge, Versioned, Write, WriteResult


def owned(store: MemoryStore, token: int) -> Owned:
    points = CrashPoints(None, path=None, level="", t0=0.0, clock=lambda: 0.0)
    return Owned(store, prefix="w/", token=token, points=points)


def test_every_write_carries_the_owners_token() -> None:
    """Those of a batch, too; and each document lies below the owner's prefix."""

    async def main() -> None:
        store = MemoryStore()
        one = owned(store, 3)
        results = await one.batch([Write("a", b"v", 0, "1"), Merge("a", {"f": b"1"}, "2"), Write("b", b"v", 1, "3")])
        assert results == [WriteResult(True, 1), WriteResult(True, 2), WriteResult(False, 0)]
        assert await store.read("w/a") == Versioned(2, b"v", {"f": b"1"}, 3)
        assert await one.scan("") == [("a", Versioned(2, b"v", {"f": b"1"}, 3))]

    asyncio.run(main())


def test_an_owner_that_was_replaced_learns_of_it() -> None:
    """By its next write or claim; a newer one is let in."""

    async def main() -> None:
        store = MemoryStore()
        old, new = owned(store, 1), owned(store, 2)
        await old.write("a", b"v", if_version=0, op_id="1")
        assert isinstance(await new.claim("a"), Versioned)
        with pytest.raises(Replaced):
            await old.merge("a", {"f": b"1"}, op_id="2")
        with pytest.raises(Replaced):
            await old.claim("a")
        assert old.fenced == 2
        assert (await new.merge("a", {"f": b"1"}, op_id="2")).ok

    asyncio.run(main())
