"""A worker's journal, whose disk is the master's: each piece is kept until it is acknowledged."""

from __future__ import annotations

from collections.abc import Callable

from gevent.event import Event

from harness.load.crew.words import Shipment

AGAIN_S = 2.0
"""A piece that is not acknowledged is sent again after so long; the master takes each number once."""
SILENT_S = 15.0
"""A master that acknowledges nothing for so long is gone."""


class Shipping:
    """A journal's sink. `send` hands a shipment to Locust; `clock` is in seconds from the run's t0."""

    def __init__(self, send: Callable[[Shipment], None], clock: Callable[[], float]) -> None:
        self._send = send
        self._clock = clock
        self._number = 0
        self._kept: dict[int, Shipment] = {}
        self._sent_at: dict[int, float] = {}
        self._empty = Event()
        self._empty.set()

    def write(self, lines: bytes) -> int:
        """Send them, and keep them."""
        self._number += 1
        shipment = Shipment(self._number, self._clock(), lines)
        self._kept[self._number] = shipment
        self._sent_at[self._number] = shipment.until
        self._empty.clear()
        self._send(shipment)
        return len(lines)

    def close(self) -> None:
        """Nothing to release."""

    def acknowledged(self, number: int) -> None:
        """The master has it on disk."""
        self._kept.pop(number, None)
        self._sent_at.pop(number, None)
        if not self._kept:
            self._empty.set()

    def unheard_s(self) -> float:
        """For how long the oldest piece has waited."""
        oldest = next(iter(self._kept.values()), None)
        return 0.0 if oldest is None else self._clock() - oldest.until

    def send_again(self) -> None:
        """Whatever has waited too long, the oldest first."""
        now = self._clock()
        for number, shipment in list(self._kept.items()):
            if now - self._sent_at.get(number, now) >= AGAIN_S:
                self._sent_at[number] = now
                self._send(shipment)

    def drained(self, patience_s: float) -> bool:
        """Wait until everything is acknowledged; whether it was."""
        return bool(self._empty.wait(patience_s))
