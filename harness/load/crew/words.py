"""What the master of a crew and its workers say to each other, as one message of Locust's own connection.

A worker says Hello, answers Ping with Pong, prepares, and goes at the instant that it is told. What it observes it
ships in numbered pieces and keeps each until the master, who has written it to disk, acknowledges it. Only when
nothing is left unacknowledged has it finished.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from harness.load.arrivals import Part
from harness.load.control import LoadConfig

MESSAGE = "harness"
"""The type of Locust message that carries these."""
BODY = "body"


class Hello(msgspec.Struct, tag="hello", frozen=True):
    """A worker is there. `ours`: the run started it, on the master's machine."""

    host: str
    pid: int
    ours: bool
    versions: dict[str, str]  # what must be the same on both sides


class Pong(msgspec.Struct, tag="pong", frozen=True):
    """The worker's monotonic clock when that ping came."""

    number: int
    at: float


class Prepared(msgspec.Struct, tag="prepared", frozen=True):
    """Ready to go."""


class Shipment(msgspec.Struct, tag="shipment", frozen=True):
    """Lines of the journal. Whatever was begun before `until` (s from the run's t0) is in this one or before it."""

    number: int
    until: float
    lines: bytes


class Finished(msgspec.Struct, tag="finished", frozen=True):
    """The part is done, and every observation of it acknowledged."""

    arrivals: int
    censored: int
    ended_early: str


class Broken(msgspec.Struct, tag="broken", frozen=True):
    """The worker cannot go on."""

    message: str


class Ping(msgspec.Struct, tag="ping", frozen=True):
    """What time is it?"""

    number: int


class Prepare(msgspec.Struct, tag="prepare", frozen=True, kw_only=True):
    """A part of a level to drive. `config.t0` is on the worker's own clock."""

    name: str
    config: LoadConfig
    scenario: bytes  # JSON
    part: Part


class Go(msgspec.Struct, tag="go", frozen=True):
    """The level starts then (s from t0)."""

    starts: float


class Ack(msgspec.Struct, tag="ack", frozen=True):
    """That shipment is on disk."""

    number: int


class EndMeasure(msgspec.Struct, tag="end_measure", frozen=True):
    """Enough was measured."""


class Halt(msgspec.Struct, tag="halt", frozen=True):
    """End the level now."""

    because: str


FromWorker = Hello | Pong | Prepared | Shipment | Finished | Broken
ToWorker = Ping | Prepare | Go | Ack | EndMeasure | Halt
Word = TypeVar("Word")

_encode = msgspec.msgpack.Encoder().encode


def packed(word: FromWorker | ToWorker) -> dict[str, Any]:
    """As the data of a Locust message."""
    return {BODY: _encode(word)}


def unpacked(data: dict[str, Any], words: type[Word]) -> Word:
    """What such a message says. Raises msgspec.DecodeError for anything else."""
    body = data.get(BODY) if isinstance(data, dict) else None
    if not isinstance(body, bytes):
        raise msgspec.DecodeError(f"a message without {BODY!r}")
    return msgspec.msgpack.decode(body, type=words)
