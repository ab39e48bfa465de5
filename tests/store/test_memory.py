"""The memory store's own promises: it is bounded, and it is named in STORES."""

from __future__ import annotations

import asyncio
from importlib import import_module

from harness.store import STORES
from harness.store.memory import TOMBSTONES_KEPT, MemoryStore
from harness.store.store import OP_IDS_KEPT, Expired


class Hands:
    """A clock set by hand."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_expired_documents_are_found_without_being_touched() -> None:
    """Writes of others purge them, so that at most about twice the living are kept."""

    async def main() -> None:
        clock = Hands()
        store = MemoryStore(clock=clock)
        most = 0
        for number in range(20_000):
            clock.now_s += 0.001
            await store.merge(f"k{number}", {}, op_id="a", ttl_s=1.0)
            most = max(most, len(store))
        assert most <= 2 * 1000 + 2
        assert isinstance(await store.read("k10000"), Expired)
        assert isinstance(await store.read("k0"), Expired | None)

    asyncio.run(main())


def test_tombstones_are_bounded_and_the_oldest_goes_first() -> None:
    """What is forgotten reads as never having been."""

    async def main() -> None:
        clock = Hands()
        store = MemoryStore(clock=clock)
        total = TOMBSTONES_KEPT + 5_000
        for number in range(total):
            await store.merge(f"k{number}", {}, op_id="a", ttl_s=1.0)
            clock.now_s += 10.0
        assert await store.read("k0") is None
        assert await store.read(f"k{total - TOMBSTONES_KEPT}") == Expired(1)

    asyncio.run(main())


def test_the_oldest_operation_id_is_forgotten() -> None:
    """A document keeps OP_IDS_KEPT of them, not one more."""

    async def main() -> None:
        store = MemoryStore(clock=Hands())
        for number in range(OP_IDS_KEPT + 1):
            await store.merge("k", {}, op_id=str(number))
        assert (await store.merge("k", {}, op_id="1")).replayed
        assert not (await store.merge("k", {}, op_id="0")).replayed

    asyncio.run(main())


def test_every_named_store_can_be_built() -> None:
    """The registry's strings resolve."""
    for path in STORES.values():
        module, attribute = path.split(":")
        assert callable(getattr(import_module(module), attribute))
