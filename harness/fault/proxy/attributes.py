"""The `attributes` of every type of toxic: names, units and defaults are Toxiproxy's where it has the type."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from harness.errors import unknown_name
from harness.fault.proxy.refusal import BAD_BODY, INVALID_TOXIC, Refusal

Count = Annotated[int, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Per = Literal["connection", "request"]


class Attributes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every toxic takes beside its own; none of it is Toxiproxy's, so it is told only where it was set."""

    per: Per = "connection"  # what `toxicity` is the probability of, and what is counted
    fail_first: Count = 0  # fires so often, then no more; 0: without end
    skip_first: Count = 0  # connections or requests that it lets pass before


class Latency(Attributes, frozen=True, kw_only=True):
    """Bytes are late, and stay in order."""

    latency: Count = 0  # ms
    jitter: Count = 0  # ms more or less, evenly


class Bandwidth(Attributes, frozen=True, kw_only=True):
    """So many bytes a second pass, and no more."""

    rate: Count = 0  # KB/s, of 1000 bytes; 0: without limit


class SlowClose(Attributes, frozen=True, kw_only=True):
    """The end of the stream is late."""

    delay: Count = 0  # ms


class Timeout(Attributes, frozen=True, kw_only=True):
    """Nothing passes, and the connection is closed after a while, or when the toxic is removed."""

    timeout: Count = 0  # ms; 0: never


class ResetPeer(Attributes, frozen=True, kw_only=True):
    """The first bytes are swallowed, and the connection is reset (RST)."""

    timeout: Count = 0  # ms after those


class Slicer(Attributes, frozen=True, kw_only=True):
    """Bytes come in small pieces, each written by itself."""

    average_size: Count = 0  # bytes of a piece; 0: as they come
    size_variation: Count = 0  # bytes more or less, evenly
    delay: Count = 0  # microseconds between two


class LimitData(Attributes, frozen=True, kw_only=True):
    """The connection is closed, as if all were well, when so many bytes went through."""

    bytes: Count = 0


class PacketLoss(Attributes, frozen=True, kw_only=True):
    """Packets are lost and sent again by TCP: what is behind them waits. No byte is lost."""

    loss: Share = 0.0  # of packets of 1448 bytes
    rto: Count = 200  # ms until a lost one is sent again; twice that for each further time (RFC 6298, 5.5)


class BlackHole(Attributes, frozen=True, kw_only=True):
    """Bytes vanish, the end of the stream as well; the connection stays open until the toxic is removed.

    A connection that lost something is reset then: TCP never hands on a stream with a hole in it.
    """


class ResetAfter(Attributes, frozen=True, kw_only=True):
    """The connection is reset (RST) when so many bytes went through."""

    bytes: Count = 0


class RedisRule(Attributes, frozen=True, kw_only=True):
    """Which commands are meant: those whose name and whose first key match."""

    per: Per = "request"
    command: str = "*"  # globs, any of them: "SET|HSET|EVAL*"; upper and lower case alike
    key: str = "*"  # a glob; of EVAL and FCALL the first key


class RedisError(RedisRule, frozen=True, kw_only=True):
    """A matching command is not forwarded; it is answered with an error."""

    error: str = "LOADING"  # one of REDIS_ERRORS, or a whole message: "ERR something else"


class RedisDropReply(RedisRule, frozen=True, kw_only=True):
    """A matching command is forwarded and carried out; its reply is dropped, and the connection cut."""

    nth: Count = 1  # which match; 0: every


class PgCutCommit(Attributes, frozen=True, kw_only=True):
    """A COMMIT is forwarded and carried out; the connection is cut before the client hears of it.

    So is, with `implicit`, every statement outside of a transaction, which commits by itself.
    """

    per: Per = "request"
    implicit: bool = False
    nth: Count = 1  # which one; 0: every


REDIS_ERRORS = {
    "LOADING": "LOADING Redis is loading the dataset in memory",
    "READONLY": "READONLY You can't write against a read only replica.",
    "OOM": "OOM command not allowed when used memory > 'maxmemory'.",
    "BUSY": "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "MASTERDOWN": "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "NOREPLICAS": "NOREPLICAS Not enough good replicas to write.",
    "NOSCRIPT": "NOSCRIPT No matching script. Please use EVAL.",
    "CLUSTERDOWN": "CLUSTERDOWN The cluster is down",
    "TRYAGAIN": "TRYAGAIN Multiple keys request during rehashing of slot",
}
"""Code -> the message that a server says."""

TYPES: dict[str, type[Attributes]] = {
    "latency": Latency,
    "bandwidth": Bandwidth,
    "slow_close": SlowClose,
    "timeout": Timeout,
    "reset_peer": ResetPeer,
    "slicer": Slicer,
    "limit_data": LimitData,
    "packet_loss": PacketLoss,
    "black_hole": BlackHole,
    "reset_after": ResetAfter,
    "redis_error": RedisError,
    "redis_drop_reply": RedisDropReply,
    "pg_cut_commit": PgCutCommit,
}
NEEDS_PROTOCOL = {"redis_error": "redis", "redis_drop_reply": "redis", "pg_cut_commit": "postgres"}


def read_attributes(type_: str, given: dict[str, Any], before: Attributes | None = None) -> Attributes:
    """Those of a toxic; what is not given is as `before`, or as its default. Raises Refusal."""
    if type_ not in TYPES:
        raise Refusal(INVALID_TOXIC, unknown_name("the type", type_, TYPES))
    known = msgspec.structs.fields(TYPES[type_])
    if strange := [name for name in given if name not in {field.name for field in known}]:
        names = (field.name for field in known)
        raise Refusal(BAD_BODY, unknown_name(f"the attribute of {type_},", strange[0], names))
    try:
        read = msgspec.convert((msgspec.to_builtins(before) if before else {}) | given, TYPES[type_])
    except msgspec.ValidationError as error:
        raise Refusal(BAD_BODY, f"attributes of {type_}: {error}") from None
    if isinstance(read, RedisError):
        _check_error(read.error)
    return read


def told(attributes: Attributes) -> dict[str, Any]:
    """As the API answers."""
    found: dict[str, Any] = msgspec.to_builtins(attributes)
    defaults = {field.name: field.default for field in msgspec.structs.fields(type(attributes))}
    ours = {field.name for field in msgspec.structs.fields(Attributes)}
    return {name: value for name, value in found.items() if name not in ours or value != defaults[name]}


def error_line(error: str) -> bytes:
    """As Redis says it."""
    return f"-{REDIS_ERRORS.get(error, error)}\r\n".encode()


def _check_error(error: str) -> None:
    if error not in REDIS_ERRORS and not (" " in error and error.isprintable()):
        text = f"error is {unknown_name('the code', error, REDIS_ERRORS)}, or a message of several words in one line"
        raise Refusal(BAD_BODY, text)
