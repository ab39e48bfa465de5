"""The witness: one process that performs the agents' effects and writes each down before it answers.

`python -m harness.observation.witness` reads a WitnessConfig line from standard input, says `ready` (or why not) as
one JSON line on standard output, and serves the frames of `harness/observation/ledger.py` until its standard input
ends. It shares nothing with the orchestrator or its stores, so an orchestrator that does a step twice cannot report it
once. Started again on its ledger it knows all that it knew.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec
import psutil

from harness.child import die_with_parent, first_line
from harness.observation.ledger import Act, Acted, Effect, Unable
from harness.observation.ledger_file import LedgerFile, Owner

BACKLOG = 4096
LINE_BYTES_MAX = 64 * 1024
DISK_EXIT = 5

_encode = msgspec.json.Encoder().encode
_decode_act = msgspec.json.Decoder(Act).decode


class WitnessConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the witness is told, as JSON on its standard input."""

    run_id: str
    t0: float  # the run's zero on the monotonic clock
    socket: str  # path of the Unix socket to listen on
    path: str  # of the ledger; one that exists is gone on with


class WitnessReady(msgspec.Struct, tag_field="type", tag="ready", frozen=True):
    """It listens."""


class WitnessFailed(msgspec.Struct, tag_field="type", tag="failed", frozen=True):
    """It cannot serve, or go on; the message says why."""

    message: str


class Witness:
    """Answers acts in groups: what arrives while the disk is busy goes with the next wait for it."""

    def __init__(self, ledger: LedgerFile, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._lines: list[bytes] = []
        self._answers: list[tuple[Connection, bytes]] = []
        self._commits: asyncio.Task[None] | None = None
        self._connections: set[Connection] = set()
        self.failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def connected(self, connection: Connection) -> None:
        """Keep it, to tell it should we fail."""
        self._connections.add(connection)

    def gone(self, connection: Connection) -> None:
        """It hung up."""
        self._connections.discard(connection)

    def owner(self, pid: int) -> Owner:
        """Who acts on a connection of this process."""
        created = 0.0
        with contextlib.suppress(psutil.Error):
            created = psutil.Process(pid).create_time()
        return self._ledger.owner(pid, created)

    def act(self, act: Act, owner: Owner, connection: Connection) -> None:
        """Perform it, or not; its answer goes out when it is on disk."""
        if self.failed.done():
            return
        answer = self._ledger.answer(act)
        self._lines.append(
            _encode(
                Effect(
                    self._clock(), act.workflow, act.step, act.op_id, act.token, owner.ordinal, answer,
                    owner.pid, owner.created, act.scope,
                )
            )
        )  # fmt: skip
        self._answers.append((connection, _encode(Acted(act.op_id, answer)) + b"\n"))
        if self._commits is None:
            self._commits = asyncio.get_running_loop().create_task(self._commit())

    async def _commit(self) -> None:
        while self._lines:
            lines, self._lines = self._lines, []
            answers, self._answers = self._answers, []
            try:
                await asyncio.to_thread(self._ledger.write, lines)
            except OSError as error:
                self._fail(f"the witness cannot write its ledger: {error.strerror}")
                return
            for connection, answer in answers:
                connection.send(answer)
        self._commits = None

    def _fail(self, message: str) -> None:
        """Say so to everybody, and perform nothing more: what is not on disk is never answered."""
        for connection in list(self._connections):
            connection.refuse(message)
        self.failed.set_result(message)

    async def drained(self) -> None:
        """Return when all that came has been answered."""
        if self._commits is not None:
            await self._commits


class Connection(asyncio.Protocol):
    """One orchestrator process."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._owner: Owner | None = None
        self._rest = b""
        self._refused = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._owner = self._witness.owner(peer_pid(transport.get_extra_info("socket")))
        self._witness.connected(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._witness.gone(self)

    def send(self, frame: bytes) -> None:
        """Write, if anybody still listens."""
        if self._transport is not None and not self._refused:
            self._transport.write(frame)

    def refuse(self, why: str) -> None:
        """Say why and say no more. What still comes is read and dropped: closing on it would reset the connection,
        and the client would see that instead of the reason."""
        self.send(_encode(Unable(why)) + b"\n")
        self._refused = True
        self._rest = b""
        if self._transport is not None:
            self._transport.write_eof()

    def data_received(self, data: bytes) -> None:
        if self._refused or self._owner is None:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            try:
                act = _decode_act(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                return self.refuse(f"not an act: {error}")
            if act.token < 0:
                return self.refuse(f"not an act: its token is {act.token}, and tokens begin at 1 (0: none)")
            self._witness.act(act, self._owner, self)
        if len(self._rest) > LINE_BYTES_MAX:
            return self.refuse(f"a line is longer than {LINE_BYTES_MAX} bytes")
        return None


def peer_pid(peer: socket.socket) -> int:
    """The pid at the other end of a Unix socket, as the kernel knows it; 0 where it does not tell."""
    if hasattr(socket, "SO_PEERCRED"):
        return int(struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
    if sys.platform == "darwin":
        return int(struct.unpack("i", peer.getsockopt(0, 2, 4))[0])  # SOL_LOCAL, LOCAL_PEERPID of sys/un.h
    return 0


async def serve(config: WitnessConfig, say: Callable[[WitnessReady | WitnessFailed], None], stdin_fd: int) -> int:
    """Serve until standard input ends, SIGTERM, or the disk refuses. Returns the exit code."""
    loop = asyncio.get_running_loop()
    try:
        ledger = LedgerFile(Path(config.path))
        witness = Witness(ledger, lambda: time.monotonic() - config.t0)
        server = await loop.create_unix_server(lambda: Connection(witness), config.socket, backlog=BACKLOG)
    except OSError as error:
        say(WitnessFailed(f"the witness cannot start: {error}"))
        return DISK_EXIT
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(stdin_fd, _on_input, stdin_fd, stop)
    say(WitnessReady())
    witness.failed.add_done_callback(lambda _: stop.set())
    await stop.wait()
    server.close()
    await witness.drained()
    if witness.failed.done():
        sys.stderr.write(f"{witness.failed.result()}\n")  # its log
        say(WitnessFailed(witness.failed.result()))
        return DISK_EXIT
    ledger.close()
    return 0


def _on_input(stdin_fd: int, stop: asyncio.Event) -> None:
    if not os.read(stdin_fd, 4096):
        asyncio.get_running_loop().remove_reader(stdin_fd)
        stop.set()


def main() -> None:
    """Entry of the witness's process."""
    die_with_parent(os.getppid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the CLI decides what Ctrl-C means
    config = msgspec.json.decode(first_line(), type=WitnessConfig)
    Path(config.socket).unlink(missing_ok=True)
    sys.exit(asyncio.run(serve(config, lambda words: void(os.write(1, _encode(words) + b"\n")), 0)))


def void(_: object) -> None:
    """Drop a value, where a callback must return nothing."""


if __name__ == "__main__":
    main()
