"""The load side's view of a target: `Client`, what it answers, and the client of a target host's socket."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any, Protocol

import gevent
import gevent.socket
import msgspec
from gevent import monkey
from gevent.socket import wait_write

from harness.observation.observation import Outcome, StepRecord
from harness.target.target import WorkflowRequest
from harness.target.wire import LINE_BYTES_MAX, Accepted, Ended, HostFrame, Refused, RejectedFrame, Stats, Submit

GRACE_S = 0.5  # waited beyond a workflow's deadline, for the target to say itself that it passed
CONNECT_S = 5.0  # to be let in by TCP; then it is tried again
BACK_OFF_FIRST_S = 0.01
BACK_OFF_MAX_S = 0.5
RECV_BYTES = 256 * 1024

Address = str | tuple[str, int]
"""Of a target's host: the path of its Unix socket, or host and port."""

# The real class, patched or not: this client waits by itself, because gevent's connect() spins at full CPU on a Unix
# socket whose backlog is full.
_Socket: type[socket.socket] = monkey.get_original("socket", "socket")
_encode = msgspec.json.Encoder().encode
_decode_lines = msgspec.json.Decoder(HostFrame).decode_lines


class Reply(msgspec.Struct, kw_only=True, gc=False):
    """How one request ended, as far as the client can know. Times are seconds from the run's t0."""

    outcome: Outcome
    accepted: float | None = None  # seen by the client
    target_accepted: float | None = None
    target_started: float | None = None
    target_ended: float | None = None
    error_class: str = ""
    message: str = ""
    rejected: bool = False
    queue_depth: int = -1
    retry_after_s: float = 0.0
    degraded: tuple[str, ...] = ()
    attempts: int = 1
    digest: str = ""
    tokens: int = 0
    cost_usd: float = 0.0
    steps: tuple[StepRecord, ...] | msgspec.Raw = ()  # Raw: already JSON of StepRecords, written on unread


class Client(Protocol):
    """One user's way to a target. Used by one greenlet at a time."""

    def run(self, request: WorkflowRequest) -> Reply:
        """Run a workflow to its end. Always answers, at the latest a little after the workflow's deadline."""

    def close(self) -> None:
        """Release the connection."""


class _ConnectionLost(Exception):
    """The host cannot be heard any more; it may still run what it accepted."""


class SocketClient:
    """One connection to a target host over a Unix socket or TCP, speaking `target/wire.py`.

    A lost connection is made again, with back-off, and the workflow's id submitted again, which attaches to it; so a
    workflow is never run twice by us. `on_accepted(id, at)` is called when an acceptance is seen before the end is.
    """

    def __init__(
        self,
        address: Address,
        clock: Callable[[], float],
        on_accepted: Callable[[str, float], None] = lambda _id, _at: None,
    ) -> None:
        self._address = address
        self._clock = clock
        self._on_accepted = on_accepted
        self._hub: Any = gevent.get_hub()
        self._socket: socket.socket | None = None
        self._reader: Any = None
        self._rest = b""
        self._expired = False
        self._sent = False
        self._accepted: float | None = None
        self._ends_at = 0.0

    def run(self, request: WorkflowRequest) -> Reply:
        """Run a workflow to its end, or to its deadline as the client sees it: from acceptance, `GRACE_S` longer."""
        frame = _encode(Submit(request.id, request.kind, request.seed, request.deadline_s, request.input)) + b"\n"
        self._expired = self._sent = False
        self._accepted = None
        self._ends_at = self._clock() + request.deadline_s + GRACE_S
        back_off_s = BACK_OFF_FIRST_S
        why = ""
        while (left_s := self._ends_at - self._clock()) > 0:
            try:
                return self._attempt(frame, request, left_s)
            except (OSError, _ConnectionLost) as error:
                self.close()
                why = str(error) or repr(error)
            except msgspec.DecodeError as error:
                self.close()
                return self._unknown("protocol", str(error))
            if self._expired:
                break
            gevent.sleep(max(0.0, min(back_off_s, self._ends_at - self._clock())))
            back_off_s = min(2 * back_off_s, BACK_OFF_MAX_S)
        return self._unheard(request, why)

    def close(self) -> None:
        """Drop the connection; the next run makes a new one."""
        if self._socket is not None:
            self._reader.stop()
            self._reader.close()
            self._socket.close()
            self._socket = None
        self._rest = b""

    def _unheard(self, request: WorkflowRequest, why: str) -> Reply:
        """The answer when the host gave none. What was never sent has certainly not happened."""
        if self._expired:
            message = f"no end within {request.deadline_s:g} s + {GRACE_S:g} s"
            return self._unknown("timeout", message)
        if not self._sent:
            return Reply(outcome=Outcome.FAILED, error_class="connect", message=why)
        return self._unknown("connection", why)

    def _unknown(self, error_class: str, message: str) -> Reply:
        return Reply(outcome=Outcome.UNKNOWN, accepted=self._accepted, error_class=error_class, message=message)

    def _attempt(self, frame: bytes, request: WorkflowRequest, left_s: float) -> Reply:
        """Submit on the open connection, or a new one, and read up to the end of the workflow."""
        resubmitted = self._sent
        if self._socket is None:
            self._connect()
        timer = self._start_timer(left_s)
        try:
            self._send(frame)
            while True:
                lines = self._receive()
                now = self._clock()
                newly = False
                for seen in _decode_lines(lines):
                    if isinstance(seen, Refused):
                        self.close()
                        return Reply(outcome=Outcome.FAILED, error_class="refused", message=seen.message)
                    if isinstance(seen, Stats) or seen.id != request.id:
                        continue
                    if not isinstance(seen, Accepted):
                        return self._ended(seen, resubmitted)
                    newly = self._accepted is None
                    if newly:
                        self._accepted = now
                if newly:
                    self._on_accepted(request.id, now)
                    timer.close()
                    self._ends_at = now + request.deadline_s + GRACE_S
                    timer = self._start_timer(self._ends_at - now)
        finally:
            timer.close()

    def _ended(self, frame: Ended | RejectedFrame, resubmitted: bool) -> Reply:
        if isinstance(frame, Ended):
            return Reply(
                outcome=frame.outcome,
                accepted=self._accepted,
                target_accepted=frame.accepted,
                target_started=frame.started,
                target_ended=frame.ended,
                error_class=frame.error_class,
                message=frame.message,
                degraded=frame.degraded,
                attempts=frame.attempts,
                digest=frame.digest,
                tokens=frame.tokens,
                cost_usd=frame.cost_usd,
                steps=frame.steps if memoryview(frame.steps).nbytes > len(b"[]") else (),
            )
        if resubmitted:
            # A host that says no to what an earlier connection sent has forgotten it; whether it ran, nobody knows.
            return self._unknown("connection", "rejected when submitted again after a lost connection")
        return Reply(
            outcome=Outcome.NOT_STARTED,
            error_class="rejected",
            message=frame.reason,
            rejected=True,
            queue_depth=frame.queue_depth,
            retry_after_s=frame.retry_after_s,
        )

    def _connect(self) -> None:
        """One non-blocking try; a full backlog is an OSError like any other and waits for the back-off."""
        address = self._address
        self._socket = new = (
            _connected_by_path(address) if isinstance(address, str) else self._connected_by_tcp(address)
        )
        self._reader = self._hub.loop.io(new.fileno(), 1)

    def _connected_by_tcp(self, address: tuple[str, int]) -> socket.socket:
        left_s = max(0.001, self._ends_at - self._clock())
        new = gevent.socket.create_connection(address, timeout=min(CONNECT_S, left_s))
        new.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain = _Socket(fileno=new.detach())
        plain.setblocking(False)
        return plain

    def _start_timer(self, left_s: float) -> Any:
        timer = self._hub.loop.timer(left_s)
        timer.start(self._expire)
        return timer

    def _expire(self) -> None:
        """The deadline passed: hang up, which wakes the greenlet that reads or writes."""
        self._expired = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # the host hung up first
                self._socket.shutdown(socket.SHUT_RDWR)

    def _send(self, frame: bytes) -> None:
        assert self._socket is not None
        self._sent = True
        unsent = memoryview(frame)
        while unsent:
            try:
                unsent = unsent[self._socket.send(unsent) :]
            except BlockingIOError:
                wait_write(self._socket.fileno())

    def _receive(self) -> bytes:
        """Wait for at least one whole line; everything up to the last line's end is returned at once."""
        assert self._socket is not None
        rest = self._rest
        while True:
            self._hub.wait(self._reader)
            chunk = self._socket.recv(RECV_BYTES)
            if not chunk:
                raise _ConnectionLost("the host closed the connection")
            end = chunk.rfind(b"\n") + 1
            if end:
                self._rest = chunk[end:]
                return rest + chunk[:end]
            rest += chunk
            if len(rest) > LINE_BYTES_MAX:
                raise msgspec.DecodeError(f"the host sent a line longer than {LINE_BYTES_MAX} bytes")


def _connected_by_path(path: str) -> socket.socket:
    new = _Socket(socket.AF_UNIX, socket.SOCK_STREAM)
    new.setblocking(False)
    try:
        new.connect(path)
    except OSError:
        new.close()
        raise
    return new
