"""A sweep's answer for a person: the sentence, the levels, what gives out, and what the curve is like."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from harness.report.rows import aligned
from harness.scenario.units import render
from harness.statistics.capacity import SITTINGS_MIN
from harness.statistics.metrics import metric_type
from harness.statistics.scalability import Fit
from harness.verdict.capacity import RIG_SHARE_MAX, Assessment, Level
from harness.verdict.what_if import Prediction

HOUR_S = 3600.0
UNITS = {"closed": "at once", "open": "arrivals a second"}
MODELS = {
    "usl": "contention and coherency",
    "amdahl": "contention alone",
    "linear": "nothing that is shared",
    "pool": "so many servers, and no more",
}


def print_assessment(found: Assessment, out: TextIO) -> None:
    """Print it."""
    for line in (*sentences(found), "", *aligned(assessment_table(found)), *refused(found), "", *explained(found)):
        out.write(line.rstrip() + "\n")


def sentences(found: Assessment) -> Iterator[str]:
    """The answer, and how far it can be trusted."""
    unit, capacity = UNITS[found.mode], found.capacity
    if capacity is None and found.hopeless is not None:
        yield f"fewer than {found.hopeless:g} {unit} within {found.objective}: {found.why}"
        return
    if capacity is None:
        yield f"no capacity can be told: {found.why}"
        return
    if capacity.load is None:
        smallest = found.levels[0].load
        yield f"less than {smallest:g} {unit}: even that is not within {found.objective} ({capacity.limited_by})"
        return
    if capacity.at_least and found.hopeless is not None and found.hopeless > capacity.load:
        yield (
            f"at least {capacity.load:g} {unit} within {found.objective}, and fewer than {found.hopeless:g}, "
            "which was hopeless"
        )
    elif capacity.at_least:
        yield f"at least {capacity.load:g} {unit} within {found.objective}: {_ended(found)}"
    else:
        between = _between(found)
        yield f"{capacity.load:.3g} {unit}{between} within {found.objective}; {capacity.limited_by} gives out first"
    if capacity.throughput is not None:
        yield f"that is {capacity.throughput:.3g} workflows a second, {capacity.throughput * HOUR_S:,.0f} an hour"
    cost = [level.metrics["cost_per_workflow"] for level in found.levels if "cost_per_workflow" in level.metrics]
    if cost:
        yield f"a thousand workflows cost ${1000 * sum(cost) / len(cost):,.2f}"
    if found.rig_rate is not None and found.rig_share is not None:
        said = (
            f"the rig itself reaches {found.rig_rate:.3g}/s with nothing behind it; this is {found.rig_share:.1%} of it"
        )
        yield f"{said}, so it is ourselves that we measured" if found.is_ours else said
        if found.is_ours:
            yield f"  above {RIG_SHARE_MAX:.0%} it says nothing of the system: use a larger machine for the load"


def _ended(found: Assessment) -> str:
    """Why nothing is known of larger loads."""
    if found.interrupted:
        return "the sweep was interrupted there"
    if found.doubted is not None:
        return f"nothing gave out; {found.doubted:g} and more were measured, and are not believed"
    return "the sweep ended there, nothing gave out"


def _between(found: Assessment) -> str:
    """The interval in brackets."""
    capacity = found.capacity
    if capacity is None or min(level.sittings for level in found.levels) < SITTINGS_MIN:
        return " (of one sitting, so without an interval)"
    lower = "fewer than measured" if capacity.lower is None else f"{capacity.lower:.3g}"
    upper = "more than measured" if capacity.upper is None else f"{capacity.upper:.3g}"
    return f" (90 %: {lower} to {upper})"


def assessment_table(found: Assessment) -> list[list[str]]:
    """A row a load beneath the headings."""
    return list(_rows(found))


def _rows(found: Assessment) -> Iterator[list[str]]:
    metrics = list(dict.fromkeys(name for level in found.levels for name in level.metrics))
    yield [UNITS[found.mode], "sittings", "ended/s", *metrics, "fullest pool"]
    for level in found.levels:
        cells = [_cell(level, name) for name in metrics]
        yield [f"{level.load:g}", str(level.sittings), f"{level.rate:.3g}", *cells, _fullest(level)]


def _cell(level: Level, name: str) -> str:
    kind = metric_type(name)
    return render(level.metrics[name], kind.unit) if kind is not None and name in level.metrics else "-"


def _fullest(level: Level) -> str:
    if not level.pools:
        return "-"
    agent = max(level.pools, key=level.pools.__getitem__)
    return f"{agent} {level.pools[agent]:.0%}"


def refused(found: Assessment) -> Iterator[str]:
    """The levels that are not believed, and why."""
    for level in found.levels:
        if level.refused:
            first, *others = level.refused
            more = f" (and {len(others)} more of that kind, in capacity.json)" if others else ""
            yield f"level {level.load:g} is not believed: {first}{more}"


def explained(found: Assessment) -> Iterator[str]:
    """What was used up, what the curve is like, and what another size would do."""
    yield from (f"the machine changed: {what}; measure again when it is quieter" for what in found.moved)
    if found.saturated:
        at_least = found.capacity is not None and found.capacity.at_least
        where = "the largest load" if at_least else "the limit"
        yield f"used up at {where}: {'; '.join(found.saturated)}"
    elif found.capacity is not None and not found.capacity.at_least:
        yield "used up at the limit: nothing that is watched; look at what the agents wait for"
    if found.fits:
        best = found.fits[0]
        yield f"throughput by concurrency is best explained by {MODELS[best.model]}: {_parameters(best)}"
        if others := [MODELS[model] for model in found.tied if model != best.model]:
            yield f"{' and '.join(others)} would explain it as well"
        law = next((fit for fit in found.fits if fit.model == "usl"), best)
        if law.peak is None:
            yield "no peak within 1.5 times the last level"
        else:
            yield f"throughput is largest at {law.peak:.3g} at once, by the Universal Scalability Law"
    yield from (_what_if(each, UNITS[found.mode]) for each in found.what_if)


def _what_if(said: Prediction, unit: str) -> str:
    """The prediction beside the measurement."""
    predicted = f"{said.load:.3g} {unit} predicted" if said.load is not None else f"not predicted ({said.why_not})"
    if said.measured is None:
        return f"what if {said.change}: {predicted}, not measured"
    load = said.measured.load
    if load is None:
        measured = f"fewer than {said.measured.upper:.3g} measured"
    else:
        measured = f"{'at least ' if said.measured.at_least else ''}{load:.3g} measured"
    off = f"; the prediction is {said.off:+.1%} off" if said.off is not None else ""
    return f"what if {said.change}: {predicted}, {measured}{off}"


def _parameters(fit: Fit) -> str:
    """The parameters that the model has, with their intervals."""
    if fit.servers is not None:
        return f"{fit.servers} of them, {fit.gamma.value:.3g}/s each"
    told = [f"{fit.gamma.value:.3g}/s for one alone"]
    for name, parameter in (("contention", fit.alpha), ("coherency", fit.beta)):
        if parameter.value:
            sure = "" if parameter.lower is None else f" ({parameter.lower:.2g} to {parameter.upper:.2g})"
            told.append(f"{name} {parameter.value:.2g}{sure}")
    return ", ".join(told)
