"""`breakers.jsonl` of a run: what its circuit breakers went through."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from harness.observation.breakers import BreakerEvent
from harness.observation.journal import Damage, read_lines
from harness.statistics.metrics import Metric


class BreakerUse(msgspec.Struct, frozen=True, kw_only=True):
    """One breaker of a level, over all of its orchestrator's processes."""

    of: str  # agent | dependency
    name: str
    opened: int
    closed: int = 0  # after probes: what it stands before was well again
    open_s: float  # as far as it is known: a process that was killed did not say how long its last state lasted
    refused: int
    probes: int  # calls admitted while half-open
    over: int  # of those, more than were permitted and not given back: never any


def read_breakers(path: Path, damage: Damage) -> dict[str, list[BreakerEvent]]:
    """The lines by level, in file order. A run without the file has none."""
    found: defaultdict[str, list[BreakerEvent]] = defaultdict(list)
    if path.exists():
        for event in read_lines(path, msgspec.json.Decoder(BreakerEvent), damage):
            found[event.level].append(event)
    return found


def breaker_uses(events: Sequence[BreakerEvent]) -> tuple[BreakerUse, ...]:
    """What each went through, agents first, by name."""
    by_breaker: defaultdict[tuple[str, str], list[BreakerEvent]] = defaultdict(list)
    for event in events:
        by_breaker[event.of, event.name].append(event)
    return tuple(_use(of, name, found) for (of, name), found in sorted(by_breaker.items()))


def breaker_metrics(uses: Sequence[BreakerUse]) -> dict[str, Metric]:
    """Over all breakers of a level; nothing where there are none."""
    if not uses:
        return {}
    totals = {
        "breaker_opened": sum(use.opened for use in uses),
        "breaker_closed": sum(use.closed for use in uses),
        "breaker_refused": sum(use.refused for use in uses),
        "breaker_probes": sum(use.probes for use in uses),
        "breaker_over": sum(use.over for use in uses),
    }
    return {name: Metric(value=total, n=len(uses)) for name, total in totals.items()}


def openings(events: Sequence[BreakerEvent]) -> Iterator[tuple[float, str]]:
    """When breakers opened (s from t0), and which: something noticed that something is wrong."""
    for event in events:
        if event.after == "open" and event.before != "open":
            yield event.at, f"the breaker of {event.of} {event.name} opened"


def _use(of: str, name: str, events: Sequence[BreakerEvent]) -> BreakerUse:
    probing = [event for event in events if event.before == "half_open"]
    return BreakerUse(
        of=of,
        name=name,
        opened=sum(event.after == "open" and event.before != "open" for event in events),
        closed=sum(event.after == "closed" for event in probing),
        open_s=sum(event.lasted_s for event in events if event.before == "open"),
        refused=sum(event.refused for event in events),
        probes=sum(event.probes for event in probing),
        over=sum(max(0, event.probes - event.returned - event.permitted) for event in probing),
    )
