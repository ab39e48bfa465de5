"""Copies of documents as this process last saw them in its store, for the time that the store is away.

Kept from what passes by, without asking: so a copy may be stale, and is dropped as soon as it is known to be. Bounded
in number and bytes; the oldest copies go first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import msgspec

from harness.store.store import Expired, Operation, Versioned, Write, WriteResult

OP_IDS_SHADOWED = 32
"""Operation ids remembered a document. A write is sent again soon after its reply was lost, or not at all."""

_DOCUMENT_BYTES = 400  # what a copy costs beyond its contents; about
_FIELD_BYTES = 120


class Shadow(msgspec.Struct, eq=False):
    """One copy. `expires_at` is by this process's clock, and infinite unless this process gave the time to live."""

    version: int
    value: bytes
    fields: Mapping[str, bytes]
    fence: int
    expires_at: float = math.inf
    op_ids: dict[str, int] = {}  # operation id -> the version it made, oldest first
    size: int = 0  # bytes, about
    own: dict[str, bytes] | None = None  # `fields`, when nobody else holds them

    def document(self) -> Versioned:
        """As a reader gets it while the store is away. It may keep it: the fields are a copy."""
        return Versioned(self.version, self.value, dict(self.fields), self.fence, provisional=True)


class Shadows:
    """At most `documents_max` copies of about `bytes_max` bytes together.

    A key whose document is known to exist, while its contents are not (its copy was dropped), is `unclear`: at most
    `documents_max` such keys are remembered.
    """

    def __init__(self, *, documents_max: int, bytes_max: int) -> None:
        self._documents_max = documents_max
        self._bytes_max = bytes_max
        self._shadows: dict[str, Shadow] = {}  # the one whose version was noted first comes first
        self._unclear: dict[str, None] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._shadows)

    def get(self, key: str) -> Shadow | None:
        """The copy, if there is one."""
        return self._shadows.get(key)

    def unclear(self, key: str) -> bool:
        """Whether a document exists whose contents are not known."""
        return key in self._unclear

    def below(self, prefix: str) -> list[str]:
        """The keys of copies that begin with `prefix`."""
        return [key for key in self._shadows if key.startswith(prefix)]

    def newest_first(self) -> Iterator[str]:
        """All keys; nothing may be noted meanwhile."""
        return reversed(self._shadows)

    def saw(self, key: str, found: Versioned | Expired | None) -> None:
        """The store answered a read or a claim."""
        if not isinstance(found, Versioned):
            self._drop(key)
            self._unclear.pop(key, None)
            return
        shadow = self._shadows.get(key)
        if shadow is not None and shadow.version == found.version:
            shadow.fence = found.fence
            return
        self.put(key, Shadow(found.version, found.value, found.fields, found.fence))

    def wrote(
        self,
        key: str,
        content: bytes | Mapping[str, bytes],
        op_id: str,
        fence: int,
        expires_at: float | None,
        result: WriteResult,
    ) -> None:
        """The store answered a write of a value, or a merge of fields. `expires_at` is None when it gave no time."""
        version = result.version
        shadow = self._shadows.get(key)
        if not result.ok or result.replayed:
            if shadow is not None and shadow.version != version and not (result.replayed and shadow.version > version):
                self.doubt(key)
            return
        if version == 1:
            shadow = Shadow(0, b"", {}, 0)
            self.put(key, shadow)
        elif shadow is None or shadow.version != version - 1:
            self.doubt(key)
            return
        else:
            self._shadows[key] = self._shadows.pop(key)  # now the newest
        if isinstance(content, bytes):
            grown = len(content) - len(shadow.value)
            shadow.value = content
        else:
            grown = self._merge(shadow, content)
        shadow.version = version
        if fence > shadow.fence:
            shadow.fence = fence
        if expires_at is not None:
            shadow.expires_at = expires_at
        op_ids = shadow.op_ids
        op_ids[op_id] = version
        if len(op_ids) > OP_IDS_SHADOWED:
            del op_ids[next(iter(op_ids))]
        shadow.size += grown
        self._bytes += grown
        if self._bytes > self._bytes_max:
            self._shrink()

    def put(self, key: str, shadow: Shadow) -> None:
        """Have this copy, as the newest one."""
        self._drop(key)
        self._unclear.pop(key, None)
        if not shadow.size:
            shadow.size = _DOCUMENT_BYTES + len(key) + len(shadow.value)
            shadow.size += sum(_FIELD_BYTES + len(name) + len(value) for name, value in shadow.fields.items())
        self._shadows[key] = shadow
        self._bytes += shadow.size
        self._shrink()

    def doubt(self, key: str) -> None:
        """There is a document, and its contents are not known here."""
        self._drop(key)
        self._unclear[key] = None
        if len(self._unclear) > self._documents_max:
            del self._unclear[next(iter(self._unclear))]

    def _merge(self, shadow: Shadow, fields: Mapping[str, bytes]) -> int:
        """Set the fields in place, which a hot document of many fields needs; by how many bytes it grew."""
        own = shadow.own
        if own is None:
            shadow.fields = shadow.own = own = dict(shadow.fields)
        grown = 0
        for name, value in fields.items():
            before = own.get(name)
            grown += len(value) + (_FIELD_BYTES + len(name) if before is None else -len(before))
            own[name] = value
        return grown

    def _shrink(self) -> None:
        while self._shadows and (len(self._shadows) > self._documents_max or self._bytes > self._bytes_max):
            self.doubt(next(iter(self._shadows)))

    def _drop(self, key: str) -> None:
        shadow = self._shadows.pop(key, None)
        if shadow is not None:
            self._bytes -= shadow.size


def size_of(operation: Operation) -> int:
    """Bytes that an operation occupies while it is held, about."""
    content = (
        len(operation.value)
        if isinstance(operation, Write)
        else sum(_FIELD_BYTES + len(name) + len(value) for name, value in operation.fields.items())
    )
    return _DOCUMENT_BYTES + len(operation.key) + len(operation.op_id) + content
