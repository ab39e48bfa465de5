"""Services that do not answer for a while, as a scenario asks: its `[[outage]]` entries, on time."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

from harness.errors import HarnessError
from harness.scenario.scenario import Outage
from harness.service.service import Pausable, Running


class Outages:
    """The outages of one level. `look` is to be called often, `end` at last, which lets everything answer again.

    They keep their own time, in a thread: whoever waits for a target to start would otherwise hold up the end of the
    outage that the target waits for.
    """

    def __init__(self, outages: Sequence[Outage], running: Mapping[str, Running], *, t0: float) -> None:
        self._running = running
        self._t0 = t0
        self._ahead: list[tuple[float, bool, str]] = sorted(  # at one time, what ends comes before what begins
            [(each.at, True, each.service) for each in outages]
            + [(each.at + each.lasts, False, each.service) for each in outages]
        )
        self._paused: set[str] = set()
        self._over = threading.Event()
        self._keeping_time: threading.Thread | None = None
        self._trouble: HarnessError | None = None

    @property
    def active(self) -> tuple[str, ...]:
        """Those that go on now, as `redis.outage`."""
        return tuple(f"{service}.outage" for service in sorted([*self._paused]))

    def begin(self, at: float) -> None:
        """The measure phase began (s from t0)."""
        if self._ahead:
            self._keeping_time = threading.Thread(target=self._keep_time, args=(at,), name="outages", daemon=True)
            self._keeping_time.start()

    def look(self) -> None:
        """Raises what kept an outage from being made, or from being ended: ServiceUnavailable."""
        if self._trouble is not None:
            raise self._trouble

    def end(self) -> None:
        """No further one begins, and whatever is paused goes on. Idempotent. Raises ServiceUnavailable."""
        self._over.set()
        if self._keeping_time is not None:
            self._keeping_time.join()
        for service in tuple(self._paused):
            self._paused.discard(service)
            self._switch(service, False)

    def _keep_time(self, began: float) -> None:
        for due, pauses, service in self._ahead:
            if self._over.wait(max(0.0, self._t0 + began + due - time.monotonic())):
                return
            try:
                self._switch(service, pauses)
            except HarnessError as error:
                self._trouble = error
                return

    def _switch(self, service: str, pauses: bool) -> None:
        running = self._running[service]
        assert isinstance(running, Pausable), "checked before the run: a scenario with outages has such a server"
        if pauses:
            self._paused.add(service)
            running.pause()
        else:
            running.resume()
            self._paused.discard(service)
