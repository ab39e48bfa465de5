"""What was broken in a level, what noticed it, and what came of it: faults, breakers, and the metrics of both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harness.statistics.amplification import dispersion, wakes_after_429, waste
from harness.statistics.breakers import BreakerUse, breaker_metrics, breaker_uses, openings
from harness.statistics.crashes import not_fired, not_seen, recoveries, undeclared
from harness.statistics.evidence import Evidence
from harness.statistics.faults import did_not_bite, faulted_services, met_no_call, needing, targets
from harness.statistics.health import service_metrics
from harness.statistics.metrics import Metric
from harness.statistics.promises import RunFacts
from harness.statistics.recovery import Detection, fallbacks_on
from harness.statistics.resilience import (
    Absence,
    FaultRow,
    LevelFacts,
    budget_burn,
    cascade_ratio,
    false_takeovers,
    fault_metrics,
    fault_rows,
    goodput_share,
)
from harness.statistics.resources import Window
from harness.statistics.tally import MEASURE, OK, LevelTally, Rows, flagged, outcome

OBJECTIVE = 0.99
"""Share of workflows that are to succeed, where a scenario names none: two nines, a usual first objective."""


class Breaking(NamedTuple):
    """Of one level."""

    faults: tuple[FaultRow, ...]
    breakers: tuple[BreakerUse, ...]
    metrics: dict[str, Metric]
    not_fired: tuple[str, ...]  # faults that were declared and did not take place
    undeclared: tuple[str, ...]  # services that were away, and it was not the scenario that made them fail


def breaking(
    run: RunFacts,
    tally: LevelTally,
    evidence: Evidence,
    by_kind: Mapping[str, Rows],
    everything: Rows,
    window: Window | None,
) -> Breaking:
    """`by_kind` are the workflows of all phases, `everything` the same in one, `window` the measure phase."""
    uses = breaker_uses(evidence.breakers)
    detections = [*fallbacks_on(evidence.samples), *(Detection(*each) for each in openings(evidence.breakers))]
    faults: tuple[FaultRow, ...] = ()
    metrics = {**breaker_metrics(uses), **_takeovers(run, evidence, everything)}
    if window is not None and evidence.faults:
        can_notice = bool(uses) or run.declared.state.fallback
        facts = LevelFacts(
            by_kind, window, tally.last_at, sorted(detections), len(tally.open), can_notice, needing(run.declared)
        )
        faults = fault_rows(evidence.faults, facts)
        metrics |= {**fault_metrics(faults), "goodput_share": goodput_share(everything, window)}
        metrics |= {"burn": _burn(run, everything), "cascade": _cascade(run, tally, uses)}
    return Breaking(
        faults=faults,
        breakers=uses,
        metrics=metrics | _of_calls(evidence, everything),
        not_fired=_not_fired(run, tally, evidence),
        undeclared=_undeclared(run, evidence),
    )


def _takeovers(run: RunFacts, evidence: Evidence, everything: Rows) -> dict[str, Metric]:
    """Of owners that were ended or held still; a takeover is seen when its host first answers, so a little late."""
    found = [each for each in recoveries(evidence.crashes, everything, 0, evidence.samples) if each.host_s is not None]
    if not found:
        return {}
    absences = [Absence(each.at, math.inf, is_dead=each.how == "kill") for each in found]
    takeovers = [each.at + (each.host_s or 0.0) for each in found]
    return {"false_takeovers": false_takeovers(takeovers, absences, run.declared.state.lease)}


def _burn(run: RunFacts, everything: Rows) -> Metric:
    arrivals = everything[flagged(everything, MEASURE)]
    bad = int(np.sum(outcome(arrivals) != OK))
    return budget_burn(bad, len(arrivals), OBJECTIVE if run.declared.objective is None else run.declared.objective)


def _cascade(run: RunFacts, tally: LevelTally, uses: Sequence[BreakerUse]) -> Metric:
    failing = {agent for agent, failed in tally.steps_failed.items() if failed}
    return cascade_ratio(failing | {use.name for use in uses if use.opened}, targets(run.declared.fault))


def _of_calls(evidence: Evidence, everything: Rows) -> dict[str, Metric]:
    """What models did for nothing, and how their refusals were answered."""
    if evidence.calls is None:
        return {}
    calls = evidence.calls.rows
    wakes = dispersion(wakes_after_429(calls))
    lost = waste(calls, everything["id_hash"][outcome(everything) == OK])
    # To a microsecond: below it there is only rounding.
    spread = Metric(value=None) if wakes.spread_s is None else Metric(value=round(wakes.spread_s, 6), n=wakes.wakes)
    return {
        "faulted_calls": Metric(value=evidence.calls.faults.total(), n=len(calls)),
        "wasted_tokens": Metric(value=lost.tokens, n=len(calls)),
        "wasted_cost": Metric(value=lost.cost_usd, n=len(calls)),
        **({"wake_spread": spread, "wakes_early": Metric(value=wakes.early, n=wakes.wakes)} if wakes.wakes else {}),
    }


def _not_fired(run: RunFacts, tally: LevelTally, evidence: Evidence) -> tuple[str, ...]:
    declared = run.declared
    outages = not_seen(declared.outage, tally.marks.get("measure"), evidence.health)
    if "measure" not in tally.marks:
        return (*not_fired(declared.crash, evidence.crashes), *outages)
    # Live models misbehave as they like: nothing is injected there, and no call is on record where none was seen.
    simulated = declared.llm if run.manifest.llm in ("", "simulated") else None
    asked = met_no_call(simulated, evidence.calls.faults.keys() if evidence.calls is not None else frozenset())
    faults = did_not_bite(declared.fault, evidence.faults)
    return (*not_fired(declared.crash, evidence.crashes), *outages, *faults, *asked)


def _undeclared(run: RunFacts, evidence: Evidence) -> tuple[str, ...]:
    ours = {outage.service for outage in run.declared.outage} | faulted_services(run.declared.fault)
    return tuple(undeclared(ours, service_metrics(evidence.health)))
