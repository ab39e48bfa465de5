"""`history.jsonl`: every operation on the shared documents, as the orchestrator called it and as it was answered.

A call is written before the operation is sent and an answer after it came, each at once, so that an orchestrator that
is killed leaves a call without an answer: an operation that may have happened.
"""

from __future__ import annotations

from typing import Literal

import msgspec

FILE = "history.jsonl"


class Called(msgspec.Struct, tag_field="type", tag="called", frozen=True, gc=False):
    """An operation is sent now. A write's value is its `op_id`, so that a reader can tell whose it saw."""

    op: int  # unique within its process
    process: int  # pid of the orchestrator
    key: str
    kind: Literal["read", "set", "merge"]  # set: compare and set, of `if_version`
    at: float
    op_id: str = ""  # of a write
    if_version: int = 0


class Answered(msgspec.Struct, tag_field="type", tag="answered", frozen=True, gc=False):
    """Its answer. `version` is the one read or made; when a write was refused, the one that was found."""

    op: int
    process: int
    at: float
    ok: bool
    version: int
    value: str = ""  # of a read: the operation id that the document's value names
    fields: tuple[str, ...] = ()  # of a read: the names of its fields
