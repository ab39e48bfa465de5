"""The shared context of one workflow: a document in the state store, one field a step.

Nothing a step learns from another passes through this process's memory: it is written to the store and read back,
so a store that loses, mixes up or forgets shows in the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b

from harness.errors import HarnessError, TargetError
from harness.orchestrator.workflow import PlannedStep
from harness.store.store import Expired, StateStore, Versioned, WriteResult

FINISHED_KEPT_S = 1.0
"""A finished workflow's document expires after this, so that memory follows the load and not its history. One that
failed half-way expires this long after the workflow's deadline."""


class Context:
    """Reads and writes the document of the workflow `key`. Every failure is a `TargetError`."""

    __slots__ = ("_key", "_store")

    def __init__(self, store: StateStore, key: str) -> None:
        self._store = store
        self._key = key
