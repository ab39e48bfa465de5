"""`health.jsonl` of a run: how the services answered while the workflows ran, by level."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from harness.observation.health import ANSWER_S
from harness.observation.journal import Damage, read_lines
from harness.observation.observation import HealthSample
from harness.statistics.metrics import PERCENTILES, Metric
from harness.statistics.quantile import Floats, quantile, samples

SERIES_POINTS = 60


class ServiceSeries(msgspec.Struct, frozen=True):
    """The worst answer in each stretch of a level; None where one did not come, 0 where nobody asked."""

    start: float  # s from t0
    step_s: float
    worst_s: tuple[float | None, ...]


def read_health(path: Path, damage: Damage) -> dict[str, list[HealthSample]]:
    """The samples by level, in file order. A run without the file has none."""
    found: defaultdict[str, list[HealthSample]] = defaultdict(list)
    if path.exists():
        for sample in read_lines(path, msgspec.json.Decoder(HealthSample), damage):
            found[sample.level].append(sample)
    return found


def service_metrics(found: Sequence[HealthSample], ended: int = 0) -> dict[str, dict[str, Metric]]:
    """By service: its response times, how much of the time it gave none, the longest such time, and what it carried
    out for each of the `ended` workflows of the level."""
    return {service: _metrics(own) | _commands(own, ended) for service, own in _by_service(found)}


def _commands(found: Sequence[HealthSample], ended: int) -> dict[str, Metric]:
    """Seen from the server's side, so that what a client sends again is there, too. A server that started again counts
    from 0; our own questions, one for each sample that was answered, are no workflow's."""
    counted = [sample.commands for sample in found if sample.commands is not None]
    if len(counted) < 2 or not ended:
        return {}
    carried_out = sum((now - before if now >= before else now) - 1 for before, now in pairwise(counted))
    return {"commands": Metric(value=max(0, carried_out) / ended, n=ended)}


def _by_service(found: Sequence[HealthSample]) -> list[tuple[str, list[HealthSample]]]:
    """The samples of each service, by its name."""
    by_service: defaultdict[str, list[HealthSample]] = defaultdict(list)
    for sample in found:
        by_service[sample.service].append(sample)
    return sorted(by_service.items())


def _metrics(found: Sequence[HealthSample]) -> dict[str, Metric]:
    times = samples([math.inf if sample.response_s is None else sample.response_s for sample in found])
    # Neighbouring samples are slow together, so bounds that assume independent ones would claim too much.
    return {
        **{f"response_{name}": _quantile(times, share) for name, share in PERCENTILES.items()},
        "down": Metric(value=_share_down(found), n=len(found)),
        "outage": _longest_outage(found),
    }


def _quantile(times: Floats, share: float) -> Metric:
    """Silence is longer than any answer: a percentile that falls on it is at least as long as we waited."""
    time_s = quantile(times, share)
    return Metric(value=min(time_s, ANSWER_S), n=len(times), at_least=time_s == math.inf)


def _share_down(found: Sequence[HealthSample]) -> float:
    """Of time, not of samples: a silent service is asked less often. A sample speaks until the next one."""
    total = found[-1].at - found[0].at
    if total <= 0:
        return float(found[-1].response_s is None)
    return sum(later.at - sample.at for sample, later in pairwise(found) if sample.response_s is None) / total


def service_series(found: Sequence[HealthSample]) -> dict[str, ServiceSeries]:
    """By service: how it answered as the level went on."""
    return {service: _series(own) for service, own in _by_service(found)}


def _series(found: Sequence[HealthSample]) -> ServiceSeries:
    start = found[0].at
    step_s = max(1.0, (found[-1].at - start) / (SERIES_POINTS - 1))
    worst: list[float | None] = [0.0] * (int((found[-1].at - start) / step_s) + 1)
    for sample in found:
        at = int((sample.at - start) / step_s)
        before = worst[at]
        worst[at] = None if sample.response_s is None or before is None else max(before, sample.response_s)
    return ServiceSeries(start=start, step_s=step_s, worst_s=tuple(worst))


def _longest_outage(found: Sequence[HealthSample]) -> Metric:
    """From the last answer before a silence to the first after it; one that lasts to the end was at least that long."""
    longest, is_open = 0.0, False
    answered_at = found[0].at  # before the first answer nothing is known
    silent = False
    for sample in found:
        ended_at = sample.at + (sample.response_s or 0.0)
        silent = silent or sample.response_s is None
        if silent and ended_at - answered_at >= longest:
            longest, is_open = ended_at - answered_at, sample.response_s is None
        if sample.response_s is not None:
            answered_at, silent = ended_at, False
    return Metric(value=longest, n=len(found), at_least=is_open)
