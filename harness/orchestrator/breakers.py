"""All circuit breakers of one orchestrator: of its agent types, and of the servers it depends on; and their record."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from harness.observation.breakers import FILE, BreakerEvent
from harness.orchestrator.breaker import Change, WindowedBreaker
from harness.orchestrator.options import Options, Placement
from harness.scenario.scenario import Breaker as Rule

Of = Literal["agent", "dependency"]
Told = Callable[[Change], None]


class BreakerRecord:
    """Appends to `breakers.jsonl`, a system call a line: what was written survives the death of this process."""

    def __init__(self, place: Placement) -> None:
        path = Path(place.run_dir) / FILE
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._place = place
        self._process = os.getpid()

    def put(self, of: Of, name: str, permitted: int, change: Change) -> None:
        """One line."""
        place = self._place
        counts = {field: getattr(change, field) for field in change.__struct_fields__}
        counts["at"] -= place.t0
        event = BreakerEvent(level=place.level, process=self._process, of=of, name=name, permitted=permitted, **counts)
        os.write(self._descriptor, msgspec.json.encode(event) + b"\n")

    def close(self) -> None:
        """Nothing more is written."""
        os.close(self._descriptor)


class Breakers:
    """The declared breakers: those of `agents`, by agent type, and of `dependencies`, by server.

    Made before what they stand in front of. Where the options say no place in a run, nothing is recorded.
    """

    def __init__(self, options: Options, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._record: BreakerRecord | None = None
        self._place = options.placement
        self._all: list[tuple[Of, str, int, WindowedBreaker]] = []
        declared = {agent: options.declared(agent).breaker for agent in sorted(options.agents)}
        self.agents = self._made("agent", {agent: rule for agent, rule in declared.items() if rule is not None})
        self.dependencies = self._made("dependency", options.orchestrator.breaker)

    def __enter__(self) -> None:
        """Put on record which breakers there are, and from now on every change."""
        if self._place is not None and self._all:
            self._record = BreakerRecord(self._place)
            for of, name, permitted, breaker in self._all:
                self._record.put(of, name, permitted, breaker.seen("begins"))

    def __exit__(self, *_: object) -> None:
        """Close the record, with how each breaker stands. Changes after this are not recorded."""
        record, self._record = self._record, None
        if record is not None:
            for of, name, permitted, breaker in self._all:
                record.put(of, name, permitted, breaker.seen("ends"))
            record.close()

    def _made(self, of: Of, rules: Mapping[str, Rule]) -> dict[str, WindowedBreaker]:
        made = {}
        for name, rule in rules.items():
            breaker = WindowedBreaker(rule, clock=self._clock, on_change=self._told(of, name, rule.half_open))
            self._all.append((of, name, rule.half_open, breaker))
            made[name] = breaker
        return made

    def _told(self, of: Of, name: str, permitted: int) -> Told:
        def told(change: Change) -> None:
            if self._record is not None:
                self._record.put(of, name, permitted, change)

        return told
