"""The generator self-check: was the load process quick enough for its measurements to be about the target?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from harness.observation.observation import LoadCheck, ResourceSample
from harness.scenario.units import render
from harness.statistics.metrics import Metric
from harness.statistics.resources import Window, cpu_share

CPU_SHARE_MAX = 0.8
"""One thread drives all users. At 80 % of its core work already queues four deep (M/M/1: 0.8 / 0.2), and what waits
there reads as latency of the target."""

HUB_LAG_FLOOR_S = 0.25
HUB_LAG_SHARE_MAX = 0.1
"""A stall of the loop delays every reply that came during it, up to its length. A single one of at most this share of
the p95, or of this floor (a garbage collection, a neighbour's burst), moves no percentile that a limit is set on."""

LATENESS_FLOOR_S = 0.02
LATENESS_SHARE_MAX = 0.05
"""Latency runs from the intended start, so a late start is in it. Up to this share of the p99 it is noise."""


PROVIDER_CPU_MAX = 0.9
"""One loop answers all calls to models: of a core that is this busy, what it planned comes late."""


class Generator(msgspec.Struct, frozen=True):
    """What the load process was like within measure; None where nobody looked."""

    cpu: float | None  # share of a core
    hub_lag_max_s: float | None
    lateness_p99_s: float | None
    at_cap: bool  # all users were busy at some time, so arrivals waited for `in_flight_max`


def check_generator(
    found: Sequence[ResourceSample],
    checks: Sequence[LoadCheck],
    window: Window | None,
    metrics: Mapping[str, Metric],
    in_flight_max: int | None,
) -> Generator:
    """`in_flight_max` is the cap on users of an open or burst load; None for closed load, which starts on its own."""
    if window is None:
        return Generator(cpu=None, hub_lag_max_s=None, lateness_p99_s=None, at_cap=False)
    uses = [(sample.at, sample.load) for sample in found if sample.load is not None]
    within = [check for check in checks if window.holds(check.at)]
    return Generator(
        cpu=cpu_share(uses, window).value,
        hub_lag_max_s=max((check.hub_lag_max_s for check in within), default=None),
        lateness_p99_s=metrics["lateness_p99"].value,
        at_cap=in_flight_max is not None and any(check.in_flight >= in_flight_max for check in within),
    )


def contamination(generator: Generator, metrics: Mapping[str, Metric]) -> tuple[str, ...]:
    """Why the level's latencies may be the generator's, a sentence each; empty when they are not."""
    reasons = []
    if generator.cpu is None and metrics["arrivals"].value:
        reasons.append("nobody watched the load process: resources.jsonl holds no sample of it within measure")
    cpu, lag, late = generator.cpu, generator.hub_lag_max_s, generator.lateness_p99_s
    if cpu is not None and cpu > CPU_SHARE_MAX:
        reasons.append(f"the load process used {cpu:.0%} of a core (at most {CPU_SHARE_MAX:.0%} is sound)")
    lag_max_s = max(HUB_LAG_FLOOR_S, HUB_LAG_SHARE_MAX * (metrics["p95"].value or 0.0))
    if lag is not None and lag > lag_max_s:
        reasons.append(f"the load process stalled for {_seconds(lag)} (at most {_seconds(lag_max_s)} is sound)")
    late_max_s = max(LATENESS_FLOOR_S, LATENESS_SHARE_MAX * (metrics["p99"].value or 0.0))
    if late is not None and late > late_max_s:
        why = ", with all users of load.in_flight_max busy" if generator.at_cap else ""
        reasons.append(
            f"1 % of starts were {_seconds(late)} late or more{why} (at most {_seconds(late_max_s)} is sound)"
        )
    shed = (metrics["not_started"].value or 0) - (metrics["rejected_count"].value or 0)
    if shed:
        reasons.append(
            f"{shed:.0f} arrivals were never sent: load.in_flight_max users were all busy; raise it to be sure"
        )
    return (*reasons, *_provider(metrics))


def _provider(metrics: Mapping[str, Metric]) -> Iterator[str]:
    """Why calls to models took longer than they were meant to."""
    cpu, late, call = (
        metrics[name].value if name in metrics else None for name in ("llm_cpu", "llm_lateness_p99", "llm_p50")
    )
    if cpu is not None and cpu >= PROVIDER_CPU_MAX:
        yield f"the provider of models used {cpu:.0%} of a core (below {PROVIDER_CPU_MAX:.0%} is sound)"
    late_max_s = max(LATENESS_FLOOR_S, LATENESS_SHARE_MAX * (call or 0.0))
    if late is not None and late > late_max_s:
        yield (
            f"the simulator itself was late: 1 % of its answers ended {_seconds(late)} after they should have, or more"
            f" (at most {_seconds(late_max_s)} is sound)"
        )


def _seconds(value: float) -> str:
    return render(value, "duration")
