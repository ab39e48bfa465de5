"""The last calls of a circuit breaker: how many there were, failed and were slow, by number or by time."""

from __future__ import annotations

from collections import deque

GRAINS = 100
"""Calls within this fraction of a time window are kept as one sum, so that its memory does not follow the load; they
leave it together, up to 1 % of the window early."""


class CountWindow:
    """The last `size` calls."""

    __slots__ = ("_marks", "_size", "calls", "failures", "slow")

    def __init__(self, size: int) -> None:
        self.calls = self.failures = self.slow = 0
        self._size = size
        self._marks: deque[tuple[bool, bool]] = deque()

    def add(self, now: float, *, failed: bool, slow: bool) -> None:
        """A call ended now."""
        if self.calls == self._size:
            old_failed, old_slow = self._marks.popleft()
            self.failures -= old_failed
            self.slow -= old_slow
        else:
            self.calls += 1
        self._marks.append((failed, slow))
        self.failures += failed
        self.slow += slow


class TimeWindow:
    """The calls that ended in the last `size_s` seconds, as of the last one."""

    __slots__ = ("_grain_s", "_grains", "_size_s", "calls", "failures", "slow")

    def __init__(self, size_s: float) -> None:
        self.calls = self.failures = self.slow = 0
        self._size_s = size_s
        self._grain_s = size_s / GRAINS
        self._grains: deque[list[float]] = deque()  # when the first call of it ended, and the three counts

    def add(self, now: float, *, failed: bool, slow: bool) -> None:
        """A call ended now."""
        grains = self._grains
        while grains and grains[0][0] <= now - self._size_s:
            _, calls, failures, slows = grains.popleft()
            self.calls -= int(calls)
            self.failures -= int(failures)
            self.slow -= int(slows)
        if not grains or now - grains[-1][0] >= self._grain_s:
            grains.append([now, 0, 0, 0])
        last = grains[-1]
        last[1] += 1
        last[2] += failed
        last[3] += slow
        self.calls += 1
        self.failures += failed
        self.slow += slow
