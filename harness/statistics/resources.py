"""Resource metrics of one level: memory, CPU and the target's own view, from the samples of `resources.jsonl`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from harness.observation.journal import Damage, read_lines
from harness.observation.observation import HostUse, PoolUse, ProcessUse, ResourceSample, StateUse
from harness.statistics.metrics import Metric
from harness.statistics.quantile import quantile, samples
from harness.statistics.slope import step_free_slope

NOTHING = Metric(value=None)
STATE_COUNTS = tuple(name for name in StateUse.__struct_fields__ if name != "provisional")


class Window(NamedTuple):
    """The measure phase of a level, in s from t0."""

    start: float
    end: float

    @property
    def length_s(self) -> float:
        return self.end - self.start

    def holds(self, at: float) -> bool:
        return self.start <= at < self.end


def read_resources(path: Path, damage: Damage) -> dict[str, list[ResourceSample]]:
    """The samples by level, in file order. A run without the file has none."""
    found: defaultdict[str, list[ResourceSample]] = defaultdict(list)
    if path.exists():
        for sample in read_lines(path, msgspec.json.Decoder(ResourceSample), damage):
            found[sample.level].append(sample)
    return found


def increases(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A cumulative reading as it would be if its process had never been started again.

    A reading below the one before is that of a new process, which began at nothing and has grown to it.
    """
    counted, before = 0.0, 0.0
    grown = []
    for at, reading in points:
        counted += reading - before if reading >= before else reading
        before = reading
        grown.append((at, counted))
    return grown


def growth(points: Sequence[tuple[float, float]], window: Window) -> tuple[float, float] | None:
    """How much a cumulative reading grew within the window, and over how many seconds of it there are readings.

    The readings at the window's ends lie on the line between their neighbours. None without two readings around it.
    """
    if len(points) < 2:
        return None
    at, reading = np.array(increases(points), dtype=np.float64).T
    start, end = max(window.start, at[0]), min(window.end, at[-1])
    if end <= start:
        return None
    first, last = np.interp([start, end], at, reading)
    return float(last - first), float(end - start)


def cpu_share(uses: Sequence[tuple[float, ProcessUse]], window: Window) -> Metric:
    """CPU seconds a second of the window; 1 is one core."""
    grown = growth([(at, use.cpu_s) for at, use in uses], window)
    n = _within(uses, window)
    return Metric(value=grown[0] / grown[1], n=n) if grown and n else NOTHING


def process_metrics(found: Sequence[ResourceSample], window: Window | None, ended_in_window: int) -> dict[str, Metric]:
    """Memory, CPU, descriptors, threads and switches of the target's process tree."""
    uses = [(sample.at, sample.target) for sample in found if sample.target is not None]
    metrics = {
        "rss_peak": _largest(use.rss_bytes for _, use in uses),
        "rss_end": Metric(value=uses[-1][1].rss_bytes, n=len(uses)) if uses else NOTHING,
        "uss_peak": _largest(use.uss_bytes for _, use in uses if use.uss_bytes is not None),
        "fds_peak": _largest(use.fds for _, use in uses),
        "threads_peak": _largest(use.threads for _, use in uses),
        "rss_slope": NOTHING,
        "rss_spread": NOTHING,
        "cpu": NOTHING,
        "cpu_per_workflow": NOTHING,
        "switches": NOTHING,
    }
    if window is None:
        return metrics
    warm = [use.rss_bytes for at, use in uses if at >= window.start]
    if warm:
        metrics["rss_spread"] = Metric(value=max(warm) - min(warm), n=len(warm))
    slope = step_free_slope([(at, use.rss_bytes) for at, use in uses], window)
    if slope is not None:
        metrics["rss_slope"] = Metric(value=slope * 60.0, n=len(warm))
    cpu = cpu_share(uses, window)
    metrics["cpu"] = cpu
    if cpu.value is not None and ended_in_window:
        metrics["cpu_per_workflow"] = Metric(value=cpu.value * window.length_s / ended_in_window, n=ended_in_window)
    metrics["switches"] = _switches(uses, window)
    return metrics


def host_metrics(found: Sequence[ResourceSample], window: Window | None) -> dict[str, Metric]:
    """What the target's host told of its event loop and its admission queue."""
    hosts = [(sample.at, sample.host) for sample in found if sample.host is not None]
    lags = samples([lag for at, host in hosts if window and window.holds(at) for lag in host.loop_lags_s])
    return {
        "queue_depth_peak": _largest(max(host.queue_depth, host.queue_peak) for _, host in hosts),
        # Neighbouring ticks are late together, so bounds that assume independent samples would claim too much.
        "loop_lag_p99": Metric(value=quantile(lags, 0.99), n=len(lags)) if len(lags) else NOTHING,
    }


def state_metrics(found: Sequence[ResourceSample]) -> dict[str, Metric]:
    """What the target's stores of state went through, over all of its processes in the level."""
    hosts = [sample.host for sample in found if sample.host is not None]
    uses = [host.state for host in hosts if host.state is not None]
    if not uses:
        return {}
    totals = dict.fromkeys(STATE_COUNTS, 0)
    before: HostUse | None = None
    for host in hosts:
        is_new = before is None or _began_anew(before, host)
        for name in STATE_COUNTS:
            reading: int = getattr(host.state, name, 0)
            totals[name] += reading if before is None or is_new else reading - getattr(before.state, name, 0)
        before = host
    provisional = sum(use.provisional for use in uses)
    return {
        **{name: Metric(value=total, n=len(uses)) for name, total in totals.items()},
        "provisional": Metric(value=provisional / len(uses), n=len(uses)),
    }


def _began_anew(before: HostUse, now: HostUse) -> bool:
    """Whether these are two processes: something that only grows has shrunk."""
    pairs: list[tuple[float, float]] = [(before.accepted, now.accepted), (before.rejected, now.rejected)]
    pairs += [(pool.busy_s, now.pools[name].busy_s) for name, pool in before.pools.items() if name in now.pools]
    pairs += [(getattr(before.state, name, 0), getattr(now.state, name, 0)) for name in STATE_COUNTS]
    return any(reading < earlier for earlier, reading in pairs)


def pool_use(found: Sequence[ResourceSample], window: Window | None) -> dict[str, Metric]:
    """By agent: busy instance seconds / (pool size x seconds), over the window."""
    pools: defaultdict[str, list[tuple[float, PoolUse]]] = defaultdict(list)
    for sample in found:
        for agent, pool in _pools(sample.host):
            pools[agent].append((sample.at, pool))
    return {agent: _use_of(uses, window) for agent, uses in pools.items()} if window else {}


def _pools(host: HostUse | None) -> Iterable[tuple[str, PoolUse]]:
    return host.pools.items() if host is not None else ()


def _use_of(uses: Sequence[tuple[float, PoolUse]], window: Window) -> Metric:
    busy = growth([(at, pool.busy_s) for at, pool in uses], window)
    sizes = [pool.size for at, pool in uses if window.holds(at)]
    if busy is None or not any(sizes):
        return NOTHING
    return Metric(value=busy[0] / (busy[1] * float(np.mean(sizes))), n=len(sizes))


def _switches(uses: Sequence[tuple[float, ProcessUse]], window: Window) -> Metric:
    """Context switches a second. A process that ends takes its count out of the sum: only growth is counted."""
    counted = 0.0
    points = []
    before: float | None = None
    for at, use in uses:
        reading = use.switches_voluntary + use.switches_involuntary
        counted += max(0.0, reading - before) if before is not None else 0.0
        before = reading
        points.append((at, counted))
    grown = growth(points, window)
    n = _within(uses, window)
    return Metric(value=grown[0] / grown[1], n=n) if grown and n else NOTHING


def _within(uses: Sequence[tuple[float, ProcessUse]], window: Window) -> int:
    return sum(window.holds(at) for at, _ in uses)


def _largest(readings: Iterable[float]) -> Metric:
    seen = list(readings)
    return Metric(value=max(seen), n=len(seen)) if seen else NOTHING
