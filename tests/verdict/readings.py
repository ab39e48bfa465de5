"""Readings for tests of the gate: runs as they would be, from a few numbers."""

from __future__ import annotations

import numpy as np

from harness.statistics.reading import AgentReading, BlockReading, Reading

BLOCKS = 20


def reading(
    scale: float = 1.0,
    *,
    seed: int = 1,
    n: int = 3000,
    ok: int | None = None,
    tail: float = 1.0,
    cpu_s: float = 0.01,
    throughput: float = 80.0,
    data_s: float = 0.03,
    noise: float = 0.01,
    disturbed: float = 0.0,
    disturbed_blocks: int = 0,
    measure_s: float = 30.0,
    rss_slope: float | None = None,
) -> Reading:
    """A level whose p50 is about 50 ms times `scale`; `tail` stretches p99 alone; `noise` is between blocks."""
    rng = np.random.default_rng(seed)
    blocks = []
    for index in range(BLOCKS):
        p50, p95, p99 = (value * scale * float(np.exp(noise * rng.normal())) for value in (0.05, 0.08, 0.1 * tail))
        share = disturbed if index < disturbed_blocks else 0.0
        blocks.append(BlockReading(n // BLOCKS, n // BLOCKS, p50, p95, p99, share))
    return Reading(
        arrivals=n,
        ok=n if ok is None else ok,
        measure_s=measure_s,
        blocks=tuple(blocks),
        quantiles={
            **{f"p{share}": 0.05 * scale * (0.8 + share / 250) for share in range(10, 100, 10)},
            "p50": 0.05 * scale,
            "p95": 0.08 * scale,
            "p99": 0.1 * scale * tail,
        },
        values={"cpu_per_workflow": cpu_s, "throughput": throughput, "orchestration_p50": 0.0001},
        rss_slope=rss_slope,
        agents={"data": AgentReading(p50=data_s, p95=data_s * 1.5, busy_s=data_s, wait_s=0.0),
                "triage": AgentReading(p50=0.01, p95=0.02, busy_s=0.01, wait_s=0.0)},
    )  # fmt: skip
