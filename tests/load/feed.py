"""Feeds Locust's statistics in bulk and by its own event, side by side, and the counts for the person watching; prints
both, and those beside what they are of, as JSON.

In a process of its own, because importing Locust patches the process.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from random import Random
from typing import Any

import msgspec
from locust.stats import RequestStats

from harness.load.tally import METHOD, Tallies, feed_locust, latency_s
from harness.observation.observation import Observation, Outcome, Phase


def shown(stats: RequestStats) -> dict[str, Any]:
    """Everything that Locust's tables are made from."""
    entries = {**{name: entry for (name, _), entry in stats.entries.items()}, "total": stats.total}
    return {
        "entries": {
            name: [
                entry.num_requests, entry.num_none_requests, entry.num_failures, entry.total_response_time,
                entry.min_response_time, entry.max_response_time, sorted(entry.response_times.items()),
                sum(entry.num_reqs_per_sec.values()), sum(entry.num_fail_per_sec.values()),
            ]
            for name, entry in sorted(entries.items())
        },
        "errors": sorted((e.name, str(e.error), e.occurrences) for e in stats.errors.values()),
    }  # fmt: skip


def main() -> None:
    rng = Random(4)
    observations = [
        Observation(
            id=str(n), kind=rng.choice("ab"), level="1", phase=Phase.MEASURE, seed=1, intended=0.0, started=0.0,
            ended=rng.lognormvariate(-2, 1.5), outcome=rng.choice(list(Outcome)),
        )
        for n in range(3000)
    ]  # fmt: skip
    bulk, single = RequestStats(), RequestStats()
    feed_locust(bulk, observations[:1000])
    feed_locust(bulk, [])
    feed_locust(bulk, observations[1000:])
    for seen in observations:
        took_s = latency_s(seen)
        single.log_request(METHOD, seen.kind, None if took_s is None else round(took_s * 1e3), 0)
        if seen.outcome is not Outcome.OK:
            single.log_error(METHOD, seen.kind, seen.error_class)
    tallies = Tallies()
    for seen in observations:
        tallies.add(seen)
    progress = msgspec.to_builtins(tallies.progress(1.0, Phase.DRAIN, users=3, in_flight=2))
    times_s = sorted(took_s for took_s in map(latency_s, observations) if took_s is not None)
    truth = {"outcomes": Counter(seen.outcome for seen in observations), "times_s": times_s}
    json.dump([shown(bulk), shown(single), progress, truth], sys.stdout)


if __name__ == "__main__":
    main()
