"""The frames between a load process and a target host: newline-delimited JSON, one object a line.

    client                          host
    submit{id,kind,seed,…}   ──▶
                             ◀──    accepted{id,at}   or   rejected{id,retry_after_s,queue_depth,reason}
                             ◀──    ended{id,outcome,stamps,digest,steps}
    stats{}                  ──▶
                             ◀──    stats{use}

Submitting a known id attaches to that workflow (its `accepted`, and `ended` when it ends, are sent again), so a
client that lost its connection never runs work twice. Times are seconds from the run's t0, which the host is told.
"""

from __future__ import annotations

from typing import Any

import msgspec

from harness.observation.observation import HostUse, Outcome

LINE_BYTES_MAX = 4 * 1024 * 1024
BACKLOG = 4096


class Submit(msgspec.Struct, tag_field="type", tag="submit", frozen=True, omit_defaults=True, gc=False):
    """Run this workflow. `input` is the scenario's own and rides along only where a target reads one."""

    id: str
    kind: str
    seed: int
    deadline_s: float
    input: Any = None


class StatsRequest(msgspec.Struct, tag_field="type", tag="stats", frozen=True, gc=False):
    """Ask for the host's view of itself."""


class Accepted(msgspec.Struct, tag_field="type", tag="accepted", frozen=True, gc=False):
    """The host promises to end this workflow exactly once."""

    id: str
    at: float


class RejectedFrame(msgspec.Struct, tag_field="type", tag="rejected", frozen=True, gc=False):
    """Definitely not started."""

    id: str
    retry_after_s: float
    queue_depth: int
    reason: str = ""


class Ended(msgspec.Struct, tag_field="type", tag="ended", frozen=True, omit_defaults=True, gc=False):
    """How a workflow ended. `steps` is the JSON of a list of StepRecord, passed on to the journal unread."""

    id: str
    outcome: Outcome
    accepted: float
    started: float | None
    ended: float
    digest: str = ""
    error_class: str = ""
    message: str = ""
    attempts: int = 1
    degraded: tuple[str, ...] = ()
    tokens: int = 0
    cost_usd: float = 0.0
    steps: msgspec.Raw = msgspec.Raw(b"[]")


class Stats(msgspec.Struct, tag_field="type", tag="stats", frozen=True, gc=False):
    """The answer to a StatsRequest."""

    use: HostUse


class Refused(msgspec.Struct, tag_field="type", tag="refused", frozen=True, gc=False):
    """The host could not read a line; the connection closes after it."""

    message: str


ClientFrame = Submit | StatsRequest
HostFrame = Accepted | RejectedFrame | Ended | Stats | Refused
