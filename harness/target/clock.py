"""The wall clock as the Python code of this process sees it, which can be made to jump.

No time namespace holds CLOCK_REALTIME, and setting the machine's would set everybody's. So what jumps is `time.time`
and `time.time_ns`, looked up where they are called. Not reached: `datetime.now`, code that took one of the two for
itself before, other languages' code, and the servers, which count times to live by clocks of their own.
tests/target/test_clock.py holds that nothing of ours that serves reads a wall clock in another way.
"""

from __future__ import annotations

import asyncio
import time

_TIME, _TIME_NS = time.time, time.time_ns


class WallClock:
    """Right until it jumps; right again when nobody has renewed the jump in time."""

    def __init__(self) -> None:
        self._ends: asyncio.TimerHandle | None = None

    def jump(self, by_s: float, lasts_s: float) -> bool:
        """Be off by `by_s` (s, negative: behind) for `lasts_s` from now on; `lasts_s` 0 sets it right.

        Whether `time.time()` is off by that much now.
        """
        if self._ends is not None:
            self._ends.cancel()
            self._ends = None
        if lasts_s > 0:
            self._ends = asyncio.get_running_loop().call_later(lasts_s, self.set_right)
            shift_ns = round(by_s * 1e9)
            time.time = lambda: _TIME() + by_s
            time.time_ns = lambda: _TIME_NS() + shift_ns
        else:
            self.set_right()
        return abs(time.time() - _TIME() - by_s) < 1.0

    def set_right(self) -> None:
        """The machine's again."""
        time.time, time.time_ns = _TIME, _TIME_NS
