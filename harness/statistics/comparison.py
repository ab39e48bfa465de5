"""The history test: does a run exclude that it is worse than its baseline by more than a margin? (GATE.md, step 4)

Runs of one sitting say one thing of the machine, so sittings are what is counted. The frozen reference that was run in
the same sitting takes the machine's own speed out, as far as it went along with the target so far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.statistics.change import Basis, Change
from harness.statistics.proportion import Tally, loss_against
from harness.statistics.quantile import Floats
from harness.statistics.reading import COMPARED, Reading
from harness.statistics.students_t import t_quantile

ALPHA = 0.01
POWER = 0.8
SLOPE_PRIOR, SLOPE_WEIGHT = 0.7, 3
"""A slope fitted to a handful of sittings is shrunk to .7 as by three more runs (GATE.md, step 4)."""
CORRELATION_MIN = 0.5
REFERENCES_MIN = 4
POOLED_DF_MAX = 20


class Observed(NamedTuple):
    """One run of a level, and the frozen reference scenario run in the same sitting."""

    reading: Reading
    reference: Reading | None


class Pooled(NamedTuple):
    """What sibling scenarios on this class of machines say of the spread between sittings: variance, and its df."""

    variance: float
    df: float


History = Sequence[Sequence[Observed]]
"""The sittings of a baseline, oldest first, each with its runs: runs of one sitting are one observation."""


class _Calibrated(NamedTuple):
    """A history with the machine taken out: the sittings' values, what was subtracted a unit of reference, the df."""

    values: Floats
    references: Floats | None
    slope: float
    df: float


def exclusion(metric: str, candidate: Observed, history: History, pooled: Pooled | None = None) -> Change | None:
    """How the candidate differs from what the history predicts; None where there are no two sittings with the metric.

    `metric` is a name of COMPARED, `success` or `rss_slope`. The interval is the t prediction interval of one more
    sitting: sd * sqrt(1 + 1 / k), with the variance pooled with that of siblings.
    """
    if metric == "success":
        return loss_against(_tally(candidate.reading), [_tally(run.reading) for sitting in history for run in sitting])
    own = scaled(metric, candidate.reading)
    known = _calibrated(metric, history)
    if own is None or known is None:
        return None
    k, df = len(known.values), known.df
    reference = None if candidate.reference is None else scaled(metric, candidate.reference)
    machine, values = 0.0, known.values
    if known.references is not None and reference is not None:
        machine = known.slope * (reference - float(np.mean(known.references)))
    elif known.references is not None:
        values, df = known.values + known.slope * (known.references - float(np.mean(known.references))), k - 1
        pooled = None  # siblings tell of the spread that is left with the machine taken out
    variance = float(np.var(values, ddof=1)) * (k - 1) / df
    if pooled is not None:
        variance, df = (df * variance + pooled.df * pooled.variance) / (df + pooled.df), df + pooled.df
    return interval_of(
        metric, own - machine - float(np.mean(values)), math.sqrt(variance * (1 + 1 / k)), df, n=k, machine=machine
    )


def interval_of(
    metric: str,
    change: float,
    error: float,
    df: float,
    *,
    n: int,
    basis: Basis = "history",
    alpha: float = ALPHA,
    pass_alpha: float = 0.05,
    machine: float = 0.0,
) -> Change:
    """A change whose standard error `error` was estimated with `df` degrees of freedom, with its bounds."""
    half, half95 = t_quantile(1 - alpha, df) * error, t_quantile(1 - pass_alpha, df) * error
    return Change(
        metric=metric,
        basis=basis,
        change=change,
        lower=change - half,
        upper=change + half,
        alpha=alpha,
        lower95=change - half95,
        upper95=change + half95,
        n=n,
        mde=half + t_quantile(POWER, df) * error,
        machine=machine,
        is_log=metric in COMPARED,
    )


def scaled(metric: str, reading: Reading) -> float | None:
    """The value on the scale of its changes, worse is more; None when there is none, or no logarithm of it."""
    if metric == "rss_slope":
        slope = reading.rss_slope
        return slope if slope is not None and math.isfinite(slope) else None
    value = reading.value(metric)
    if value is None or not 0 < value < math.inf:
        return None
    return math.log(value) if COMPARED[metric].better == "less" else -math.log(value)


def pooled_spread(histories: Sequence[History], metric: str) -> Pooled | None:
    """The spread between sittings that sibling histories agree on; None where none of them has two sittings."""
    known = [found for history in histories if (found := _calibrated(metric, history)) is not None]
    df = sum(found.df for found in known)
    if not df:
        return None
    squares = sum(float(np.sum((found.values - np.mean(found.values)) ** 2)) for found in known)
    return Pooled(squares / df, min(df, POOLED_DF_MAX))


def _calibrated(metric: str, history: History) -> _Calibrated | None:
    """The sittings' values; None for fewer than two, or for what has a rule of its own."""
    if metric == "success":
        return None
    # A machine does not make memory grow: two growths that go along do so by chance.
    by_machine = metric != "rss_slope"
    rows = [(value, _mean(metric, [run.reference for run in sitting]) if by_machine else None) for sitting in history
            if (value := _mean(metric, [run.reading for run in sitting])) is not None]  # fmt: skip
    if len(rows) < 2:
        return None
    values = np.array([value for value, _ in rows])
    references = [reference for _, reference in rows if reference is not None]
    slope = _slope(np.array(references), values) if len(references) == len(rows) else None
    if slope is None:
        return _Calibrated(values, None, 0.0, len(values) - 1)
    beside = np.array(references)
    # A degree of freedom goes with the slope, as if it were fitted alone: a little more than it took.
    return _Calibrated(values - slope * (beside - beside.mean()), beside, slope, len(values) - 2)


def _slope(references: Floats, values: Floats) -> float | None:
    """How far the target went along with the reference; None when it did not, or when too few say so."""
    k = len(references)
    if k < REFERENCES_MIN or np.ptp(references) == 0 or np.ptp(values) == 0:
        return None
    if not float(np.corrcoef(references, values)[0, 1]) >= CORRELATION_MIN:  # what underflows is no number
        return None
    apart = references - references.mean()
    fitted = float(np.sum(apart * values) / np.sum(apart**2))
    return (k * fitted + SLOPE_WEIGHT * SLOPE_PRIOR) / (k + SLOPE_WEIGHT)


def _mean(metric: str, readings: Sequence[Reading | None]) -> float | None:
    """Over the runs of one sitting; None when one of them does not have it."""
    found = [scaled(metric, reading) for reading in readings if reading is not None]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known and len(known) == len(readings) else None


def _tally(reading: Reading) -> Tally:
    return Tally(reading.ok, reading.arrivals)
