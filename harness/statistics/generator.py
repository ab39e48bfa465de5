"""The generator self-check: was the load process quick enough for its measurements to be about the target?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

import msgspec

from harness.observation.observation import LoadCheck, LoadWorker, ResourceSample
from harness.scenario.units import render
from harness.statistics.metrics import Metric
from harness.statistics.resources import Window, cpu_share
from harness.statistics.tally import LevelTally

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


class LoadProcess(msgspec.Struct, frozen=True, kw_only=True):
    """One of several load processes within measure; None where it told nothing."""

    name: str
    cpu: float | None  # share of a core, on average
    hub_lag_max_s: float | None
    late_max_s: float | None  # of its starts, the latest
    clock_offset_s: float  # ahead of the master's
    clock_error_s: float
    lost: str = ""  # why, if it was


class Generator(msgspec.Struct, frozen=True):
    """What the load process was like within measure; None where nobody looked. Of several, the worst of each."""

    cpu: float | None  # share of a core
    hub_lag_max_s: float | None
    lateness_p99_s: float | None
    at_cap: bool  # all users were busy at some time, so arrivals waited for `in_flight_max`
    workers: tuple[LoadProcess, ...] = ()  # of several


def check_generator(
    found: Sequence[ResourceSample],
    tally: LevelTally,
    window: Window | None,
    metrics: Mapping[str, Metric],
    in_flight_max: int | None,
) -> Generator:
    """`in_flight_max` is the cap on users of an open or burst load; None for closed load, which starts on its own.
    Of several load processes each has its share of it.
    """
    within = [check for check in tally.checks if window is not None and window.holds(check.at)]
    crew = tuple(_load_process(line, within) for line in sorted(tally.workers.values(), key=lambda line: line.index))
    if window is None:
        return Generator(cpu=None, hub_lag_max_s=None, lateness_p99_s=None, at_cap=False, workers=crew)
    uses = [(sample.at, sample.load) for sample in found if sample.load is not None]
    cpus = [cpu_share(uses, window).value, *(each.cpu for each in crew)]
    cap = None if in_flight_max is None else max(1, in_flight_max // max(1, len(crew)))
    return Generator(
        cpu=max((cpu for cpu in cpus if cpu is not None), default=None),
        hub_lag_max_s=max((check.hub_lag_max_s for check in within), default=None),
        lateness_p99_s=metrics["lateness_p99"].value,
        at_cap=cap is not None and any(check.in_flight >= cap for check in within),
        workers=crew,
    )


def _load_process(line: LoadWorker, within: Sequence[LoadCheck]) -> LoadProcess:
    """What one of several told of itself."""
    own = [check for check in within if check.worker == line.name]
    cpus = [check.cpu for check in own if check.cpu is not None]
    return LoadProcess(
        name=line.name,
        cpu=fmean(cpus) if cpus else None,
        hub_lag_max_s=max((check.hub_lag_max_s for check in own), default=None),
        late_max_s=max((check.late_max_s for check in own), default=None),
        clock_offset_s=line.offset_s,
        clock_error_s=line.offset_error_s,
        lost=line.lost,
    )


def contamination(generator: Generator, metrics: Mapping[str, Metric]) -> tuple[str, ...]:
    """Why the level's latencies may be the generator's, a sentence each; empty when they are not."""
    reasons = []
    if generator.cpu is None and metrics["arrivals"].value:
        reasons.append("nobody watched the load process: resources.jsonl holds no sample of it within measure")
    cpu, lag, late = generator.cpu, generator.hub_lag_max_s, generator.lateness_p99_s
    if cpu is not None and cpu > CPU_SHARE_MAX:
        busiest = max(generator.workers, key=lambda each: each.cpu or 0.0, default=None)
        which = f" {busiest.name}" if busiest is not None and busiest.cpu == cpu else ""
        reasons.append(f"the load process{which} used {cpu:.0%} of a core (at most {CPU_SHARE_MAX:.0%} is sound)")
    lag_max_s = max(HUB_LAG_FLOOR_S, HUB_LAG_SHARE_MAX * (metrics["p95"].value or 0.0))
    if lag is not None and lag > lag_max_s:
        reasons.append(f"the load process stalled for {_seconds(lag)} (at most {_seconds(lag_max_s)} is sound)")
    late_max_s = max(LATENESS_FLOOR_S, LATENESS_SHARE_MAX * (metrics["p99"].value or 0.0))
    if late is not None and late > late_max_s:
        why = ", with all users of load.in_flight_max busy" if generator.at_cap else ""
        reasons.append(
            f"1 % of starts were {_seconds(late)} late or more{why} (at most {_seconds(late_max_s)} is sound)"
        )
    lost = [each for each in generator.workers if each.lost]
    reasons += [f"load process {each.name} was lost: {each.lost}; its part was not driven to the end" for each in lost]
    shed = (metrics["not_started"].value or 0) - (metrics["rejected_count"].value or 0)
    if shed and not lost:
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
