"""One worker of a crew, as its master knows it."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.load.arrivals import Part
from harness.load.crew.clocks import Offset
from harness.load.crew.words import Finished, Hello


@dataclass(slots=True, eq=False)
class Member:
    """A worker: who it is, how its clock goes, what it has told. Times are seconds from the run's t0."""

    node: str  # Locust's name of it
    hello: Hello
    number: int  # in the order they joined, from 0
    size: int  # of the crew
    asked: dict[int, float] = field(default_factory=dict)  # ping -> when it was sent, on our monotonic clock
    answers: list[tuple[float, float, float]] = field(default_factory=list)  # sent, theirs, received
    offset: Offset | None = None
    prepared: bool = False
    shipments: int = 0  # the last that was taken
    until: float = 0.0  # whatever was begun before, we know of
    ended: int = 0  # observations that came
    users: int = 0
    in_flight: int = 0
    finished: Finished | None = None
    lost: str = ""  # why, if it is
    lost_at: float = 0.0  # since when

    @property
    def part(self) -> Part:
        """What of the level it drives."""
        return Part(self.number, self.size)

    @property
    def name(self) -> str:
        """For people: a name that no other worker of the crew has."""
        return f"{self.number + 1} ({self.hello.host}, pid {self.hello.pid})"
