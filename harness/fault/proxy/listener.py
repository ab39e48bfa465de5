"""A listening socket that can refuse for a while without giving its address away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from harness.fault.proxy.address import Address, bound, shown
from harness.fault.proxy.refusal import CANNOT_LISTEN, Refusal

BACKLOG = 4096
ACCEPTED_AT_ONCE = 64
AGAIN_S = 0.5
"""After an accept that failed, for want of file descriptors most likely."""


class Listener:
    """Bound from the beginning, so that its port is known; it refuses until it is open. Raises Refusal."""

    def __init__(self, address: Address, accept: Callable[[], asyncio.Protocol]) -> None:
        self._socket = bound(address)
        self._accept = accept
        self._loop = asyncio.get_running_loop()
        self._taking: set[asyncio.Task[object]] = set()
        self._again: asyncio.TimerHandle | None = None
        self.address: Address = self._socket.getsockname()[:2]
        self.is_open = False

    def open(self) -> None:
        """Take connections. Idempotent. Raises Refusal."""
        if self.is_open:
            return
        try:
            self._socket.listen(BACKLOG)
        except OSError as error:
            raise Refusal(CANNOT_LISTEN, f"on {shown(self.address)}: {error.strerror}") from None
        self._socket.setblocking(False)
        self.is_open = True
        self._watch()

    def refuse(self) -> None:
        """Connecting is refused; the address stays held. Idempotent."""
        if self.is_open:
            self.close()
            self._socket = bound(self.address)

    def close(self) -> None:
        """For good."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self.is_open:
            self._loop.remove_reader(self._socket.fileno())
        self.is_open = False
        self._socket.close()

    def _watch(self) -> None:
        self._again = None
        self._loop.add_reader(self._socket.fileno(), self._take)

    def _take(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                accepted, _ = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:
                self._loop.remove_reader(self._socket.fileno())
                self._again = self._loop.call_later(AGAIN_S, self._watch)
                return
            accepted.setblocking(False)
            task: asyncio.Task[object] = self._loop.create_task(
                self._loop.connect_accepted_socket(self._accept, accepted)
            )
            self._taking.add(task)
            task.add_done_callback(self._took)

    def _took(self, task: asyncio.Task[object]) -> None:
        self._taking.discard(task)
        with contextlib.suppress(OSError, asyncio.CancelledError):  # it went away at once
            task.result()
