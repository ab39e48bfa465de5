"""One proxy: its listener, the connections through it, and the toxics that are on it."""

from __future__ import annotations

import asyncio
from typing import Any

from harness.fault.proxy.address import Address, is_loopback, parsed, shown
from harness.fault.proxy.attributes import NEEDS_PROTOCOL, read_attributes
from harness.fault.proxy.config import Protocol, Upstream
from harness.fault.proxy.connection import Connection, Side
from harness.fault.proxy.journal import Journal
from harness.fault.proxy.listener import Listener
from harness.fault.proxy.overhead import Overhead
from harness.fault.proxy.postgres import PostgresSpeech
from harness.fault.proxy.redis import RedisSpeech
from harness.fault.proxy.refusal import (
    BAD_ADDRESS,
    BAD_BODY,
    INVALID_STREAM,
    MISSING_FIELD,
    NO_TOXIC,
    TOXIC_EXISTS,
    Refusal,
)
from harness.fault.proxy.speech import Speech, Turns
from harness.fault.proxy.stage import End
from harness.fault.proxy.stages import STAGES
from harness.fault.proxy.toxic import Stream, Toxic

DOWN = "down"
"""The name by which it is told how often connections were cut because the proxy was disabled."""
SPEECHES: dict[Protocol, type[Speech]] = {"redis": RedisSpeech, "postgres": PostgresSpeech}


class Proxy:
    """Not listening before `enable`."""

    def __init__(
        self, declared: Upstream, *, seed: int, journal: Journal, overhead: Overhead, allow_remote: bool
    ) -> None:
        """Holds its address from now on. Raises Refusal."""
        self.name = declared.name
        self.protocol = declared.protocol
        self._allow_remote = allow_remote
        self.upstream = self._behind(declared.upstream)
        self.overhead = overhead
        self.toxics: dict[str, Toxic] = {}
        self.rules: list[Toxic] = []  # those that act on requests
        self.lease_s = 0.0  # it is enabled again after so long
        self._fired_before: dict[str, int] = {}  # by toxics that are removed
        self._seed = seed
        self._journal = journal
        self._connections: set[Connection] = set()
        self._accepted = 0
        self._leases: dict[str, asyncio.TimerHandle] = {}
        self._listener = Listener(parsed(declared.listen, is_listener=True), self._accept)
        self.listen: Address = self._listener.address

    @property
    def enabled(self) -> bool:
        """Whether connections are taken."""
        return self._listener.is_open

    def enable(self) -> None:
        """Take connections. Idempotent. Raises Refusal."""
        self._lease(DOWN, 0.0)
        self._listener.open()

    def disable(self, lease_s: float = 0.0) -> None:
        """Refuse connections and cut those that there are; nobody else gets the address meanwhile. Idempotent."""
        if self.enabled:
            self._note(DOWN, DOWN, 0, 0, f"refuses connections, cuts {len(self._connections)}")
            self._listener.refuse()
            self._fired_before[DOWN] = len(self._connections)
            self._cut()
        self._lease(DOWN, lease_s)

    def move(self, *, listen: str, upstream: str) -> None:
        """To another address, or in front of another server, where that is said; then connections are cut.

        Raises Refusal; nothing has changed then.
        """
        behind = self._behind(upstream) if upstream else self.upstream
        wanted = parsed(listen, is_listener=True) if listen else self.listen
        if (behind, wanted) == (self.upstream, self.listen):
            return
        if wanted != self.listen:
            other = Listener(wanted, self._accept)
            if self.enabled:
                other.open()
            self._listener.close()
            self._listener, self.listen = other, other.address
        self.upstream = behind
        self._cut()

    def close(self) -> None:
        """For good."""
        for name in (*self.toxics, DOWN):
            self._release(name)
        self._listener.close()
        self._cut()

    # Toxics.

    def toxic(self, name: str) -> Toxic:
        """By its name. Raises Refusal."""
        if name not in self.toxics:
            raise Refusal(NO_TOXIC)
        return self.toxics[name]

    def add(
        self,
        type_: str,
        *,
        stream: str = "downstream",
        name: str = "",
        toxicity: float = 1.0,
        attributes: dict[str, Any],
        lease_s: float = 0.0,
    ) -> Toxic:
        """A toxic, on connections that there are as well. Raises Refusal.

        Where one of that name and type is and a lease is given, it is renewed and updated.
        """
        if not type_:
            raise Refusal(MISSING_FIELD, "type")
        if stream not in ("upstream", "downstream"):
            raise Refusal(INVALID_STREAM)
        name = name or f"{type_}_{stream}"
        if name in self.toxics:
            before = self.toxics[name]
            if lease_s and (before.type, before.stream) == (type_, stream):
                return self.update(name, attributes=attributes, toxicity=toxicity, lease_s=lease_s)
            raise Refusal(TOXIC_EXISTS)
        read = read_attributes(type_, attributes)
        needed = NEEDS_PROTOCOL.get(type_, self.protocol)
        if needed != self.protocol:
            text = f"{type_} needs a proxy whose protocol is {needed}, and {self.name} speaks {self.protocol}"
            raise Refusal(BAD_BODY, text)
        which: Stream = "upstream" if stream == "upstream" else "downstream"
        toxic = Toxic(name, type_, which, toxicity, read, seed=self._seed, proxy=self.name, note=self._note_firing)
        self.toxics[name] = toxic
        self._lease(name, lease_s)
        if type_ in STAGES:
            for connection in tuple(self._connections):
                self._attach(connection, toxic)
        else:
            self.rules.append(toxic)
        return toxic

    def update(
        self, name: str, *, attributes: dict[str, Any], toxicity: float | None = None, lease_s: float | None = None
    ) -> Toxic:
        """Other attributes, those that are given; `lease_s` begins anew. Raises Refusal."""
        toxic = self.toxic(name)
        before = toxic.attributes, toxic.toxicity
        anew = toxic.update(attributes, toxic.toxicity if toxicity is None else toxicity)
        if before != (toxic.attributes, toxic.toxicity):
            for connection in tuple(self._connections):
                connection.flow(toxic.stream).changed(toxic, anew=anew)
        self._lease(name, toxic.lease_s if lease_s is None else lease_s)
        return toxic

    def remove(self, name: str) -> None:
        """What its stages hold goes on. Raises Refusal."""
        toxic = self.toxic(name)
        del self.toxics[name]
        self._fired_before[name] = toxic.fired
        self._release(name)
        if toxic in self.rules:
            self.rules.remove(toxic)
        for connection in tuple(self._connections):
            connection.flow(toxic.stream).detach(toxic)

    def fired(self) -> dict[str, int]:
        """How often each toxic acted, the last of each name, removed ones as well.

        `down`: how many connections were cut when the proxy was disabled last.
        """
        return {DOWN: 0} | self._fired_before | {name: toxic.fired for name, toxic in self.toxics.items()}

    def told(self) -> dict[str, Any]:
        """As the API answers."""
        return {
            "name": self.name,
            "listen": shown(self.listen),
            "upstream": shown(self.upstream),
            "enabled": self.enabled,
            "protocol": self.protocol,
            "toxics": [toxic.told() for toxic in self.toxics.values()],
        }

    def _behind(self, upstream: str) -> Address:
        """Raises Refusal."""
        address = parsed(upstream)
        if not (self._allow_remote or is_loopback(address[0])):
            raise Refusal(BAD_ADDRESS, f"{upstream} is another machine's (HINT: --allow-remote)")
        return address

    # Connections.

    def forget(self, connection: Connection) -> None:
        """Both of its sides are gone."""
        self._connections.discard(connection)

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._connections)

    def _accept(self) -> Side:
        """The proxy's side to a client that has connected."""
        self._accepted += 1
        connection = Connection(self, self._accepted, SPEECHES.get(self.protocol, Turns))
        self._connections.add(connection)
        for toxic in self.toxics.values():
            if toxic not in self.rules:
                self._attach(connection, toxic)
        return connection.client

    def _attach(self, connection: Connection, toxic: Toxic) -> None:
        connection.flow(toxic.stream).attach(toxic, STAGES[toxic.type])

    def _cut(self) -> None:
        for connection in tuple(self._connections):
            connection.over(End.RESET)

    # Leases and the journal.

    def _lease(self, name: str, lease_s: float) -> None:
        self._release(name)
        if name == DOWN:
            self.lease_s = lease_s
        else:
            self.toxics[name].lease_s = lease_s
        if lease_s:
            self._leases[name] = asyncio.get_running_loop().call_later(lease_s, self._expire, name)

    def _release(self, name: str) -> None:
        if (lease := self._leases.pop(name, None)) is not None:
            lease.cancel()

    def _expire(self, name: str) -> None:
        if name == DOWN:
            self._note(DOWN, DOWN, 0, 0, "its lease ended")
            self.enable()
        else:
            self._note(name, self.toxics[name].type, 0, 0, "its lease ended")
            self.remove(name)

    def _note_firing(self, toxic: Toxic, connection: int, request: int, what: str) -> None:
        self._note(toxic.name, toxic.type, connection, request, what)

    def _note(self, toxic: str, type_: str, connection: int, request: int, what: str) -> None:
        self._journal.write(self.name, toxic, type_, connection, request, what)
