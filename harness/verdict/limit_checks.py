"""One limit against one metric: held, broken, or not decided by this many samples."""

from __future__ import annotations

import math

from harness.scenario.units import render
from harness.statistics.metrics import Metric, MetricType, metric_type, render_value
from harness.verdict.check import Check, Result
from harness.verdict.limits import OPERATORS, Limit, Operator

N_WORTH_NAMING_MAX = 1_000_000  # beyond it the value lies on the limit, for all that a run can tell


def check_limit(limit: Limit, measured: Metric) -> Check:
    """Judge one limit.

    A percentile or share breaks it only if its exact one-sided 95 % bound does; other numbers decide by their value.
    """
    kind = _type_of(limit)
    result, sentence = _judge(limit, measured, kind)
    return Check(
        name=limit.name,
        kind="limit",
        result=result,
        sentence=sentence,
        level=limit.level,
        metric=limit.metric,
        limit=limit.text,
        section=limit.section,
        measured=measured,
        by_value=result == "held" and kind.bounded and not _surely(limit, measured),
    )


def _type_of(limit: Limit) -> MetricType:
    kind = metric_type(limit.metric)
    if kind is None:
        raise ValueError(f"{limit.name} is a limit on a metric that does not exist")
    return kind


def _judge(limit: Limit, measured: Metric, kind: MetricType) -> tuple[Result, str]:
    what = f"level {limit.level}: {limit.metric}"
    if measured.value is None:
        return "unsure", f"{what} was not measured, so {limit.text} is not known to hold"
    few = ", too few for a 95 % interval" if measured.too_few else ""
    stated = f"{what} is {render_value(measured, kind.unit)} (n = {measured.n}{few})"
    if limit.holds(measured.value):
        if measured.at_least and limit.operator in ("<", "<=", "=="):
            return "unsure", f"{stated}, and it had not ended when measurement did: {limit.text} is not known to hold"
        return "held", f"{stated}, within {limit.text}"
    if not kind.bounded:
        return "breached", f"{stated}; the limit is {limit.text}"
    bound, is_beyond = _bound(limit, measured.value, measured)
    if bound is not None and is_beyond:
        side = "at least" if bound <= measured.value else "at most"
        return "breached", f"{stated}, {side} {render(bound, kind.unit)} at 95 %; the limit is {limit.text}"
    settled = _settling(limit, measured.value, measured.n, bound)
    return "unsure", f"{stated}, beyond {limit.text}, but its 95 % bound is not; {settled}"


def _surely(limit: Limit, measured: Metric) -> bool:
    """Whether the end of the metric's interval that lies nearest to breaking the limit holds it, too."""
    ends = {"<": (measured.upper,), "<=": (measured.upper,), ">": (measured.lower,), ">=": (measured.lower,)}
    both = (measured.lower, measured.upper)
    return all(end is not None and limit.holds(end) for end in ends.get(limit.operator, both))


def _bound(limit: Limit, value: float, measured: Metric) -> tuple[float | None, bool]:
    """The end of the metric's interval that lies nearest to holding the limit, and whether even that breaks it."""
    one_sided: Operator = limit.operator
    if one_sided == "==":
        one_sided = "<=" if value > limit.bound else ">="
    bound = measured.lower if one_sided in ("<", "<=") else measured.upper
    return bound, bound is not None and not OPERATORS[one_sided](bound, limit.bound)


def _settling(limit: Limit, value: float, n: int, bound: float | None) -> str:
    """How many samples would decide it, roughly: the distance to a bound shrinks with the root of n."""
    distance = abs(value - limit.bound)
    if bound is None or distance == 0:
        return "more workflows would settle it"
    needed = n * ((value - bound) / distance) ** 2
    if needed > N_WORTH_NAMING_MAX:
        return "it lies on the limit, and no run will tell on which side"
    place = 10 ** max(0, math.floor(math.log10(max(needed, 1))) - 1)  # two digits are all that such a guess is worth
    return f"about {math.ceil(needed / place) * place:,} workflows would settle it"
