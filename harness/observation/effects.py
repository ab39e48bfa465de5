"""The client of the witness: how an agent acts outside, so that what it did can be counted.

For the embedded orchestrator, and for anybody's own. A Python target finds the witness's socket in its
`watch.services.witness`, and makes one `Effects` for each process:

    effects = await Effects.connect(services.witness, scope=services.namespace)
    answer = await effects.act(workflow_id, "send_invoice", op_id=f"{workflow_id}/send_invoice", token=my_fencing_token)

`answer` is `performed`, `replayed` (this operation id was performed before, and is not again) or `refused` (somebody
with a higher token acted: this process was replaced and should stop). Use the same `op_id` whenever the same act is
tried again, whatever process tries it. Two performed effects of one (workflow, step) count as `dup_effects`, and what
a process does after a newer one has acted as `zombie_effects`: so one process at a time should own the workflows.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from typing import cast

import msgspec

from harness.errors import HarnessError
from harness.observation.ledger import Act, Acted, Answer, Unable

TIMEOUT_S = 10.0
BACK_OFF_FIRST_S = 0.01
BACK_OFF_MAX_S = 0.25

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Acted | Unable).decode


class WitnessUnavailable(HarnessError):
    """The witness did not answer in time, or said that it cannot. Whether the act was performed is not known; to send
    it again with the same operation id is safe."""


class _Sent:
    """An act on its way."""

    __slots__ = ("frame", "future")

    def __init__(self, frame: bytes, future: asyncio.Future[Answer]) -> None:
        self.frame = frame
        self.future = future


class Effects:
    """One connection to the witness, for any number of concurrent callers on one event loop.

    A lost connection is made again, and what was not answered is sent again with its operation id, so nothing is done
    twice. `timeout_s` bounds the whole of an act, new connections included. Tokens are compared within a `scope`: a
    level's orchestrators are one another's successors, those of another level are not.
    """

    def __init__(self, path: str, *, scope: str = "", timeout_s: float = TIMEOUT_S) -> None:
        self._path = path
        self._scope = scope
        self._timeout_s = timeout_s
        self._waiting: defaultdict[str, deque[_Sent]] = defaultdict(deque)  # by operation id, oldest first
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._why = ""  # the last thing that went wrong
        self._closed = False

    @classmethod
    async def connect(cls, path: str, *, scope: str = "", timeout_s: float = TIMEOUT_S) -> Effects:
        """Connect to the witness at the Unix socket `path`. Raises `WitnessUnavailable` when it cannot in time."""
        effects = cls(path, scope=scope, timeout_s=timeout_s)
        effects._reconnect()
        assert effects._connecting is not None
        try:
            async with asyncio.timeout(timeout_s):
                await effects._connecting
        except TimeoutError:
            await effects.close()
            raise WitnessUnavailable(f"no witness at {path} within {timeout_s:g} s: {effects._why}") from None
        return effects

    async def act(self, workflow: str, step: str, op_id: str, token: int = 0) -> Answer:
        """Have it done, once for each `op_id`; on disk when this returns. Raises `WitnessUnavailable`."""
        if self._closed:
            raise WitnessUnavailable("the connection to the witness was closed")
        loop = asyncio.get_running_loop()
        sent = _Sent(_encode(Act(workflow, step, op_id, token, self._scope)) + b"\n", loop.create_future())
        self._waiting[op_id].append(sent)
        if self._transport is not None:
            self._transport.write(sent.frame)
        else:
            self._reconnect()
        alarm = loop.call_later(self._timeout_s, self._late, sent)
        try:
            return await sent.future
        finally:
            alarm.cancel()

    async def close(self) -> None:
        """Hang up. Acts that were not answered raise `WitnessUnavailable`."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._transport is not None:
            self._transport.close()
        self._fail("the connection to the witness was closed")

    def _late(self, sent: _Sent) -> None:
        # The entry stays in its queue: its answer may still come, and must not be taken for the next one's.
        if not sent.future.done():
            why = f": {self._why}" if self._why and self._transport is None else ""
            sent.future.set_exception(WitnessUnavailable(f"no answer of the witness in {self._timeout_s:g} s{why}"))

    def _fail(self, message: str) -> None:
        waiting, self._waiting = self._waiting, defaultdict(deque)
        for queue in waiting.values():
            for sent in queue:
                if not sent.future.done():
                    sent.future.set_exception(WitnessUnavailable(message))

    def _reconnect(self) -> None:
        if self._connecting is None and not self._closed:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        """Try until it works; those who wait have their own time limits."""
        back_off_s = BACK_OFF_FIRST_S
        while True:
            try:
                await asyncio.get_running_loop().create_unix_connection(lambda: _Wire(self), self._path)
                break
            except OSError as error:
                self._why = str(error)
            await asyncio.sleep(back_off_s)
            back_off_s = min(2 * back_off_s, BACK_OFF_MAX_S)
        self._connecting = None

    def connected(self, transport: asyncio.Transport) -> None:
        """Send again what was not answered; for the connection only."""
        self._transport = transport
        unanswered = [sent for queue in self._waiting.values() for sent in queue if not sent.future.done()]
        self._waiting.clear()
        for sent in unanswered:
            self._waiting[msgspec.json.decode(sent.frame, type=Act).op_id].append(sent)
        if unanswered:
            transport.write(b"".join(sent.frame for sent in unanswered))

    def lost(self, why: str) -> None:
        """The connection ended; for the connection only."""
        self._transport = None
        self._why = why
        if any(not sent.future.done() for queue in self._waiting.values() for sent in queue):
            self._reconnect()

    def heard(self, line: bytes) -> None:
        """An answer; for the connection only."""
        try:
            frame = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return self._fail(f"what answers at {self._path} is no witness: {error}")
        if isinstance(frame, Unable):
            return self._fail(frame.message)
        queue = self._waiting.get(frame.op_id)
        if not queue:
            return None
        future = queue.popleft().future
        if not queue:
            del self._waiting[frame.op_id]
        if not future.done():
            future.set_result(frame.answer)
        return None


class _Wire(asyncio.Protocol):
    """Cuts what comes into lines."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._effects.connected(cast(asyncio.Transport, transport))  # uvloop's is one without saying so

    def connection_lost(self, error: Exception | None) -> None:
        self._effects.lost(str(error) if error else "the witness hung up")

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._effects.heard(line)
