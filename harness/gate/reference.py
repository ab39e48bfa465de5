"""The frozen reference beside a gated level: the same load against a target that never changes.

It is of use only like for like (GATE.md: a spin loop as a reference made calibration worse): of the same length and
load shape, in flight as long, and as busy. What a workflow of it waits and computes is therefore taken from the gated
level, once: see `likeness`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.target.reference import REFERENCE_VERSION

if TYPE_CHECKING:
    from harness.run.plan import Plan
    from harness.scenario.scenario import Level, Load
    from harness.statistics.reading import Reading

SCENARIO = Path(__file__).parents[1] / "target" / "frozen" / "reference.toml"
ROUND_CPU_S = 0.0014
"""CPU of one round in each of the four steps, on the machine that the reference was made on (others are as much off as
they are faster, which is the same in every sitting there)."""
FIXED_CPU_S = 0.001  # what a workflow costs beside its rounds, its host's work included
ROUNDS_MAX = 64
WAIT_MIN_S, WAIT_MAX_S = 1 / 64, 64.0
CORE_SHARE_MAX = 0.5
"""The reference works in one process: asked for more of a core it would measure its own queue."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """What makes the reference like a level: what one of its workflows waits in all (s), and its rounds of work."""

    wait_s: float
    rounds: int


USUAL = Likeness(wait_s=0.25, rounds=1)


def likeness(reading: Reading) -> Likeness | None:
    """How the reference of a level has to be, from a reading of that level; None when nothing in it succeeded.

    A wait of about its p50, so that users make about as many workflows; about its CPU a workflow. Both are rounded to
    powers of two, which two readings of one level seldom straddle; yet they must be the same in every sitting, or the
    references could not be compared. So pass the *first reading of the baseline's epoch*, which is stored and never
    changes, and the run's own only while there is none: if it is accepted, it is that first one.
    """
    # Of the whole level: a neighbour that disturbs all of its blocks must not make another reference of it.
    p50, throughput = reading.quantiles.get("p50"), reading.value("throughput")
    if not p50:
        return None
    wait_s = min(WAIT_MAX_S, max(WAIT_MIN_S, _power_of_two(p50)))
    cpu_s = reading.value("cpu_per_workflow") or 0.0
    if throughput:
        cpu_s = min(cpu_s, CORE_SHARE_MAX / throughput)
    return Likeness(wait_s, int(min(ROUNDS_MAX, max(1.0, _power_of_two((cpu_s - FIXED_CPU_S) / ROUND_CPU_S)))))


def _power_of_two(value: float) -> float:
    """The nearest one, by ratio; 0 for what has none."""
    return 2.0 ** round(math.log2(value)) if value > 0 else 0.0


def reference_plan(plan: Plan, level: Level, reports: Path, like: Likeness | None = None) -> Plan:
    """The plan of the reference beside one level of `plan`; `reports` is the folder that its run's folder goes into.

    Without a likeness it waits and works as it does when nothing is known of the level. Warm-up, measure, drain,
    arrivals and the most that may be in flight are the level's. The seed is not: a reference makes the same draws
    whatever it stands beside.
    """
    from harness.scenario.loading import Known, load_scenario
    from harness.target import TARGETS

    shipped = load_scenario(SCENARIO, known=Known(targets=TARGETS, models={}, served={}))
    [workflow] = shipped.workflow
    like = like or USUAL
    asked = {"wait_s": like.wait_s, "rounds": like.rounds, "version": REFERENCE_VERSION}
    scenario = replace(
        shipped,
        load=only(plan.scenario.load, level),
        workflow=(replace(workflow, input=asked, deadline=max(workflow.deadline, 20 * like.wait_s)),),
    )
    return replace(
        plan,
        scenario=scenario,
        scenario_path=SCENARIO,
        limits_path=None,
        levels=scenario.load.levels,
        reports=reports,
        redis_url=None,
        postgres_url=None,
        llm=type(plan.llm)(),
    )


def only(load: Load, level: Level) -> Load:
    """The load with this level alone."""
    return replace(
        load,
        closed=tuple(users for users in load.closed if level.mode == "closed" and users == level.amount),
        open=tuple(rate for rate in load.open if level.mode == "open" and rate == level.amount),
        burst=tuple(total for total in load.burst if level.mode == "burst" and total == level.amount),
    )
