"""What `harness doctor` found, for a terminal: the machine, its noise, what could be seen, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, TextIO

import numpy as np
from rich.console import Console
from rich.table import Table

from harness.scenario.units import render
from harness.statistics.noise import PAIRS, SITTINGS, WORKFLOWS, Sight
from harness.statistics.reading import DISTURBED_MAX
from harness.verdict.gate import EFFECT_MIN, MARGIN

if TYPE_CHECKING:
    from harness.gate.doctor import Conditions, Diagnosis, Subject

PLAIN_WIDTH = 160
GATING_SITTINGS, N_USUAL = 10, WORKFLOWS[-1]
NOTHING = "-"


def write_diagnosis(diagnosis: Diagnosis, out: TextIO) -> None:
    """Tables and sentences; plain text in a pipe."""
    console = Console(file=out, width=None if out.isatty() else PLAIN_WIDTH, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        _print(console, diagnosis)
    out.write(captured.get())


def _print(console: Console, diagnosis: Diagnosis) -> None:
    machine = diagnosis.machine
    quota = "no quota" if machine.quota_cores is None else f"quota {machine.quota_cores:g} cores"
    words = [machine.cpu, f"{machine.cores} cores", quota, render(machine.memory_bytes, "size"), machine.system]
    console.print(" · ".join(words), soft_wrap=True)
    for note in diagnosis.notes:
        console.print(f"  {note}", soft_wrap=True)
    console.print(f"\n{diagnosis.rounds} rounds of {diagnosis.seconds:g} s, each with a fresh process\n")
    console.print(_conditions_table(diagnosis.subjects))
    console.print()
    console.print(_spread_table(diagnosis.subjects))
    first = diagnosis.subjects[0]
    console.print(f"\nsmallest worsening of {first.scenario}, level {first.level}, that would be seen here "
                  "(4 times of 5; false alarms 1 in 100)\n", soft_wrap=True)  # fmt: skip
    console.print(_sight_table(diagnosis.sights))
    console.print()
    for line in sentences(diagnosis):
        console.print(line, soft_wrap=True)


def _table(*headings: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left", no_wrap=not index, overflow="fold")
    return table


def _conditions_table(subjects: Sequence[Subject]) -> Table:
    table = _table("", "n a round", "others' CPU", "worst second", "stolen", "waited for a core", "loop late p99",
                   "started late p99")  # fmt: skip
    for subject in subjects:
        found = subject.conditions
        table.add_row(
            f"{subject.scenario} {subject.level}",
            str(subject.n),
            _percent(_median(found, "others")),
            _percent(max((each.others_worst for each in found if each.others_worst is not None), default=None)),
            _percent(_median(found, "stolen")),
            _percent(_median(found, "pressure")),
            _time(_median(found, "loop_lag_p99_s")),
            _time(_median(found, "late_p99_s")),
        )
    return table


def _spread_table(subjects: Sequence[Subject]) -> Table:
    table = _table("standard deviation", "typical", "between rounds", "chance alone", "without the reference's",
                   "correlation", "blocks of a round")  # fmt: skip
    for subject in subjects:
        for spread in subject.spreads:
            table.add_row(
                f"{subject.scenario} {subject.level} {spread.metric}",
                render(spread.typical_s, "duration"),
                _percent(spread.between),
                _percent(spread.chance),
                _percent(spread.calibrated),
                NOTHING if spread.correlation is None else f"{spread.correlation:+.2f}",
                _percent(spread.within),
            )
    return table


def _sight_table(found: Sequence[Sight]) -> Table:
    table = _table("", "workflows", *(f"{k} sittings" for k in SITTINGS), *(f"{k} pairs" for k in PAIRS))
    for (metric, n), row in groupby(found, key=lambda sight: (sight.metric, sight.n)):
        table.add_row(metric, str(n), *(_effect(sight.mde) for sight in row))
    return table


def sentences(diagnosis: Diagnosis) -> Iterator[str]:
    """What the numbers mean, and what to do."""
    first = diagnosis.subjects[0]
    for metric in dict.fromkeys(sight.metric for sight in diagnosis.sights):
        yield _seen(metric, first.scenario, [sight for sight in diagnosis.sights if sight.metric == metric])
    if any(spread.between < spread.chance / 2 for spread in first.spreads):
        yield ("Rounds differ by less than chance would make them: one seed, the same draws. What draws anew in every "
               "run, as real models do, differs by chance as well.")  # fmt: skip
    busy = _median(first.conditions, "others")
    if busy is not None and busy > DISTURBED_MAX:
        yield (f"Others took {_percent(busy)} of the machine meanwhile: the gate leaves out blocks with more than "
               f"{_percent(DISTURBED_MAX)}, and a run that is mostly such blocks says nothing.")  # fmt: skip
    # The spread of a spread: 1 / sqrt(2 (k - 1)) of it, for normal ones.
    yield (f"Rounds of one sitting understate what sittings hours or hosts apart differ by: the history's columns are "
           f"the best case. A spread known from {diagnosis.rounds} rounds may be off by "
           f"{_percent(1 / (2 * (diagnosis.rounds - 1)) ** 0.5)}.")  # fmt: skip


def _seen(metric: str, scenario: str, found: Sequence[Sight]) -> str:
    """Whether the gate's margin can be seen from history, and if not, what would show it."""
    [history] = [sight for sight in found if (sight.by, sight.times, sight.n) == ("history", GATING_SITTINGS, N_USUAL)]
    within = f"with {history.n} workflows and {history.times} sittings"
    if history.mde is not None and history.mde <= MARGIN:
        return f"{metric}: history sees {_effect(history.mde)} here, {within} as alike as these rounds."
    blind = (f"{metric}: this machine cannot see +{_percent(MARGIN)} of {scenario} from history ({within}: "
             f"{_effect(history.mde)})")  # fmt: skip
    duets = [sight for sight in found if sight.by == "duet" and sight.mde is not None and sight.mde <= MARGIN]
    if not duets:
        return f"{blind}, nor by a duet of {PAIRS[-1]} pairs: measure longer, or on a machine of its own."
    least = min(duets, key=lambda sight: sight.times * sight.n)
    return f"{blind}: use the duet. {least.times} pairs see {_effect(least.mde)}, with {least.n} workflows a run."


def _median(found: Sequence[Conditions], name: str) -> float | None:
    values = [value for each in found if (value := getattr(each, name)) is not None]
    return float(np.median(values)) if values else None


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{share * 100:.2g} %" if share < 1 else f"{share * 100:.0f} %"


def _effect(mde: float | None) -> str:
    return f"< {_percent(EFFECT_MIN)}" if mde is not None and mde < EFFECT_MIN else _percent(mde)


def _time(seconds: float | None) -> str:
    return NOTHING if seconds is None else render(seconds, "duration")
