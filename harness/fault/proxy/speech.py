"""What a proxy understands of the bytes: at least where one request ends and the next begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from harness.fault.proxy.stage import Way
from harness.fault.proxy.toxic import Toxic


class Spoken(Protocol):
    """What is known of the connection that is listened to."""

    @property
    def ordinal(self) -> int:
        """Among the proxy's connections, from 1."""

    @property
    def up(self) -> Way:
        """To the server."""

    @property
    def down(self) -> Way:
        """To the client."""

    @property
    def rules(self) -> Sequence[Toxic]:
        """Toxics that act on requests, as many as there are now."""


class Speech(Protocol):
    """Hands a connection's bytes to its flows, each with the ordinal (from 1) of the request that it belongs to."""

    def asked(self, data: bytes) -> None:
        """From the client."""

    def answered(self, data: bytes) -> None:
        """From the server."""

    def ended(self, flow: Way) -> None:
        """A direction's bytes have ended: what was held back to be understood goes on."""


class Turns:
    """Any protocol in which the two take turns, HTTP among them: who asks after an answer asks something new."""

    def __init__(self, connection: Spoken) -> None:
        self._up = connection.up
        self._down = connection.down
        self._request = 1
        self._was_answered = False

    def asked(self, data: bytes) -> None:
        if self._was_answered:
            self._was_answered = False
            self._request += 1
        self._up.take(data, self._request)

    def answered(self, data: bytes) -> None:
        self._was_answered = True
        self._down.take(data, self._request)

    def ended(self, flow: Way) -> None:
        """Nothing is held back."""


class Rules:
    """What the toxics that act on requests say to those of one connection."""

    def __init__(self, connection: Spoken) -> None:
        self._connection = connection
        self._chosen: dict[Toxic, bool] = {}

    def toxics(self) -> Sequence[Toxic]:
        """Those that there are now."""
        return self._connection.rules

    def fire(self, toxic: Toxic, request: int, what: str) -> bool:
        """Whether it acts on this request, which it matches. Written down if so."""
        if toxic.attributes.per == "request":
            return toxic.fires(self._connection.ordinal, request, what)
        if toxic not in self._chosen:
            self._chosen[toxic] = toxic.fires(self._connection.ordinal, request, what)
        return self._chosen[toxic]


class Strange(Exception):
    """Bytes that this protocol does not have: TLS perhaps. They pass as they are from then on."""
