"""Readings whose time blocks are all alike, so that a test can reckon with pencil and paper."""

from __future__ import annotations

from harness.statistics.comparison import Observed
from harness.statistics.reading import BlockReading, Reading

BLOCKS = 20


def flat(
    p50: float = 1.0,
    p95: float = 2.0,
    p99: float = 3.0,
    *,
    n: int = 2000,
    ok: int | None = None,
    measure_s: float = 600.0,
    rss_slope: float | None = None,
    **values: float,
) -> Reading:
    """A run of `n` workflows; p50, p95 and p99 in s, of the blocks and of the whole; `values` as in `Reading`."""
    blocks = tuple(BlockReading(n // BLOCKS, n // BLOCKS, p50, p95, p99, None) for _ in range(BLOCKS))
    return Reading(
        arrivals=n,
        ok=n if ok is None else ok,
        measure_s=measure_s,
        blocks=blocks,
        quantiles={"p50": p50, "p95": p95, "p99": p99},
        values=values,
        rss_slope=rss_slope,
    )


def observed(p50: float, reference: float | None = None) -> Observed:
    """A run with that median, and one of the reference beside it."""
    return Observed(flat(p50), None if reference is None else flat(reference))
