"""How long bytes stay in the proxy when no toxic acts on them: measured while it works, of every sixteenth chunk."""

from __future__ import annotations

import time
from collections import deque
from typing import ClassVar

import msgspec

KEPT = 4096


class OverheadRead(msgspec.Struct, frozen=True):
    """As the API answers: from when the loop handed a chunk over until it had written it, of the last `KEPT`.

    An upper bound, as the loop is asked in its next turn. The kernel's part is in neither: it waits for us to wake up.
    """

    n: int  # chunks that were measured since the start
    p50_us: float | None
    p99_us: float | None


class Overhead:
    """Of all proxies of the process."""

    MASK: ClassVar[int] = 15  # a chunk is measured where this masks its number to nothing

    def __init__(self) -> None:
        self.chunks = 0
        self._n = 0
        self._last: deque[int] = deque(maxlen=KEPT)  # ns

    def passed(self, came_ns: int) -> None:
        """A chunk that came then (perf counter) has been written."""
        self._n += 1
        self._last.append(time.perf_counter_ns() - came_ns)

    def read(self) -> OverheadRead:
        """Now."""
        ordered = sorted(self._last)
        if not ordered:
            return OverheadRead(0, None, None)
        p50, p99 = (ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000.0 for share in (0.5, 0.99))
        return OverheadRead(self._n, p50, p99)
