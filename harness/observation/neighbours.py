"""What the whole machine does: CPU that is busy or stolen, and how much of it is the run's own. The rest others take.

Readings are cumulative, so that any two of them bound a stretch of time (`harness/statistics/disturbance.py`).
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from harness.observation.observation import MachineUse

SAMPLE_S = 0.5  # CPU is counted in ticks of 10 ms: a shorter stretch would mostly show those
COST_SHARE_MAX = 0.02  # of a core: where there are so many processes that looking at all takes longer, it is done less
PRESSURE = Path("/proc/pressure/cpu")
_TELLS_STOLEN = sys.platform.startswith("linux")
_BUSY = ("user", "nice", "system", "irq", "softirq")  # `user` holds what guests took; waiting for a disk is idle


def usable_cores() -> frozenset[int]:
    """The cores that this process, and so what it starts, may use."""
    if sys.platform.startswith("linux"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def pressure_s(path: Path = PRESSURE) -> float | None:
    """Seconds in which some task of the machine waited for a core (PSI, `some`); None where the kernel has none."""
    try:
        return int(path.read_text().split("\n", 1)[0].rpartition("total=")[2]) / 1e6
    except (OSError, ValueError):
        return None


class OwnWatch:
    """CPU that some processes and all their descendants took since the first reading, those that ended included.

    A process that is waited for leaves its CPU, and that of the children it waited for, to its parent (times(2):
    cutime, cstime). So the sum over what lives holds children that came and went between two readings, too. It falls
    when CPU leaves the tree: with an orphan, a child of a parent that ignores SIGCHLD, or any child where the kernel
    keeps no such account (macOS). Only growth is counted, so that costs the growth of one reading, no more.
    """

    def __init__(self, roots: Iterable[int]) -> None:
        self._roots = tuple(dict.fromkeys(roots))
        self._known: dict[int, psutil.Process] = {}
        self._before: float | None = None
        self._total_s = 0.0

    @property
    def pids(self) -> frozenset[int]:
        """Those that lived at the last reading."""
        return frozenset(self._known)

    def total_s(self) -> float:
        """Reads the parent of every process of the machine, and the times of ours."""
        self._known = self._tree()
        now = 0.0
        # The later born first: one that ends while we look is missed until the next reading, not counted twice.
        for _, process in sorted(self._known.items(), reverse=True):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                times = process.cpu_times()
                reaped = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
                now += times.user + times.system + reaped
        if self._before is not None:
            self._total_s += max(0.0, now - self._before)
        self._before = now
        return self._total_s

    def _tree(self) -> dict[int, psutil.Process]:
        """Everything below the roots, and what once was and lives: a daemon leaves the tree and stays ours."""
        found: dict[int, psutil.Process] = {}
        for root in self._roots:
            if root not in found:
                with contextlib.suppress(psutil.NoSuchProcess):
                    top = psutil.Process(root)
                    found |= {process.pid: process for process in (top, *top.children(recursive=True))}
        left = {pid: process for pid, process in self._known.items() if pid not in found and process.is_running()}
        return found | left


class MachineWatch:
    """Reads the machine when it is due: every SAMPLE_S, or as rarely as COST_SHARE_MAX asks for.

    `roots` are the processes that work for the run with all their descendants. `sees_all` is False when some of the
    run's work is done where it cannot be seen (a server in a container, a black box without [watch]): then nobody
    can tell others' CPU from the run's, and only what is stolen is known.
    """

    def __init__(self, roots: Iterable[int], *, sees_all: bool = True) -> None:
        self._own = OwnWatch(roots) if sees_all else None
        self._cores = usable_cores()
        self._next = 0.0

    def sample(self, now: float) -> MachineUse | None:
        """None when it is not due; `now` is monotonic, s."""
        if now < self._next:
            return None
        began = time.thread_time()
        found = self._read()
        self._next = now + max(SAMPLE_S, (time.thread_time() - began) / COST_SHARE_MAX)
        return found

    def _read(self) -> MachineUse:
        # The machine before and after the processes: looking at those takes milliseconds, and more when it is busy.
        before = self._cores_use()
        own_s = self._own.total_s() if self._own else None
        after = self._cores_use()
        busy_s, stolen_s = (sum(pair) / 2 for pair in zip(before, after, strict=True))
        return MachineUse(
            cores=len(self._cores),
            busy_s=round(busy_s, 3),
            own_s=None if own_s is None else round(own_s, 3),
            stolen_s=round(stolen_s, 3) if _TELLS_STOLEN else None,
            pressure_s=pressure_s(),
        )

    def _cores_use(self) -> tuple[float, float]:
        """Busy and stolen CPU seconds of our cores since the machine began."""
        times = [each for core, each in enumerate(psutil.cpu_times(percpu=True)) if core in self._cores]
        return (
            sum(getattr(each, name, 0.0) for each in times for name in _BUSY),
            sum(getattr(each, "steal", 0.0) for each in times),
        )
