"""What the views of a running run show: the shapes in which its state is kept, and handed to the page as JSON."""

from __future__ import annotations

import msgspec


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """The newest of everything. Counts and percentiles are of the measure phase, of warm-up until it begins."""

    scenario: str = ""
    seed: int = 0
    execution: int = 0  # 1 is the run itself; its control arm, references and a duet's arms follow
    level: str = ""
    number: int = 0  # of the level, from 1
    count: int = 0  # of levels
    phase: str = ""
    left_s: float | None = None  # of the phase, at most
    users: int = 0
    in_flight: int = 0
    ok: int = 0
    failed: int = 0  # failed + unknown
    unknown: int = 0
    not_started: int = 0
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    cpu: float | None = None  # of the target's process tree: share of one core since the report before
    cpu_s: float | None = None  # the same, seconds since the level began
    rss_bytes: int | None = None
    faults: tuple[str, ...] = ()  # kinds of those that act
    waiting: str = ""  # for whom, while load processes have not joined yet
    note: str = ""  # what the run said last of what comes next
    verdict: str = ""  # once it is judged
    sentence: str = ""  # why
    report: str = ""  # where it is
    over: bool = False  # nothing will follow


class Point(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One place of the lines over time."""

    number: int  # counts from 1 and is never given twice
    at_s: float  # since the watching began
    in_flight: int
    ok_rate: float | None  # ends a second since the point before; None for the first of a phase
    failed_rate: float | None
    p50_s: float | None
    p95_s: float | None
    cpu: float | None
    rss_bytes: int | None


class Mark(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A level began."""

    at_s: float
    label: str


class Span(msgspec.Struct, array_like=True, gc=False):
    """A fault acted; `to_s` is None while it does."""

    kind: str
    from_s: float
    to_s: float | None = None


class Ended(msgspec.Struct, frozen=True):
    """A level that is over, and what it came to."""

    level: str
    status: str
    last: Now


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """What a page is sent: the newest state, and the points it has not seen, all of them with `whole`."""

    whole: bool
    now: Now
    points: list[Point]
    marks: list[Mark]
    spans: list[Span]
    ended: list[Ended]


class Counted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the metrics say of one phase of one level, also when it is over: a scrape may come late."""

    scenario: str
    execution: int
    level: str
    phase: str  # warmup | measure
    ok: int
    failed: int  # definitely
    unknown: int
    not_started: int
    cpu_s: float | None
