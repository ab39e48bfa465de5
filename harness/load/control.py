"""What the CLI and a load process say to each other: JSON lines on the load process's standard input and output.

The first line in is a `LoadConfig`. After it, `Stop` ends the level early: no new starts, what is in flight is
censored. End of file on standard input means that the CLI died: the same, at once. Everything the process reports is
one of `LoadReport`; `Done` is the last line of a level whose every observation is on disk.
"""

from __future__ import annotations

import msgspec


class Crew(msgspec.Struct, frozen=True, kw_only=True):
    """Several load processes that drive a level together: so many of ours, so many that others start."""

    here: int
    joining: int = 0
    host: str = "127.0.0.1"  # where the master listens, and the target for those that join
    port: int = 0  # 0: any that is free

    @property
    def size(self) -> int:
        """All of them."""
        return self.here + self.joining


class LoadConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One level to drive. The scenario is read from `run_dir/scenario.json`."""

    run_dir: str
    level: str
    t0: float  # the run's zero on the monotonic clock
    sockets: tuple[str, ...] = ()  # of the target's instances; none for a black-box target
    balance: str = "round_robin"  # over them: or least_loaded
    scenario_dir: str = "."  # where a scenario's Python rules are imported from
    crew: Crew | None = None  # None: this process drives the level alone
    ports: tuple[int, ...] = ()  # of the instances, at the crew's host, for those that cannot reach the sockets


class Join(msgspec.Struct, frozen=True, kw_only=True):
    """The first line to a load process that joins a crew: where its master is."""

    host: str
    port: int
    ours: bool = False  # started by the run itself, on the master's machine
    folder: str = "."  # from which a scenario's Python rules are imported, unless `ours`


EXIT_UNREACHED = 5
"""Of such a process: no master answered for some minutes."""


class Stop(msgspec.Struct, tag_field="type", tag="stop", frozen=True):
    """End this level now."""


class PhaseChanged(msgspec.Struct, tag_field="type", tag="phase", frozen=True):
    """A phase began; `ends_at` is when it will end at the latest (s from t0)."""

    phase: str
    at: float
    ends_at: float


class Listening(msgspec.Struct, tag_field="type", tag="listening", frozen=True):
    """The master of a crew waits for its workers."""

    host: str
    port: int


class Waiting(msgspec.Struct, tag_field="type", tag="waiting", frozen=True):
    """Some workers are not there yet; where they are to join."""

    joined: int
    awaited: int
    host: str
    port: int


class Progress(msgspec.Struct, tag_field="type", tag="progress", frozen=True, kw_only=True):
    """Twice a second, for the person watching. Counts are of the measure phase (of warm-up until it begins)."""

    at: float
    phase: str
    users: int
    in_flight: int
    ok: int
    failed: int  # failed + unknown
    not_started: int
    unknown: int = 0  # of `failed`
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None


class Done(msgspec.Struct, tag_field="type", tag="done", frozen=True):
    """Everything of the level is on disk. `ended_early` names why, if it was."""

    arrivals: int
    censored: int
    ended_early: str = ""


class LoadFailed(msgspec.Struct, tag_field="type", tag="failed", frozen=True):
    """The load process itself cannot go on (a full disk, a broken rule file)."""

    message: str


LoadReport = PhaseChanged | Listening | Waiting | Progress | Done | LoadFailed
