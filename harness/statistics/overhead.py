"""Whose time is it: a workflow's time less what its models took, which is what its orchestrator made of them.

The provider of models holds the truth of every attempt: when it was asked and until when it held the request. From it

- *injected* time of a step = the time in which at least one of its attempts was at the provider + the waits that the
  provider asked for and was given: for an attempt refused with `retry-after`, that time, or the time until the step's
  next attempt where it came sooner. Waits of the orchestrator's own making are its own.
- *overhead* of a step = (ended - queued) - its injected time. Only steps that called a model have one.
- *overhead* of a workflow = (its end - its acceptance, as the target stamped them) - the longest path of injected
  times through its declared graph. Branches that may run side by side are not added up, so a fan-out that the
  orchestrator runs one after the other shows as overhead, and so does waiting for a pool.
- Where no graph is known (a Python or HTTP target) the time in which any call of the workflow was at the provider is
  subtracted instead: that is kinder to the target, as calls that could have been made side by side count in full.
  Targets without stamps of their own are timed from the real start to the end, so transit is in it.

What agents do besides (CPU, fixed waits, the time inside the SDKs) is overhead, too. Clocks are one and the same; what
comes out below zero, by the noise of stamps or because a branch was still at the provider when its workflow ended, is
counted as 0. A workflow without any call has no overhead, as there is nothing to tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.scenario.shapes import Step
from harness.statistics.calls import ATTRIBUTED, Calls, having
from harness.statistics.quantile import Floats
from harness.statistics.tally import FAILED, OK, LevelTally, Rows, outcome

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Held:
    """Seconds by hashed id, ascending."""

    ids: Ids
    seconds: Floats

    def of(self, ids: Ids) -> Floats:
        """Of each of `ids`; NaN for one that is not there."""
        if not len(self.ids):
            return np.full(len(ids), np.nan)
        place = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[place] == ids, self.seconds[place], np.nan)


@dataclass(frozen=True, slots=True)
class Overheads:
    """Of the workflows and steps that called a model; s, and shares of the whole time."""

    workflows: Floats
    shares: Floats
    steps: Mapping[str, Floats]  # by agent


def held(ids: Ids, rows: Calls, *, obeyed: bool) -> Held:
    """By id: how long at least one of its attempts was at the provider; `obeyed` adds the waits that it asked for.

    No moment is counted twice, so an attempt that was given up and is still held when the next one comes adds only
    what the next one does not cover.
    """
    if not len(rows):
        return Held(np.empty(0, dtype=np.int64), np.empty(0))
    order = np.lexsort((rows["at"], ids))
    ids, begun = ids[order], rows["at"][order]
    ended = begun + rows["ended"][order]
    is_first = np.concatenate(([True], ids[1:] != ids[:-1]))
    place = np.cumsum(is_first) - 1
    # The latest end so far within each id: lifted apart, so that one running maximum serves all of them.
    lift = place * (float(ended.max() - begun.min()) + 1.0)
    reached = np.maximum.accumulate(ended - begun.min() + lift) - lift + begun.min()
    before = np.where(is_first, -np.inf, np.concatenate(([-np.inf], reached[:-1])))
    seconds = np.maximum(ended - np.maximum(begun, before), 0.0)
    if obeyed:
        waited = np.where(is_first[1:], 0.0, np.maximum(begun[1:] - reached[:-1], 0.0))
        seconds[:-1] += np.minimum(np.nan_to_num(rows["retry_after"][order][:-1]), waited)
    return Held(ids[is_first], np.bincount(place, weights=seconds).astype(np.float64, copy=False))


def critical_path(workflows: Ids, steps: Sequence[Step], injected: Held) -> Floats:
    """The longest path of injected times through the graph of `steps`, for each of these workflows."""
    ended: dict[str, Floats] = {}
    longest = np.zeros(len(workflows))
    for step in steps:
        began = np.zeros(len(workflows))
        for needed in step.needs:
            began = np.maximum(began, ended[needed])
        ended[step.name] = began + np.nan_to_num(injected.of(workflows ^ np.int64(hash(step.name))))
        longest = np.maximum(longest, ended[step.name])
    return longest


def overheads(
    calls: Calls, by_kind: Mapping[str, Rows], graphs: Mapping[str, Sequence[Step]], tally: LevelTally
) -> Overheads:
    """Of the workflows of `by_kind` (all of measure), and of the steps of measure; `graphs` by kind, where known."""
    calls = calls[having(calls, ATTRIBUTED)]
    injected = held(calls["step"], calls, obeyed=True)
    asked = held(calls["workflow"], calls, obeyed=False)
    walls, times = [np.empty(0)], [np.empty(0)]
    for kind, everything in by_kind.items():
        ended_as = outcome(everything)
        rows = everything[((ended_as == OK) | (ended_as == FAILED)) & np.isin(everything["id_hash"], asked.ids)]
        wall = rows["target_ended"] - rows["target_accepted"]
        if kind in graphs:
            models = critical_path(rows["id_hash"], graphs[kind], injected)
        else:
            models = asked.of(rows["id_hash"])
            wall = np.where(np.isnan(wall), rows["ended"] - rows["started"], wall)
        walls.append(wall)
        times.append(np.maximum(wall - models, 0.0))
    wall, time = np.concatenate(walls), np.concatenate(times)
    return Overheads(
        workflows=time,
        shares=np.divide(time, wall, out=np.full(len(wall), np.nan), where=wall > 0),
        steps={agent: _of_steps(tally.step_rows(agent), injected) for agent in tally.steps},
    )


def _of_steps(steps: Rows, injected: Held) -> Floats:
    found: Floats = np.maximum(steps["ended"] - steps["queued"] - injected.of(steps["key"]), 0.0)
    return found


def orchestration(by_kind: Mapping[str, Rows], graphs: Mapping[str, Sequence[Step]], tally: LevelTally) -> Floats:
    """What workflows took beyond their steps, s: from acceptance to the end, less the longest path of the times that
    their steps took and waited for an agent. Only of kinds whose graph is known."""
    steps = [tally.step_rows(agent) for agent in tally.steps]
    if not steps or not graphs:
        return np.empty(0)
    rows = np.concatenate(steps)
    order = np.argsort(rows["key"])
    took = Held(rows["key"][order], (rows["ended"] - rows["queued"])[order])
    found = [np.empty(0)]
    for kind, everything in by_kind.items():
        if kind not in graphs:
            continue
        ended_as = outcome(everything)
        of_kind = everything[(ended_as == OK) | (ended_as == FAILED)]
        wall = of_kind["target_ended"] - of_kind["target_accepted"]
        found.append(np.maximum(wall - critical_path(of_kind["id_hash"], graphs[kind], took), 0.0))
    return np.concatenate(found)
