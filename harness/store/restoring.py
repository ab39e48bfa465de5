"""The optional power of a store to be brought up to what another one says."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from harness.store.store import StateStore, Versioned


@runtime_checkable
class Restoring(StateStore, Protocol):
    """A store that can be given documents as they are, versions and all."""

    async def restore(self, key: str, document: Versioned) -> bool:
        """Make the document exactly this, unless the one here has a higher version; whether it was done."""
