"""Observations so far, for people watching: counts and percentiles for the progress line, and Locust's own statistics.

Nothing is judged by these: both round, the progress line to 1 %, Locust to two digits.
"""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Protocol

from locust.stats import RequestStats, StatsEntry, StatsError, bucket_response_time

from harness.load.control import Progress
from harness.observation.observation import Observation, Outcome, Phase

BUCKETS_PER_E = 100  # a bucket is 1 % wide: exp(1/100)
METHOD = "RUN"  # what Locust's table shows where it shows GET or POST


class Ending(Protocol):
    """What is asked here of an observation."""

    @property
    def phase(self) -> Phase: ...
    @property
    def intended(self) -> float: ...
    @property
    def ended(self) -> float | None: ...
    @property
    def outcome(self) -> Outcome: ...


def latency_s(observation: Ending) -> float | None:
    """From the intended start; None for an arrival that was not started."""
    if observation.ended is None or observation.outcome is Outcome.NOT_STARTED:
        return None
    return observation.ended - observation.intended


class Tally:
    """Counts and a log-linear histogram of one phase."""

    def __init__(self) -> None:
        self.ok = 0
        self.failed = 0  # failed + unknown
        self.unknown = 0  # of these
        self.not_started = 0
        self._buckets: Counter[int] = Counter()

    def add(self, observation: Ending) -> None:
        """One ended arrival."""
        took_s = latency_s(observation)
        if took_s is None:
            self.not_started += 1
            return
        if observation.outcome is Outcome.OK:
            self.ok += 1
        else:
            self.failed += 1
            self.unknown += observation.outcome is Outcome.UNKNOWN
        self._buckets[math.floor(math.log(max(took_s, 1e-9)) * BUCKETS_PER_E)] += 1

    def quantile_s(self, share: float) -> float | None:
        """The latency that `share` of the ended workflows did not exceed, to 1 %; None before the first."""
        rank = share * self._buckets.total()
        seen = 0
        for bucket, count in sorted(self._buckets.items()):
            seen += count
            if seen >= rank:
                return math.exp((bucket + 0.5) / BUCKETS_PER_E)
        return None


class Tallies:
    """One for each phase that arrivals belong to."""

    def __init__(self) -> None:
        self._by_phase = {Phase.WARMUP: Tally(), Phase.MEASURE: Tally()}

    def add(self, ending: Ending) -> None:
        """One ended arrival."""
        self._by_phase[ending.phase].add(ending)

    def progress(self, at: float, phase: Phase, *, users: int, in_flight: int) -> Progress:
        """For the person watching: of measure, or of warm-up until that begins."""
        tally = self._by_phase[Phase.WARMUP if phase is Phase.WARMUP else Phase.MEASURE]
        return Progress(
            at=at,
            phase=phase,
            users=users,
            in_flight=in_flight,
            ok=tally.ok,
            failed=tally.failed,
            not_started=tally.not_started,
            unknown=tally.unknown,
            p50_s=tally.quantile_s(0.50),
            p95_s=tally.quantile_s(0.95),
            p99_s=tally.quantile_s(0.99),
        )


def feed_locust(stats: RequestStats, ended: Sequence[Observation]) -> None:
    """Add what ended to Locust's statistics in one pass, at a fraction of what its request event costs for each."""
    by_kind: defaultdict[str, list[Observation]] = defaultdict(list)
    for observation in ended:
        by_kind[observation.kind].append(observation)
    now = time.time()
    for kind, observations in by_kind.items():
        times_ms = [round(took_s * 1e3) for took_s in map(latency_s, observations) if took_s is not None]
        failures = Counter(seen.error_class for seen in observations if seen.outcome is not Outcome.OK)
        for entry in (stats.get(kind, METHOD), stats.total):
            _add(entry, len(observations), times_ms, failures.total(), now)
        for error_class, occurrences in failures.items():
            key = StatsError.create_key(METHOD, kind, error_class)
            if key not in stats.errors:
                stats.errors[key] = StatsError(METHOD, kind, error_class)
            stats.errors[key].occurrences += occurrences


def _add(entry: StatsEntry, requests: int, times_ms: Sequence[int], failures: int, now: float) -> None:
    """What `StatsEntry.log` and `log_error` do for each request, once for all of them."""
    second = int(now)
    if entry.use_response_times_cache and entry.last_request_timestamp and second > int(entry.last_request_timestamp):
        entry._cache_response_times(second - 1)
    entry.num_requests += requests
    entry.num_none_requests += requests - len(times_ms)
    entry.num_reqs_per_sec[second] += requests
    entry.num_failures += failures
    if failures:
        entry.num_fail_per_sec[second] += failures
    entry.last_request_timestamp = now
    if times_ms:
        low = min(times_ms)
        entry.total_response_time += sum(times_ms)
        entry.min_response_time = low if entry.min_response_time is None else min(entry.min_response_time, low)
        entry.max_response_time = max(entry.max_response_time, max(times_ms))
        for time_ms, count in Counter(times_ms).items():
            entry.response_times[bucket_response_time(time_ms)] += count
