"""Percentiles, shares and time blocks of workflows: from columns to metrics with exact bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.statistics.metrics import PERCENTILES, TOO_FEW_BELOW, Metric
from harness.statistics.quantile import Floats, placed, quantile, quantile_bounds, samples, share_bounds
from harness.statistics.resources import Window
from harness.statistics.tally import NOT_STARTED, OK, UNKNOWN, Rows, outcome

BLOCKS = 20
"""Time blocks a level. Bursts ruin a quantile of the whole level (its sd is 11.8 % for p95 at 2,000 workflows), the
median over 20 block quantiles hardly (3.2 %): comparison with history is made of blocks."""


class Block(msgspec.Struct, frozen=True):
    """A twentieth of a measure phase, by intended start; percentiles in s, None where nothing ended."""

    start: float  # s from t0
    arrivals: int
    ok: int
    n: int  # that ended: what the percentiles are over
    p50: float | None
    p95: float | None
    p99: float | None
    disturbed: float | None = None  # share of the machine that others took, steal included; None: nobody watched


def share_metric(count: int, n: int) -> Metric:
    """`count` of `n`, with Clopper-Pearson bounds."""
    if n == 0:
        return Metric(value=None)
    lower, upper = share_bounds(count, n)
    return Metric(value=count / n, n=n, lower=lower, upper=upper)


def percentiles(
    values: NDArray[np.float64], open_ended: NDArray[np.bool_] | None = None, prefix: str = ""
) -> dict[str, Metric]:
    """p50, p95 and p99 of `values` (s; NaN is left out). `open_ended` marks those known only as lower bounds.

    The lower bound of a percentile takes those at what is known of them, the upper one as endless.
    """
    ordered = placed(values, PERCENTILES.values())
    longest = ordered
    if open_ended is not None and open_ended.any():
        longest = placed(np.where(open_ended & ~np.isnan(values), np.inf, values), PERCENTILES.values())
    return {f"{prefix}{name}": _percentile(name, share, ordered, longest) for name, share in PERCENTILES.items()}


def _percentile(name: str, share: float, ordered: NDArray[np.float64], longest: NDArray[np.float64]) -> Metric:
    n = len(ordered)
    if n == 0:
        return Metric(value=None)
    lower, _ = quantile_bounds(ordered, share)
    _, upper = quantile_bounds(longest, share)
    value = quantile(ordered, share)
    return Metric(
        value=value,
        n=n,
        lower=lower,
        upper=upper if upper is not None and np.isfinite(upper) else None,
        too_few=n < TOO_FEW_BELOW.get(name, 0),
        at_least=quantile(longest, share) > value,
    )


def _sent(arrivals: Rows) -> Rows:
    """Workflows that have a latency: all but those that were never started."""
    chosen = outcome(arrivals) != NOT_STARTED
    return arrivals if chosen.all() else arrivals[chosen]


def latency_percentiles(arrivals: Rows) -> dict[str, Metric]:
    """p50, p95 and p99 from the intended start. What is `unknown` ended, if ever, after we stopped waiting."""
    sent = _sent(arrivals)
    return percentiles(sent["ended"] - sent["intended"], outcome(sent) == UNKNOWN)


def other_percentiles(arrivals: Rows) -> dict[str, Metric]:
    """The same time taken apart: from the real start; the target's own; its queue's; how late we started."""
    sent = _sent(arrivals)
    return {
        **percentiles(sent["ended"] - sent["started"], outcome(sent) == UNKNOWN, "service_"),
        **percentiles(sent["target_ended"] - sent["target_accepted"], prefix="target_"),
        **percentiles(sent["target_started"] - sent["target_accepted"], prefix="admission_"),
        **percentiles(sent["started"] - sent["intended"], prefix="lateness_"),
    }


def deciles(arrivals: Rows) -> dict[str, float]:
    """p10, p20 … p90, p95 and p99 from the intended start, in s; what never ended counts with what is known of it."""
    sent = _sent(arrivals)
    ordered = samples(sent["ended"] - sent["intended"])
    return (
        {f"p{share}": quantile(ordered, share / 100) for share in (*range(10, 100, 10), 95, 99)} if len(ordered) else {}
    )


def block_edges(window: Window) -> Floats:
    """Where the BLOCKS parts of a measure phase begin and end, in s from t0."""
    return np.linspace(window.start, window.end, BLOCKS + 1)


def block_of(at: Floats, edges: Floats) -> NDArray[np.int64]:
    """The block of each moment; what lies outside belongs to the nearest."""
    return np.clip(np.searchsorted(edges, at, side="right") - 1, 0, len(edges) - 2)


def blocks(arrivals: Rows, window: Window, disturbed: Sequence[float | None] = ()) -> tuple[Block, ...]:
    """The measure phase in BLOCKS parts of the same length; `disturbed` by block, where somebody watched."""
    edges = block_edges(window)
    place = block_of(arrivals["intended"], edges)
    shares = disturbed or [None] * BLOCKS
    return tuple(_block(float(edges[index]), arrivals[place == index], shares[index]) for index in range(BLOCKS))


def _block(start: float, arrivals: Rows, disturbed: float | None) -> Block:
    sent = _sent(arrivals)
    found = _quantiles(sent["ended"] - sent["intended"])
    ok = int(np.sum(outcome(arrivals) == OK))
    return Block(start=start, arrivals=len(arrivals), ok=ok, disturbed=disturbed, **found)


def step_blocks(steps: Rows, window: Window) -> tuple[Block, ...]:
    """One agent's steps, of workflows of measure, by the block in which they were asked for."""
    edges = block_edges(window)
    place = block_of(steps["queued"], edges)
    took = steps["ended"] - steps["started"]
    parts = [_quantiles(took[place == index]) for index in range(BLOCKS)]
    return tuple(Block(start=float(edges[i]), arrivals=part["n"], ok=part["n"], **part) for i, part in enumerate(parts))


def _quantiles(values: Floats) -> dict[str, Any]:
    """n, p50, p95 and p99 of values; a percentile of none is None."""
    ordered = samples(values)
    found = {name: quantile(ordered, share) if len(ordered) else None for name, share in PERCENTILES.items()}
    return {"n": len(ordered), **found}
