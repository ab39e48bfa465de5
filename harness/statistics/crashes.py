"""`crashes.jsonl` of a run: the ends that the orchestrator was given, how long it took to come back, and those that
never came."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from harness.observation.journal import Damage, read_lines
from harness.observation.observation import CrashFired, HealthSample, ResourceSample
from harness.scenario.scenario import Crash, Outage
from harness.statistics.metrics import Metric
from harness.statistics.tally import CENSORED, UNKNOWN, Rows, flagged, outcome

UNDECLARED_S = 2.5  # from answer to answer: two of the health sampler's time limits, and its pauses
OUTAGE_SEEN_SHARE = 0.5  # of an outage's length: a response that long, or none, shows that it took place


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """One crash and what came after it; times in s after it, None: not within the level."""

    point: str
    how: str  # kill | pause
    at: float  # s from t0
    host_s: float | None  # until the target's host answered again
    in_flight: int  # workflows sent before it and not ended then
    ended_s: float | None  # until all of those had ended


def read_crashes(path: Path, damage: Damage) -> dict[str, list[CrashFired]]:
    """The crashes by level, in file order. A run without the file has none."""
    found: defaultdict[str, list[CrashFired]] = defaultdict(list)
    if path.exists():
        for crash in read_lines(path, msgspec.json.Decoder(CrashFired), damage):
            found[crash.level].append(crash)
    return found


def recoveries(
    fired: Sequence[CrashFired], everything: Rows, without_end: int, found: Sequence[ResourceSample]
) -> tuple[Recovery, ...]:
    """What came after each crash. `without_end` workflows were sent and are in no row: they never ended."""
    hosts = [sample.at for sample in found if sample.host is not None]
    # Stamps of the load process, whose clock is ours: a host that was killed took its own with it.
    never = (outcome(everything) == UNKNOWN) | flagged(everything, CENSORED)
    ended = np.where(never, np.inf, everything["ended"])
    table = []
    for crash in fired:
        was_in_flight = (everything["started"] < crash.at) & (everything["ended"] > crash.at)
        last = float(np.max(ended[was_in_flight], initial=crash.at))
        has_end = np.isfinite(last) and not without_end
        answered = next((at for at in hosts if at > crash.at), None)
        table.append(
            Recovery(
                point=crash.point,
                how=crash.how,
                at=crash.at,
                host_s=answered - crash.at if answered is not None else None,
                in_flight=int(np.sum(was_in_flight)) + without_end,
                ended_s=last - crash.at if has_end else None,
            )
        )
    return tuple(table)


def not_fired(crash: Crash | None, fired: Sequence[CrashFired]) -> Iterator[str]:
    """Declared crashes that never took place, a sentence each."""
    if crash is None:
        return
    declared: Counter[tuple[str, str]] = Counter(("kill", point) for point in crash.kill)
    declared.update(("pause", point) for point in crash.pause)
    for how, point in declared - Counter((line.how, line.point) for line in fired):
        yield f"the fault did not fire: {how} at {point}; give it a longer measure phase, or a shorter crash.every"


def undeclared(declared: Collection[str], services: Mapping[str, Mapping[str, Metric]]) -> Iterator[str]:
    """Services that were away for long though they are not among the `declared`, a sentence each."""
    for service, metrics in services.items():
        away = metrics["outage"]
        if service not in declared and (away.value or 0.0) >= UNDECLARED_S:
            least = "at least " if away.at_least else ""
            yield f"{service} did not answer for {least}{away.value:.1f} s, and no outage of it was declared"


def not_seen(outages: Sequence[Outage], measure_from: float | None, health: Sequence[HealthSample]) -> Iterator[str]:
    """Declared outages that the samples of health do not show, a sentence each."""
    for outage in outages:
        if measure_from is None:
            continue
        begun = measure_from + outage.at
        enough_s = OUTAGE_SEEN_SHARE * outage.lasts
        shows = any(
            sample.response_s is None or sample.response_s >= enough_s
            for sample in health
            if sample.service == outage.service and begun - enough_s <= sample.at <= begun + outage.lasts
        )
        if not shows:
            yield f"the fault did not fire: no sample shows {outage.service} away {outage.at:g} s into measure"
