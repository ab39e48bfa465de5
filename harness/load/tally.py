"""Samples so far, for people watching: counts and percentiles for the progress line, and Locust's own statistics.

Nothing is judged by these: both round, the progress line to 1 %, Locust to two digits.
"""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from locust.stats import RequestStats, StatsEntry, StatsError, bucket_response_time

from harness.load.recording import Sample
from harness.observation.observation import Outcome

BUCKETS_PER_E = 100  # a bucket is 1 % wide: exp(1/100)
METHOD = "RUN"  # what Locust's table shows where it shows GET or POST


class Tally:
    """Counts and a log-linear histogram of one phase."""

    def __init__(self) -> None:
        self.ok = 0
        self.failed = 0  # failed + unknown
        self.not_started = 0
        self._buckets: Counter[int] = Counter()

    def add(self, sample: Sample) -> None:
        """One ended arrival."""
        if sample.outcome is Outcome.NOT_STARTED:
            self.not_started += 1
            return
        if sample.outcome is Outcome.OK:
            self.ok += 1
        else:
            self.failed += 1
        if sample.latency_s is not None:
            self._buckets[math.floor(math.log(max(sample.latency_s, 1e-9)) * BUCKETS_PER_E)] += 1

    def quantile_s(self, share: float) -> float | None:
        """The latency that `share` of the ended workflows did not exceed, to 1 %; None before the first."""
        rank = share * self._buckets.total()
        seen = 0
        for bucket, count in sorted(self._buckets.items()):
            seen += count
            if seen >= rank:
                return math.exp((bucket + 0.5) / BUCKETS_PER_E)
        return None


def feed_locust(stats: RequestStats, samples: Sequence[Sample]) -> None:
    """Add samples to Locust's statistics in one pass: a thirtieth of what its request event costs for each."""
    now = time.time()
    by_kind: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_kind[sample.kind].append(sample)
    for kind, of_kind in by_kind.items():
        _add(stats.get(kind, METHOD), of_kind, now)
    if samples:
        _add(stats.total, samples, now)
    failures = Counter((s.kind, s.error_class) for s in samples if s.outcome is not Outcome.OK)
    for (kind, error_class), occurrences in failures.items():
        key = StatsError.create_key(METHOD, kind, error_class)
        if key not in stats.errors:
            stats.errors[key] = StatsError(METHOD, kind, error_class)
        stats.errors[key].occurrences += occurrences


def _add(entry: StatsEntry, samples: Iterable[Sample], now: float) -> None:
    """What `StatsEntry.log` and `log_error` do for each sample, once for all of them."""
    second = int(now)
    if entry.use_response_times_cache and entry.last_request_timestamp and second > int(entry.last_request_timestamp):
        entry._cache_response_times(second - 1)
    failures = requests = 0
    times_ms: list[int] = []
    for sample in samples:
        requests += 1
        failures += sample.outcome is not Outcome.OK
        if sample.latency_s is not None:
            times_ms.append(round(sample.latency_s * 1e3))
    entry.num_requests += requests
    entry.num_none_requests += requests - len(times_ms)
    entry.num_reqs_per_sec[second] += requests
    entry.num_failures += failures
    if failures:
        entry.num_fail_per_sec[second] += failures
    entry.last_request_timestamp = now
    if times_ms:
        entry.total_response_time += sum(times_ms)
        low = min(times_ms)
        entry.min_response_time = low if entry.min_response_time is None else min(entry.min_response_time, low)
        entry.max_response_time = max(entry.max_response_time, max(times_ms))
        for time_ms, count in Counter(times_ms).items():
            entry.response_times[bucket_response_time(time_ms)] += count
