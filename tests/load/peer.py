"""A target host to load: a real peer on a real Unix socket, which knows the truth about what it ran.

    python peer.py '{"socket": …}'      says "ready", serves until standard input ends, then prints its Truth as JSON

It speaks `harness.target.wire` from a plain asyncio loop of its own and shares nothing else with the harness. Its
switches make it do what a host may do at its worst.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from hashlib import blake2b
from random import Random
from typing import cast

import msgspec

from harness.observation.observation import Outcome
from harness.target.wire import BACKLOG, Accepted, ClientFrame, Ended, Refused, RejectedFrame, Submit


class Switches(msgspec.Struct, frozen=True, kw_only=True):
    """How this host behaves. Counts (`…_every`) are of new workflows: the nth, 2nth, … ; 0 is never."""

    socket: str
    host: str = "127.0.0.1"
    port: int = 0  # TCP, too
    t0: float = 0.0
    seed: int = 1
    median_s: float = 0.0  # lognormal run times; 0 ends at once
    sigma: float = 0.5
    accept_delay_s: float = 0.0
    split_frames: bool = False  # accepted and ended in separate writes, cut in the middle
    reject_every: int = 0
    retry_after_s: float = 0.05
    reject_all_after: int = 0
    cut_every: int = 0  # close the connection right after `accepted`
    hang_every: int = 0  # accepted, never ended
    corrupt_every: int = 0  # ok, with another workflow's digest
    fail_every: int = 0
    refuse_every: int = 0
    garbage_every: int = 0
    stall_at_s: float = 0.0  # the whole host stops once, so long after its first workflow
    stall_s: float = 0.0
    uvloop: bool = False


class Ran(msgspec.Struct, kw_only=True):
    """One workflow as the host saw it; seconds from t0."""

    accepted: float
    drawn_s: float = 0.0  # how long it was meant to run
    ended: float | None = None
    submits: int = 1
    runs: int = 1


class Truth(msgspec.Struct, kw_only=True):
    """What really happened."""

    ran: dict[str, Ran] = {}
    rejected: dict[str, int] = {}
    in_flight_max: int = 0
    stalled: tuple[float, float] | None = None  # when the whole host stood still
    kinds: dict[str, str] = {}


def sequential_digest(request: Submit) -> str:
    """The digest of a right result of the shape `sequential`, written out by hand."""
    before: list[str] = []
    finals = []
    for step in ("triage", "data", "optimization"):
        text = "|".join([str(request.seed), request.id, request.kind, step, step, *before])
        finding = blake2b(text.encode(), digest_size=16).hexdigest()
        finals.append(f"{step}={finding}")
        before = [finding]
    return blake2b("|".join(finals).encode(), digest_size=16).hexdigest()


class Host:
    def __init__(self, switches: Switches) -> None:
        self.switches = switches
        self.truth = Truth()
        self.rng = Random(switches.seed)
        self.count = 0
        self.in_flight = 0
        self.ends: dict[str, bytes] = {}
        self.attached: dict[str, set[Connection]] = {}
        self.stalled_until = 0.0

    def clock(self) -> float:
        return time.monotonic() - self.switches.t0

    def nth(self, every: int) -> bool:
        return every > 0 and self.count % every == 0

    def submit(self, frame: Submit, connection: Connection) -> None:
        known = self.truth.ran.get(frame.id)
        if known is not None:
            known.submits += 1
            connection.send(Accepted(frame.id, known.accepted))
            self.attached.setdefault(frame.id, set()).add(connection)
            if frame.id in self.ends:
                connection.write(self.ends[frame.id])
            return
        self.count += 1
        switches = self.switches
        full = 0 < switches.reject_all_after < self.count
        if full or self.nth(switches.reject_every):
            self.truth.rejected[frame.id] = self.truth.rejected.get(frame.id, 0) + 1
            connection.send(RejectedFrame(frame.id, switches.retry_after_s, 7))
        elif self.nth(switches.refuse_every):
            connection.send(Refused("this host does not like you"))
            connection.close()
        elif self.nth(switches.garbage_every):
            connection.write(b'{"type":"nonsense"}\n')
        elif switches.accept_delay_s:
            asyncio.get_running_loop().call_later(switches.accept_delay_s, self.accept, frame, connection, self.count)
        else:
            self.accept(frame, connection, self.count)

    def accept(self, frame: Submit, connection: Connection, n: int) -> None:
        switches = self.switches
        now = self.clock()
        if len(self.truth.ran) == 0 and switches.stall_s:
            asyncio.get_running_loop().call_later(switches.stall_at_s, self.stall)
        self.truth.ran[frame.id] = Ran(accepted=now)
        self.truth.kinds[frame.id] = frame.kind
        self.attached.setdefault(frame.id, set()).add(connection)
        self.in_flight += 1
        self.truth.in_flight_max = max(self.truth.in_flight_max, self.in_flight)
        ends_at_once = not switches.median_s and not switches.split_frames
        connection.send(Accepted(frame.id, now), cut=switches.split_frames)
        if switches.cut_every and n % switches.cut_every == 0:
            connection.close()
        if switches.hang_every and n % switches.hang_every == 0:
            return
        run_s = switches.median_s * math.exp(self.rng.gauss(0.0, switches.sigma))
        if switches.split_frames:
            run_s = max(run_s, 0.01)  # after the second half of `accepted`
        self.truth.ran[frame.id].drawn_s = run_s
        if ends_at_once:
            self.end(frame, n, self.digest(frame, n))
        else:
            asyncio.get_running_loop().call_later(run_s, self.end, frame, n, self.digest(frame, n))

    def stall(self) -> None:
        begins = self.clock()
        time.sleep(self.switches.stall_s)  # blocks the loop on purpose
        self.truth.stalled = (begins, self.clock())

    def digest(self, frame: Submit, n: int) -> str:
        """Known beforehand, so that no work lies between the stamp of the end and its frame."""
        if self.switches.corrupt_every and n % self.switches.corrupt_every == 0:
            return sequential_digest(msgspec.structs.replace(frame, id=frame.id + "x"))
        return sequential_digest(frame)

    def end(self, frame: Submit, n: int, digest: str) -> None:
        switches = self.switches
        self.in_flight -= 1
        ran = self.truth.ran[frame.id]
        ran.ended = self.clock()
        failed = bool(switches.fail_every) and n % switches.fail_every == 0
        ended = Ended(
            id=frame.id,
            outcome=Outcome.FAILED if failed else Outcome.OK,
            accepted=ran.accepted,
            started=ran.accepted,
            ended=ran.ended,
            digest="" if failed else digest,
            error_class="agent_failed" if failed else "",
            steps=msgspec.Raw(
                msgspec.json.encode([("triage", "triage", ran.accepted, ran.accepted, ran.ended, "ok", 1, 0.0)])
            ),
        )
        line = msgspec.json.encode(ended) + b"\n"
        self.ends[frame.id] = line
        for connection in self.attached.pop(frame.id, ()):
            connection.write(line, cut=switches.split_frames)


class Connection(asyncio.Protocol):
    def __init__(self, host: Host) -> None:
        self.host = host
        self.rest = b""
        self.decode = msgspec.json.Decoder(ClientFrame).decode
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None

    def data_received(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            frame = self.decode(line)
            assert isinstance(frame, Submit)
            self.host.submit(frame, self)

    def send(self, frame: Accepted | RejectedFrame | Refused, *, cut: bool = False) -> None:
        self.write(msgspec.json.encode(frame) + b"\n", cut=cut)

    def write(self, line: bytes, *, cut: bool = False) -> None:
        if self.transport is None:
            return
        if cut:
            self.transport.write(line[:10])
            asyncio.get_running_loop().call_later(0.002, self.write, line[10:])
        else:
            self.transport.write(line)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


async def serve(switches: Switches) -> Truth:
    loop = asyncio.get_running_loop()
    host = Host(switches)
    server = await loop.create_unix_server(lambda: Connection(host), switches.socket, backlog=BACKLOG)
    if switches.port:
        await loop.create_server(lambda: Connection(host), switches.host, switches.port, backlog=BACKLOG)
    over = asyncio.Event()
    loop.add_reader(0, over.set)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await over.wait()
    server.close()
    return host.truth


def main() -> None:
    switches = msgspec.json.decode(sys.argv[1], type=Switches)
    if switches.uvloop:
        import uvloop

        truth = uvloop.run(serve(switches))
    else:
        truth = asyncio.run(serve(switches))
    sys.stdout.buffer.write(msgspec.json.encode(truth))


if __name__ == "__main__":
    main()
