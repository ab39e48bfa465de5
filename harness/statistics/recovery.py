"""How long a fault went unnoticed, and how long it was felt after it had gone: TTD, TTR, and the backlog it left.

Definitions are FAULTS.md's, section 1. All moments are s from t0 on the run's clock; no answer depends on where t0 is.
A time that was cut off by the end of measurement is told as a lower bound, and no time is ever told as 0 for that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.observation.observation import ResourceSample
from harness.statistics.fault_spans import Episode, FaultSpan
from harness.statistics.metrics import Metric
from harness.statistics.quantile import Floats, quantile, samples
from harness.statistics.resources import NOTHING, Window
from harness.statistics.tally import NOT_STARTED, OK, UNKNOWN, Rows, outcome

WINDOWS_IN_A_ROW = 3
WINDOW_MIN_S = 0.5
"""The length of a window where work ends often; with 1 s, a fault 2 s after the begin of measure has no band, however
many workflows ended, and no more of the windows of an undisturbed load are inside."""
ENDS_MIN = 20
"""Ends that a window holds at the pace of before the fault: fewer have no p95 of their own."""
WINDOWS_MIN = 3
"""Windows before the fault: fewer have no spread."""
BAND_SDS = 3.0
BAND_LEAST = 0.2
"""The band is median -+ 3 standard deviations, and at least 20 % of the median, of the windows before the fault. With
both, and only the side that harms, 2 to 13 % of the windows of an undisturbed load are outside (simulated: open and
closed, 10 to 200 a second, 3 to 10 s before the fault); with both sides it is 2 to 20 %, and TTR mostly that."""
MAD_TO_SD = 1.4826
SMALL_SAMPLE = {3: 1.495, 4: 1.363, 5: 1.206, 6: 1.200, 7: 1.140, 8: 1.129, 9: 1.107}
"""The median absolute deviation of few samples is too small; factors of Croux & Rousseeuw (1992), n / (n - 0.8) from
10 on."""
_ROUNDING = 1e-9  # as many windows fit as are meant

Ending = Literal["recovered", "not_recovered", "unharmed", "unknown"]


class Detection(NamedTuple):
    """The system under test noticed that something is wrong: a breaker opened, a fallback came on."""

    at: float
    what: str


class Elapsed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A length of time in s; `at_least`: it had not ended when measurement did. None: not known, `why` says it."""

    time_s: float | None = None
    at_least: bool = False
    why: str = ""

    @property
    def metric(self) -> Metric:
        """For a limit and a table."""
        return NOTHING if self.time_s is None else Metric(value=self.time_s, n=1, at_least=self.at_least)


class TimeToRecover(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """From `lifted` to the end of the first of three windows in a row with goodput and p95 inside the band.

    recovered: `time_s` is exact to one window, and never less than one. not_recovered: `time_s` is a lower bound.
    unharmed: every window since the bite was inside, so there is nothing to recover from and no time; unknown: `why`.
    """

    ending: Ending
    time_s: float | None = None
    window_s: float | None = None
    why: str = ""

    @property
    def metric(self) -> Metric:
        """For a limit and a table. What was unharmed is not told apart from what recovered within the first window,
        so it is that long at most: a limit on TTR holds for it, and it is not 0."""
        if self.ending == "unharmed":
            return Metric(value=self.window_s, n=1)
        if self.time_s is None:
            return NOTHING
        return Metric(value=self.time_s, n=1, at_least=self.ending == "not_recovered")


class Drain(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The backlog of a fault: workflows that were due before it was lifted, and had not ended then."""

    before: int  # in flight when the fault began: what there is without it
    backlog: int  # in flight when it was lifted
    drained: Elapsed  # from the lift until all of those had ended


class Band(msgspec.Struct, frozen=True):
    """What was usual before the fault, in windows of one length."""

    window_s: float
    windows: int  # that it was made of
    goodput_least: float  # ok ends / s
    p95_most_s: float


@dataclass(frozen=True, slots=True)
class Ends:
    """Workflows in the order of their ends. Latency is s from the intended start; inf: it never ended as far as is
    known (`unknown`), and stands where we stopped waiting."""

    at: Floats
    latency_s: Floats
    is_ok: NDArray[np.bool_]


def ends_of(everything: Rows) -> Ends:
    """The ends of a level's workflows, of all phases; what was never started has none."""
    sent = everything[(outcome(everything) != NOT_STARTED) & ~np.isnan(everything["ended"])]
    sent = sent[np.argsort(sent["ended"], kind="stable")]
    latency_s = np.where(outcome(sent) == UNKNOWN, np.inf, sent["ended"] - sent["intended"])
    return Ends(at=sent["ended"], latency_s=latency_s, is_ok=outcome(sent) == OK)


def fallbacks_on(found: Sequence[ResourceSample]) -> list[Detection]:
    """When the target's host was first seen to serve from memory instead of Redis, each time that it began to."""
    detections, was_on = [], False
    for sample in found:
        if sample.host is not None and sample.host.state is not None:
            is_on = sample.host.state.provisional
            if is_on and not was_on:
                detections.append(Detection(sample.at, "fallback on"))
            was_on = is_on
    return detections


def time_to_detect(span: FaultSpan, detections: Sequence[Detection], until: float) -> Elapsed | None:
    """TTD: from the first confirmed firing to the first detection after it; None: it did not bite, so has none.

    A detection before the bite's line, and not before the earliest moment of the bite, counts from the latter, so that
    the time is never told too short. With several faults at once a detection is counted for each of them: nobody knows
    which one it was of. Until `until` it would have been seen.
    """
    if span.bit is None or span.bit_since is None:
        return None
    first = min((found.at for found in detections if span.bit_since <= found.at < until), default=None)
    if first is not None:
        return Elapsed(time_s=first - (span.bit if first >= span.bit else span.bit_since))
    if span.bit >= until:
        return Elapsed(why="it bit after the end of measurement")
    return Elapsed(time_s=until - span.bit, at_least=True)


def usual_band(ends: Ends, before: Window) -> Band | str:
    """The band of a stretch without any fault, or why it has none.

    Windows end where the fault begins and are max(0.5 s, what 20 ends take) long, so at least three of them need 60
    ends. Where work ends in waves, so that a window without any success would be usual, they are made twice as long
    until it would not.
    """
    n = int(np.sum((ends.at >= before.start) & (ends.at < before.end)))
    needed = f"{WINDOWS_MIN} windows of {ENDS_MIN} ends and {WINDOW_MIN_S:g} s are needed"
    if before.length_s <= 0 or not n:
        return f"nothing ended before the fault: {needed}"
    window_s = max(WINDOW_MIN_S, ENDS_MIN * before.length_s / n)
    if _fit(before.length_s, window_s) < WINDOWS_MIN:
        return f"{n} ends in {before.length_s:.3g} s before the fault: {needed}"
    while (windows := _fit(before.length_s, window_s)) >= WINDOWS_MIN:
        goodput, p95_s = window_values(ends, before.end - windows * window_s, window_s, windows)
        least = _middle_and_reach(goodput, -1)
        if least > 0:
            most_s = _middle_and_reach(p95_s, +1)
            if math.isfinite(most_s):
                return Band(window_s=window_s, windows=windows, goodput_least=least, p95_most_s=most_s)
            return "one in twenty workflows had no known end before the fault, so p95 has no band"
        window_s *= 2
    return "so little ended ok before the fault, or so unevenly, that a goodput of 0 would be inside the band"


def _fit(length_s: float, window_s: float) -> int:
    return math.floor(length_s / window_s + _ROUNDING)


def _middle_and_reach(values: Floats, side: Literal[-1, 1]) -> float:
    """The edge of the band on that side; inf or NaN when there is none."""
    known = values[~np.isnan(values)]
    middle = float(np.median(known))
    if not math.isfinite(middle):
        return math.inf
    n = len(known)
    sd = MAD_TO_SD * SMALL_SAMPLE.get(n, n / (n - 0.8)) * float(np.median(np.abs(known - middle)))
    return middle + side * max(BAND_SDS * sd, BAND_LEAST * middle)


def window_values(ends: Ends, start: float, window_s: float, windows: int) -> tuple[Floats, Floats]:
    """Of each window from `start` on, by the moment of the end: ok ends / s, and p95 in s (NaN: nothing ended)."""
    cuts = np.searchsorted(ends.at, start + window_s * np.arange(windows + 1))
    ok = np.concatenate(([0], np.cumsum(ends.is_ok)))
    goodput = np.diff(ok[cuts]) / window_s
    parts = [samples(ends.latency_s[cuts[i] : cuts[i + 1]]) for i in range(windows)]
    return goodput, np.array([quantile(part, 0.95) if len(part) else math.nan for part in parts])


def _inside(ends: Ends, start: float, windows: int, band: Band) -> NDArray[np.bool_]:
    """Which windows are as good as usual. Better than usual is inside, too: it harms nobody."""
    goodput, p95_s = window_values(ends, start, band.window_s, windows)
    inside: NDArray[np.bool_] = (goodput >= band.goodput_least) & (p95_s <= band.p95_most_s)  # NaN is outside
    return inside


def time_to_recover(ends: Ends, episode: Episode, band: Band | str, until: float) -> TimeToRecover:
    """TTR of faults that were lifted; `until` is the end of load (measure), or the beginning of the next fault.

    Harm is looked for from the bite on: in windows that end after the lift, too, as work ends later than it is hurt.
    """
    if episode.bit_since is None:
        return TimeToRecover(ending="unknown", why="it did not bite")
    if isinstance(band, str):
        return TimeToRecover(ending="unknown", why=band)
    window_s = band.window_s
    if episode.lifted is None or episode.lifted >= until:
        when = "was not lifted" if episode.lifted is None else "was lifted after the end of measure"
        return TimeToRecover(ending="unknown", window_s=window_s, why=f"it {when}")
    after_s = until - episode.lifted
    inside = _inside(ends, episode.lifted, _fit(after_s, window_s), band)
    reach = min(episode.lifted + window_s, until) - episode.bit_since
    was_usual = bool(_inside(ends, episode.bit_since, _fit(reach, window_s), band).all())
    first = _first_run(inside)
    if first is not None:
        if was_usual and first == 0:
            return TimeToRecover(ending="unharmed", window_s=window_s)
        return TimeToRecover(ending="recovered", time_s=(first + 1) * window_s, window_s=window_s)
    if was_usual and inside.all():
        seen = f"load went on undisturbed for only {after_s:.3g} s after the lift"
        why = f"{seen}, and {WINDOWS_IN_A_ROW} windows of {window_s:.3g} s are needed"
        return TimeToRecover(ending="unknown", window_s=window_s, why=why)
    # The run that was cut off may be the one: then its first window's end would be the time.
    since = _begin_of_last_run(inside)
    least_s = after_s if since is None else (since + 1) * window_s
    return TimeToRecover(ending="not_recovered", time_s=least_s, window_s=window_s)


def _first_run(inside: NDArray[np.bool_]) -> int | None:
    """Where the first run of WINDOWS_IN_A_ROW begins."""
    runs = range(len(inside) - WINDOWS_IN_A_ROW + 1)
    return next((i for i in runs if inside[i : i + WINDOWS_IN_A_ROW].all()), None)


def _begin_of_last_run(inside: NDArray[np.bool_]) -> int | None:
    """Where the run at the very end begins; None: the last window is outside, or there is none."""
    if not len(inside) or not inside[-1]:
        return None
    outside = np.flatnonzero(~inside)
    return int(outside[-1]) + 1 if len(outside) else 0


def backlog_drain(everything: Rows, began: float, lifted: float | None, until: float, without_end: int = 0) -> Drain:
    """How the work that a fault held up was worked off.

    A workflow leaves when its end is known: by its outcome, or, for an `unknown` one, as the target told it. What is
    shed was never in. `without_end` workflows were sent and are in no row; `until` is the end of the drain.
    """
    sent = everything[outcome(everything) != NOT_STARTED]
    never = (outcome(sent) == UNKNOWN) & np.isnan(sent["target_ended"])
    left = np.where(never | np.isnan(sent["ended"]), np.inf, sent["ended"])
    before = int(np.sum((sent["intended"] < began) & (left > began)))
    if lifted is None:
        return Drain(before=before, backlog=0, drained=Elapsed(why="it was not lifted"))
    behind = (sent["intended"] < lifted) & (left > lifted)
    backlog = int(np.sum(behind)) + without_end
    if not backlog:
        return Drain(before=before, backlog=0, drained=Elapsed(why="nothing was in flight when it was lifted"))
    last = math.inf if without_end else float(np.max(left[behind]))
    if math.isfinite(last):
        return Drain(before=before, backlog=backlog, drained=Elapsed(time_s=last - lifted))
    if until <= lifted:
        return Drain(before=before, backlog=backlog, drained=Elapsed(why="it was lifted after the end of the drain"))
    return Drain(before=before, backlog=backlog, drained=Elapsed(time_s=until - lifted, at_least=True))
