"""Recorded answers: a file of JSON lines, one for each call, with every chunk and when it came. No secret is in it.

The first line says what the file is. A call's times run from when its request went to the provider, so what it waited
for our own cap on concurrency is not in them. Of the request there is its digest, by which a replay knows it again,
and its body without secrets, for people; of its headers nothing. Secrets are removed from the answer's bytes joined,
so one that lies across two chunks is found, too. One that the model spelled over several events of a stream could
only be removed by writing the events anew: such an answer is left out, and its line says so (`omitted`).
"""

from __future__ import annotations

import base64
import os
from collections.abc import Collection
from pathlib import Path

import msgspec

from harness.errors import UsageError
from harness.llm.live.answers import AnswerReader
from harness.llm.live.redaction import Redaction
from harness.llm.wire import Headers
from harness.scenario.models import Api

FORMAT = "harness-llm-recording"
VERSION = 1

_KEPT = {
    "retry-after", "retry-after-ms", "x-should-retry", "x-request-id", "request-id", "openai-processing-ms",
    "openai-version",
}  # fmt: skip
_KEPT_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-")
_encode = msgspec.json.Encoder().encode


class Begun(msgspec.Struct, tag_field="type", tag="recording", frozen=True):
    """The first line."""

    format: str = FORMAT
    version: int = VERSION


class Recorded(msgspec.Struct, tag_field="type", tag="call", frozen=True, kw_only=True, omit_defaults=True):
    """One call. A chunk is when it came, s from the request's going out, and its text, or its bytes as base64."""

    path: str
    digest: str  # Asked.digest
    api: Api
    model: str
    body: msgspec.Raw = msgspec.Raw(b"null")
    status: int = 200  # 0: the connection was reset before any
    stream: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    chunks: tuple[tuple[float, str | tuple[str]], ...] = ()
    reset_s: float | None = None  # the connection was reset then
    omitted: bool = False  # the answer held a secret that could not be removed from it

    def payloads(self) -> list[tuple[float, bytes]]:
        """The chunks as bytes. Raises ValueError."""
        return [
            (at, chunk.encode() if isinstance(chunk, str) else base64.b64decode(chunk[0], validate=True))
            for at, chunk in self.chunks
        ]


Line = Begun | Recorded
_decode = msgspec.json.Decoder(Line).decode


class Recorder:
    """Appends calls to a file; one that is a recording already is gone on with, behind its last whole line.

    A line is written as soon as its call has ended. Raises UsageError when the file is something else or cannot be
    written to, OSError when a line cannot be written.
    """

    def __init__(self, path: Path, secrets: Collection[str]) -> None:
        self._redaction = Redaction(secrets)
        try:
            # Prompts and answers are for the owner's eyes.
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            torn = _torn_from(path)
            if torn is not None:
                os.ftruncate(self._fd, torn)
            if os.fstat(self._fd).st_size == 0:
                self._write(_encode(Begun()))
        except OSError as error:
            raise UsageError(f"{path}: cannot be recorded to: {error.strerror}") from None

    def add(self, call: Recorded, body: bytes, headers: Headers, chunks: list[tuple[float, bytes]]) -> None:
        """Write one call down, without secrets."""
        kept = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers]
        # latin-1 gives every byte a character, so that bytes that are no text are searched, and cut, as well.
        joined = self._redaction.pieces([chunk.decode("latin-1") for _, chunk in chunks])
        clean = [(at, text.encode("latin-1")) for (at, _), text in zip(chunks, joined, strict=True)]
        omitted = self._holds_secret(call, clean)
        record = msgspec.structs.replace(
            call,
            body=msgspec.Raw(_encode(self._redaction.json(_json_of(body)))),
            headers=tuple((name, self._redaction.text(value)) for name, value in kept if _is_kept(name)),
            chunks=() if omitted else tuple((round(at, 6), _written(chunk)) for at, chunk in clean),
            omitted=omitted,
        )
        self._write(_encode(record))

    def close(self) -> None:
        """All calls are in the file."""
        os.close(self._fd)

    def _holds_secret(self, call: Recorded, chunks: list[tuple[float, bytes]]) -> bool:
        reader = AnswerReader(call.api, stream=call.stream)
        for _, chunk in chunks:
            reader.feed(chunk)
        reader.end()
        return bool(self._redaction.spans(reader.text))

    def _write(self, line: bytes) -> None:
        rest = memoryview(line + b"\n")
        while rest:
            rest = rest[os.write(self._fd, rest) :]


def read_recording(path: Path) -> list[Recorded]:
    """All calls of a recording, in its order. A torn last line is passed over.

    Raises UsageError when it cannot be read, is no recording, holds nothing, or a line is damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    *lines, _ = content.split(b"\n")
    if not lines or not _is_begun(lines[0]):
        raise UsageError(
            f"{path}: is not a recording of calls to models (one is made with --llm live --llm-record FILE)"
        )
    calls = []
    for number, line in enumerate(lines[1:], 2):
        try:
            call = _decode(line)
            if isinstance(call, Recorded):
                call.payloads()
                calls.append(call)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}:{number}: is damaged: {error}; take the line out, or record again") from None
    if not calls:
        raise UsageError(f"{path}: holds no call yet")
    return calls


def _is_begun(line: bytes) -> bool:
    try:
        return bool(_decode(line) == Begun())
    except ValueError:
        return False


def _torn_from(path: Path) -> int | None:
    """Where a torn last line begins; None when there is none. Raises UsageError for a file that is something else."""
    content = path.read_bytes()
    if content and not _is_begun(content.split(b"\n", 1)[0]) and not _encode(Begun()).startswith(content):
        raise UsageError(f"{path}: is there already, and is not a recording of calls to models: name another file")
    whole = content.rfind(b"\n") + 1
    return whole if whole < len(content) else None


def _is_kept(name: str) -> bool:
    return name in _KEPT or name.startswith(_KEPT_PREFIXES)


def _json_of(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None


def _written(chunk: bytes) -> str | tuple[str]:
    try:
        return chunk.decode()
    except UnicodeDecodeError:  # a character cut in two
        return (base64.b64encode(chunk).decode(),)
