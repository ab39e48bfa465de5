"""One toxic of one proxy: when it fires, by keyed chance and by count, and how often it did."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Literal

from harness.fault.proxy.attributes import Attributes, read_attributes, told

Stream = Literal["upstream", "downstream"]
BITS = 53
"""Of a draw: as many as a float holds exactly."""

Note = Callable[["Toxic", int, int, str], None]
"""Write down a firing before it has an effect: the toxic, ordinals of connection and request, what."""


def drawn(seed: int, *key: object) -> float:
    """A number of [0, 1) for this key, by a hash: in whatever order draws are made, each is the same."""
    words = "|".join(map(str, (seed, *key)))
    return (int.from_bytes(blake2b(words.encode(), digest_size=8).digest()) >> (64 - BITS)) / float(2**BITS)


class Toxic:
    """What was asked for, and what came of it."""

    def __init__(
        self,
        name: str,
        type_: str,
        stream: Stream,
        toxicity: float,
        attributes: Attributes,
        *,
        seed: int,
        proxy: str,
        note: Note,
    ) -> None:
        self.name = name
        self.type = type_
        self.stream: Stream = stream
        self.toxicity = toxicity
        self.attributes: Any = attributes  # of the struct that its type has
        self.lease_s = 0.0  # it lifts by itself after so long; 0: never
        self.fired = 0
        self._seen = 0
        self._seed = seed
        self._proxy = proxy
        self._note = note

    def draw(self, connection: int, request: int, *purpose: object) -> float:
        """A number of [0, 1) that is the same in every run in which these ordinals are."""
        return drawn(self._seed, self._proxy, connection, request, self.name, *purpose)

    def fires(self, connection: int, request: int, what: str = "") -> bool:
        """Whether it acts on this connection, or on this request of it; asked once of each. Written down if so."""
        self._seen += 1
        if self._seen <= self.attributes.skip_first or (0 < self.attributes.fail_first <= self.fired):
            return False
        if (nth := getattr(self.attributes, "nth", 0)) and self._seen != nth:
            return False
        request = request if self.attributes.per == "request" else 0
        if self.toxicity < 1.0 and self.draw(connection, request) >= self.toxicity:
            return False
        self._note(self, connection, request, what or self._parameters())
        self.fired += 1
        return True

    def _parameters(self) -> str:
        return " ".join(f"{name}={value}" for name, value in told(self.attributes).items())

    def update(self, attributes: dict[str, Any], toxicity: float) -> bool:
        """Whether what it may act on is to be asked anew. Raises Refusal."""
        before = self.attributes, self.toxicity
        self.attributes, self.toxicity = read_attributes(self.type, attributes, self.attributes), toxicity
        return (self.attributes.per, self.toxicity) != (before[0].per, before[1])

    def told(self) -> dict[str, Any]:
        """As the API answers."""
        leased = {"lease_s": self.lease_s} if self.lease_s else {}
        return {
            "name": self.name,
            "type": self.type,
            "stream": self.stream,
            "toxicity": self.toxicity,
            "attributes": told(self.attributes),
            "fired": self.fired,
            **leased,
        }
