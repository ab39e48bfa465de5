"""When faults were in place: from the turns of `faults.jsonl` to a span of each, and to episodes of several at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from harness.observation.faults import FaultEvent, Turn

BITE_KNOWN_TO_S = 0.25
"""Whoever watches a fault looks 20 times a second whether it bit (run/faulting.py), and looking takes time, too: it
did so at most that much before its line says."""


class FaultSpan(NamedTuple):
    """One fault; moments in s from t0. `bit` None: it met nothing. `lifted` None: it never was, as far as is known."""

    fault: int
    kind: str
    began: float  # was about to: from here on it may be felt
    bit: float | None  # was seen to have bitten
    bit_since: float | None  # and may have, from here on
    lifted: float | None
    bites: int
    failed: str  # why it could not be begun, or not be lifted


class Episode(NamedTuple):
    """Faults of which each was in place, at least for a moment, together with another: they are felt as one.

    `began` is the first's, `bit` the first bite of any, `lifted` the last's: nothing recovers from one fault while
    another is in place.
    """

    faults: tuple[FaultSpan, ...]
    began: float
    bit: float | None
    bit_since: float | None
    lifted: float | None


def fault_spans(events: Sequence[FaultEvent]) -> tuple[FaultSpan, ...]:
    """The faults of one level that may have acted, by when they did.

    Breaking may take a while, and may fail half-way: what it did from `begins` on may be felt. A bite that is seen as
    soon as all is broken may have been at any moment since.
    """
    turns: defaultdict[int, dict[Turn, FaultEvent]] = defaultdict(dict)
    for event in events:
        turns[event.fault].setdefault(event.turn, event)
    spans = [_span(fault, taken) for fault, taken in turns.items() if "begins" in taken or "began" in taken]
    return tuple(sorted(spans, key=lambda span: (span.began, span.fault)))


def _span(fault: int, taken: dict[Turn, FaultEvent]) -> FaultSpan:
    first = taken.get("begins") or taken["began"]
    began, bit, lifted = taken.get("began", first), taken.get("bit"), taken.get("lifted")
    since = None
    if bit is not None:
        at_once = bit.at - began.at <= BITE_KNOWN_TO_S
        since = first.at if at_once else bit.at - BITE_KNOWN_TO_S
    return FaultSpan(
        fault=fault,
        kind=first.kind,
        began=first.at,
        bit=bit.at if bit else None,
        bit_since=since,
        lifted=lifted.at if lifted else None,
        bites=max(event.bites for event in taken.values()),
        failed=taken["failed"].detail if "failed" in taken else "",
    )


def episodes(spans: Sequence[FaultSpan]) -> tuple[Episode, ...]:
    """The spans put together where they overlap, in the order of time. One that was never lifted has no end."""
    groups: list[list[FaultSpan]] = []
    for span in sorted(spans, key=lambda span: (span.began, span.fault)):
        if groups and any(other.lifted is None or span.began < other.lifted for other in groups[-1]):
            groups[-1].append(span)
        else:
            groups.append([span])
    return tuple(_episode(tuple(group)) for group in groups)


def _episode(faults: tuple[FaultSpan, ...]) -> Episode:
    lifts = [span.lifted for span in faults if span.lifted is not None]
    return Episode(
        faults=faults,
        began=faults[0].began,
        bit=min((span.bit for span in faults if span.bit is not None), default=None),
        bit_since=min((span.bit_since for span in faults if span.bit_since is not None), default=None),
        lifted=max(lifts) if len(lifts) == len(faults) else None,
    )
