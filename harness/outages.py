"""Services that do not answer for a while, as a scenario asks: its `[[outage]]` entries, on time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from harness.scenario.scenario import Outage
from harness.service.service import Pausable, Running


class Outages:
    """The outages of one level. `look` is to be called often, `end` once, which lets everything answer again."""

    def __init__(self, outages: Sequence[Outage], running: Mapping[str, Running], *, t0: float) -> None:
        self._running = running
        self._t0 = t0
        self._ahead: list[tuple[float, Outage, bool]] = sorted(
            [(each.at, each, True) for each in outages] + [(each.at + each.lasts, each, False) for each in outages],
            key=lambda entry: entry[0],
        )
        self._paused: set[str] = set()
        self._began: float | None = None

    def begin(self, at: float) -> None:
        """The measure phase began (s from t0)."""
        self._began = at

    def look(self) -> None:
        """Pause and resume what is due."""
        if self._began is None:
            return
        now = time.monotonic() - self._t0 - self._began
        while self._ahead and self._ahead[0][0] <= now:
            _, outage, begins = self._ahead.pop(0)
            self._switch(outage.service, begins)

    def end(self) -> None:
        """Whatever is paused goes on."""
        for service in tuple(self._paused):
            self._switch(service, False)

    def _switch(self, service: str, pauses: bool) -> None:
        running = self._running[service]
        assert isinstance(running, Pausable), "checked before the run: a scenario with outages has such a server"
        if pauses:
            running.pause()
            self._paused.add(service)
        else:
            running.resume()
            self._paused.discard(service)
