"""The gate's decisions on one level, in the order of GATE.md, section 3. Pure: from readings to a `Decision`.

`decide` asks the history, which alone may pass a run or find it improved, and never accuses: what it cannot exclude
goes to `confirm`, which looks at baseline and candidate side by side. Worse is positive throughout.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from harness.observation.build import Build
from harness.observation.duet import LOOKS
from harness.statistics.attribution import Attribution, attribution
from harness.statistics.change import Change, relative
from harness.statistics.comparison import History, Observed, Pooled, exclusion
from harness.statistics.paired import GROWTH_MEASURE_MIN_S, Pairs, duet_change, look_at, pair_change, pairs_to_settle
from harness.statistics.reading import COMPARED, N_GATE, Reading
from harness.statistics.shift import Shift, shift_function

MARGIN = 0.10
MARGIN_STRICT = 0.05
SHAPE_MARGINS = 3
"""The tail against the median may be worse by so many margins: a p99 is that much less certain than a p95."""
PAIRS_MIN = 3
"""Whole pairs below which a duet says nothing."""
EFFECT_MIN = 0.03
"""A change that is certain and smaller than this is nobody's concern."""
SUCCESS_MARGIN = 0.01
"""A loss of one successful workflow in a hundred."""
GROWTH_MARGIN = 2e6
"""Bytes a minute of growth that was not there before."""
BLOCKS_MIN = 10
DISTURBED_SHARE_MAX = 0.4
OFFERED_MIN = 0.98
SEES_AT_MOST = 2.0
"""A history whose minimum detectable effect at p95 is more than so many margins is not asked."""

Outcome = Literal["pass", "improved", "regressed", "suspect", "inconclusive", "learning", "undecided"]
"""`undecided` is no end: a duet, or further pairs, have to tell. `learning`: too few sittings to say anything."""
Step = Literal["validity", "baseline", "history", "duet"]


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the gate says of one level, and what it rests on."""

    outcome: Outcome
    step: Step  # that ended it
    reasons: tuple[str, ...] = ()  # why it is neither pass nor regressed, each with what would settle it
    changes: tuple[Change, ...] = ()  # of every metric that could be compared
    undecided: tuple[str, ...] = ()  # metrics that a duet has to decide
    worse: tuple[str, ...] = ()  # metrics that are worse beyond doubt: `regressed`, or `suspect` by history alone
    better: tuple[str, ...] = ()
    parts: tuple[Attribution, ...] = ()  # who carries the change, the largest first
    dots: dict[str, tuple[float, ...]] = {}  # metric -> the change in each pair, in order
    shifts: tuple[Shift, ...] = ()  # baseline's quantiles against the candidate's

    def change(self, metric: str) -> Change | None:
        """The change of that metric, if it was compared."""
        return next((change for change in self.changes if change.metric == metric), None)


class LevelGate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the gate says of one level."""

    level: str
    sentence: str  # for a person: what, how sure, against what, who carries it
    decision: Decision
    history: Decision | None = None  # what the history said, where a duet had to decide
    sittings: int = 0
    runs: tuple[str, ...] = ()  # ids of the runs it was compared with
    build: Build | None = None  # the baseline's newest
    unlike: dict[str, tuple[str, str]] = {}  # conditions that differ: (the run's, the baseline's)
    pairs: int = 0
    command: str = ""  # repeats the comparison side by side
    margin: float = MARGIN  # how much worse may pass, as a share


def margin_of(metric: str, margin: float) -> float:
    """How much worse a metric may become, on the scale of its changes."""
    margins = SHAPE_MARGINS if metric == "shape" else 1
    return {"success": SUCCESS_MARGIN, "rss_slope": GROWTH_MARGIN}.get(metric, math.log1p(margins * margin))


def effect_of(metric: str) -> float:
    """From where on a certain worsening counts, on the scale of the metric's changes."""
    return {"success": SUCCESS_MARGIN, "rss_slope": GROWTH_MARGIN}.get(metric, math.log1p(EFFECT_MIN))


def gated_metrics(candidate: Reading) -> tuple[str, ...]:
    """What a run of this length is compared on."""
    names = [name for name, each in COMPARED.items() if candidate.ok >= each.n_min and candidate.value(name)]
    growth = ["rss_slope"] if candidate.rss_slope is not None and candidate.measure_s >= GROWTH_MEASURE_MIN_S else []
    return (*names, "success", *growth)


def invalid(candidate: Reading) -> Iterator[str]:
    """Why a run cannot be compared, each with what would do."""
    if candidate.ok < N_GATE:
        more = f"; {N_GATE / candidate.ok:.1f} times the measure phase would do" if candidate.ok else ""
        yield f"{candidate.ok} workflows succeeded, and p50 and p95 are compared from {N_GATE} on{more}"
    sound = len(candidate.sound_blocks)
    if candidate.disturbed_share > DISTURBED_SHARE_MAX:
        share = f"{candidate.disturbed_share:.0%} of the time blocks (at most {DISTURBED_SHARE_MAX:.0%} is sound)"
        yield f"others took too much of the machine in {share}; run again when it is quiet"
    elif sound < BLOCKS_MIN:
        yield f"workflows ended in only {sound} of {len(candidate.blocks)} time blocks, and {BLOCKS_MIN} are needed"
    if candidate.offered is not None and candidate.offered < OFFERED_MIN:
        yield f"only {candidate.offered:.1%} of the load was sent ({OFFERED_MIN:.0%} is sound); give the generator room"


def decide(
    candidate: Observed, history: History, *, margin: float = MARGIN, pooled: Mapping[str, Pooled] | None = None
) -> Decision:
    """Steps 1 and 4: is the run valid, and does the history exclude that it is worse by more than `margin`?"""
    if reasons := tuple(invalid(candidate.reading)):
        return Decision(outcome="inconclusive", step="validity", reasons=reasons)
    metrics = gated_metrics(candidate.reading)
    found = [exclusion(metric, candidate, history, (pooled or {}).get(metric)) for metric in metrics]
    changes = tuple(change for change in found if change is not None)
    undecided = tuple(change.metric for change in changes if not _is_excluded(change, margin))
    worse = tuple(change.metric for change in changes if _is_worse(change))
    better = _better(changes)
    parts = attribution([(mean.reading, candidate.reading) for sitting in history[-1:] for mean in sitting[-1:]])
    outcome: Outcome = "undecided" if undecided or not changes else "improved" if better else "pass"
    return Decision(
        outcome=outcome, step="history", changes=changes, undecided=undecided, worse=worse, better=better, parts=parts
    )


def confirm(
    pairs: Pairs, metrics: Sequence[str], *, margin: float = MARGIN, pairs_max: int = LOOKS[-1], last: bool = True
) -> Decision:
    """Step 5, one look at a duet of at most `pairs_max`: `metrics` are those that are to be decided.

    `last`: there will be no further pair.
    """
    look = look_at(len(metrics), len(pairs), pairs_max)
    found = {metric: duet_change(metric, pairs, look) for metric in dict.fromkeys([*metrics, *COMPARED, "success"])}
    changes = tuple(change for change in found.values() if change is not None)
    asked = [change for change in changes if change.metric in metrics]
    worse = tuple(change.metric for change in asked if _is_worse(change))
    beyond = [change for change in asked if not change.upper95 < margin_of(change.metric, margin)]
    open_ones = [change for change in beyond if change.metric not in worse]
    lacking = [metric for metric in metrics if found[metric] is None]
    better = _better(asked)
    outcome: Outcome = "improved" if better else "pass"
    reasons: tuple[str, ...] = ()
    if worse:
        outcome = "regressed"
    elif open_ones or lacking:
        outcome = "inconclusive" if last else "undecided"
        reasons = (*(_unsettled(change, margin) for change in open_ones), *map(_lacking, lacking))
    shown = worse or tuple(change.metric for change in open_ones) or better or tuple(metrics)
    return Decision(
        outcome=outcome,
        step="duet",
        reasons=reasons,
        changes=changes,
        undecided=tuple(change.metric for change in open_ones) + tuple(lacking),
        worse=worse,
        better=better,
        parts=attribution(pairs),
        dots={metric: found_dots for metric in shown if (found_dots := _dots(metric, pairs))},
        shifts=tuple(shift_function(pairs, 0.01)),
    )


def standing_decision(
    candidate: Observed, history: History, why_not: Sequence[str], *, margin: float, pooled: Mapping[str, Pooled] | None
) -> Decision:
    """As `decide`, for a history that may not be asked: `why_not` says why (learning, another machine, too blind).

    What the history would say is kept for information; all metrics are left to a duet.
    """
    decision = decide(candidate, history, margin=margin, pooled=pooled)
    if decision.outcome == "inconclusive" or not why_not:
        return decision
    return msgspec.structs.replace(
        decision,
        outcome="undecided",
        step="baseline",
        reasons=tuple(why_not),
        undecided=gated_metrics(candidate.reading),
        worse=(),
        better=(),
    )


def settled_without_duet(decision: Decision, why_not: str) -> Decision:
    """What may be said when there will be no duet: `suspect` where the history alone finds it worse."""
    if decision.outcome != "undecided":
        return decision
    outcome: Outcome = "inconclusive"
    if decision.step == "baseline":
        outcome = "learning"
    elif decision.worse:
        outcome = "suspect"
    return msgspec.structs.replace(decision, outcome=outcome, reasons=(*decision.reasons, why_not))


def too_blind(candidate: Observed, history: History, margin: float) -> str | None:
    """Why the history cannot see what it is asked to see, if it cannot; by itself, without its siblings."""
    change = exclusion("p95", candidate, history)
    if change is None or relative(change.mde) <= SEES_AT_MOST * margin:
        return None
    return (
        f"this history cannot see {margin:+.0%} at p95: the smallest change that it would see is "
        f"{relative(change.mde):.0%}; more sittings, longer runs, or a duet would"
    )


def _is_excluded(change: Change, margin: float) -> bool:
    """Success and growth pass when there is no alarm; what has a margin passes when worse than it is excluded."""
    if change.metric in ("success", "rss_slope"):
        return not _is_worse(change)
    return change.upper95 < margin_of(change.metric, margin)


def _is_worse(change: Change) -> bool:
    return change.lower > 0 and change.change > effect_of(change.metric)


def _better(changes: Sequence[Change]) -> tuple[str, ...]:
    """Latency that is certainly better, by enough to matter."""
    return tuple(
        change.metric
        for change in changes
        if change.metric in ("p50", "p95") and change.upper < 0 and change.change < -effect_of(change.metric)
    )


def _dots(metric: str, pairs: Pairs) -> tuple[float, ...]:
    return tuple(change for pair in pairs if (change := pair_change(metric, *pair)) is not None)


def _unsettled(change: Change, margin: float) -> str:
    """What would settle a metric that neither passed nor regressed."""
    more = pairs_to_settle(change, margin_of(change.metric, margin))
    way = f"about {more} pairs would" if more is not None else "no number of pairs would pass it, as it is beyond that"
    return f"{change.metric} could still be worse by more than the margin; {way}"


def _lacking(metric: str) -> str:
    if metric == "rss_slope":
        return 'growth of memory is compared in arms of ten minutes or more: `harness duet`, with --measure "10 min"'
    return f"{metric} was not measured in these pairs"
