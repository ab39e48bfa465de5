"""What the load process knows of every arrival: drafts while they are open, one Observation each when they end."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import msgspec

from harness.load.client import Reply
from harness.observation.journal import Journal
from harness.observation.observation import LoadCheck, Observation, Opened, Outcome, Phase, PhaseMark, StepRecord
from harness.target.target import WorkflowRequest


class InFlight(msgspec.Struct, gc=False):
    """An arrival that was sent and has not ended."""

    request: WorkflowRequest
    phase: Phase
    intended: float
    started: float
    accepted: float | None = None


class Recorder:
    """Gives every arrival of a level exactly one Observation.

    `draw` makes the next workflow, `phase_of` places an intended start, `expected` (when given) knows the digest of a
    right result. All times are seconds from the run's t0.
    """

    def __init__(
        self,
        journal: Journal,
        level: str,
        *,
        draw: Callable[[], WorkflowRequest],
        phase_of: Callable[[float], Phase],
        clock: Callable[[], float],
        expected: Callable[[WorkflowRequest], str] | None = None,
        worker: str = "",
    ) -> None:
        self._journal = journal
        self._level = level
        self._draw = draw
        self._phase_of = phase_of
        self._clock = clock
        self._expected = expected
        self.in_flight: dict[str, InFlight] = {}
        self.arrivals = 0
        self.observed = 0
        self.censored = 0
        self.ok_in_measure = 0
        self._fresh: list[Observation] = []  # since somebody last took them
        self._late_max_s = 0.0
        self.worker = worker  # of several load processes, which

    def begin(self, intended: float) -> WorkflowRequest:
        """A workflow that is being sent now."""
        request = self._draw()
        phase = self._phase_of(intended)
        started = self._clock()
        self.arrivals += 1
        if started - intended > self._late_max_s:
            self._late_max_s = started - intended
        self.in_flight[request.id] = InFlight(request, phase, intended, started)
        self._journal.opened(Opened(request.id, request.kind, self._level, phase, intended, started))
        return request

    def accepted(self, workflow: str, at: float) -> None:
        """The target promised to end it; written down at the next flush, whatever happens to us."""
        draft = self.in_flight.get(workflow)
        if draft is not None and draft.accepted is None:
            draft.accepted = at
            kind = draft.request.kind
            self._journal.opened(Opened(workflow, kind, self._level, draft.phase, draft.intended, draft.started, at))

    def end(self, request: WorkflowRequest, reply: Reply) -> float:
        """It ended. Returns when (s from t0); a workflow that was censored meanwhile stays censored."""
        ended = self._clock()
        draft = self.in_flight.pop(request.id, None)
        if draft is None:
            return ended
        outcome, error_class, message = reply.outcome, reply.error_class, reply.message
        if outcome is Outcome.OK and self._expected is not None:
            expected = self._expected(request)
            if reply.digest != expected:
                outcome, error_class = Outcome.FAILED, "corrupted"
                message = f"digest {reply.digest or 'missing'}, not {expected}"
        self._observe(
            Observation(
                id=request.id,
                kind=request.kind,
                level=self._level,
                phase=draft.phase,
                seed=request.seed,
                intended=draft.intended,
                outcome=outcome,
                started=draft.started,
                accepted=reply.accepted,
                ended=ended,
                target_accepted=reply.target_accepted,
                target_started=reply.target_started,
                target_ended=reply.target_ended,
                error_class=error_class,
                message=message,
                rejected=reply.rejected,
                queue_depth=reply.queue_depth,
                retry_after_s=reply.retry_after_s,
                degraded=reply.degraded,
                attempts=reply.attempts,
                digest=reply.digest,
                tokens=reply.tokens,
                cost_usd=reply.cost_usd,
                # The host's steps are JSON already and go to the file as they are: decoding and encoding them again
                # would be the dearest part of recording.
                steps=cast("tuple[StepRecord, ...]", reply.steps),
            )
        )
        return ended

    def shed(self, intended: float) -> None:
        """An arrival that was due and never sent: every user was busy until no more were started."""
        request = self._draw()
        self.arrivals += 1
        self._observe(
            Observation(
                id=request.id,
                kind=request.kind,
                level=self._level,
                phase=self._phase_of(intended),
                seed=request.seed,
                intended=intended,
                outcome=Outcome.NOT_STARTED,
                error_class="shed",
                message="no user was free before the measurement ended",
            )
        )

    def censor(self, workflow: str) -> None:
        """Stop waiting for this workflow, if it is still open: its latency is a lower bound."""
        draft = self.in_flight.pop(workflow, None)
        if draft is None:
            return
        self.censored += 1
        self._observe(
            Observation(
                id=workflow,
                kind=draft.request.kind,
                level=self._level,
                phase=draft.phase,
                seed=draft.request.seed,
                intended=draft.intended,
                outcome=Outcome.UNKNOWN,
                started=draft.started,
                accepted=draft.accepted,
                ended=self._clock(),
                error_class="censored",
                censored=True,
            )
        )

    def censor_all(self) -> None:
        """Stop waiting for everything in flight."""
        for workflow in list(self.in_flight):
            self.censor(workflow)

    def note(self, line: PhaseMark | LoadCheck) -> None:
        """A line about the level itself."""
        self._journal.note(line)

    def flush(self) -> None:
        """Put everything on disk. Raises OSError when the disk refuses; nothing is lost by that."""
        self._journal.flush()

    def take_late_max_s(self) -> float:
        """How late the latest start since the last call was."""
        late_max_s, self._late_max_s = self._late_max_s, 0.0
        return late_max_s

    def take_fresh(self) -> list[Observation]:
        """What ended since the last call, for those who watch."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def _observe(self, observation: Observation) -> None:
        self._journal.ended(observation)
        self.observed += 1
        if observation.outcome is Outcome.OK and observation.phase is Phase.MEASURE:
            self.ok_in_measure += 1
        self._fresh.append(observation)
