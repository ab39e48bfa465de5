"""A level that is so far beyond the objective that nothing it could still measure would change that."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from harness.load.control import LoadReport, Progress
from harness.observation.manifest import LevelEnd
from harness.observation.observation import Phase, ResourceSample
from harness.run.listening import Interrupt
from harness.statistics.capacity import Condition

SEEN_MIN = 100
"""So many workflows of the measure phase: before, a few slow ones would decide."""
TIMES = 4.0
"""Percentiles so far are of what has ended, which can only be the quicker part: four times the bound is no accident."""
FAILED_SHARE = 0.5


class Linked(threading.Event):
    """Set when it is, or another one."""

    def __init__(self, other: threading.Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        """Either of the two."""
        return super().is_set() or self._other.is_set()


class Hopeless:
    """A run's Listener that ends it, by its own `interrupt`, once it is hopeless; `why` says of what. The person's
    interrupt ends it, too.
    """

    def __init__(self, objective: Sequence[Condition], persons: Interrupt) -> None:
        self._bounds = {each.metric: each.bound for each in objective if each.metric in ("p50", "p95")}
        self._counts_failures = any(each.metric in ("success", "error", "failed") for each in objective)
        self.interrupt = Interrupt(asked=Linked(persons.asked))
        self.why = ""

    def level_started(self, level: str, index: int, count: int) -> None:
        """Nothing is known yet."""

    def level_ended(self, end: LevelEnd) -> None:
        """Nothing is left to end."""

    def faults_changed(self, active: Sequence[str]) -> None:
        """A sweep breaks nothing."""

    def report(self, level: str, report: LoadReport, sample: ResourceSample | None) -> None:
        """Look at what ended so far."""
        if not isinstance(report, Progress) or report.phase != Phase.MEASURE or self.why:
            return
        ended = report.ok + report.failed
        if ended < SEEN_MIN:
            return
        seen = {"p50": report.p50_s, "p95": report.p95_s}
        for metric, bound_s in self._bounds.items():
            value_s = seen[metric]
            if value_s is not None and value_s > TIMES * bound_s:
                self.why = f"{metric} was {value_s / bound_s:.1f} times its bound after {ended} workflows"
        if self._counts_failures and report.failed > FAILED_SHARE * ended:
            self.why = f"{report.failed} of {ended} workflows had failed"
        if self.why:
            self.interrupt.asked.set()
