"""Deadlines without a timer each: `asyncio.timeout` a step would cost more than all the rest of an orchestrator.

All running tasks are in one dictionary with their next deadline, and one timer looks through it every SWEEP_S and
cancels what is late. So a deadline takes effect up to SWEEP_S late. One that is itself shorter than SHORT_S would
be blurred by that, and gets a timer of its own.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import msgspec

from harness.errors import TargetError
from harness.target.target import CANCELLED, WorkflowRequest

SWEEP_S = 0.010
SHORT_S = 0.050


class Alarm(msgspec.Struct, eq=False):
    """The deadlines of one task: its workflow's, and that of the step it is in. All times are on one clock.

    `fired` says that a deadline cancelled the task. `step` names the step whose deadline comes next; None means
    that the workflow's own comes first.
    """

    task: asyncio.Task[object]
    cancelling: int  # how often it had been cancelled before
    workflow_due: float
    due: float
    step: str | None = None
    fired: bool = False
    asked: bool = False

    def begin_step(self, step: str, now: float, deadline_s: float) -> None:
        """The task works on `step` from now."""
        due = now + deadline_s
        if due < self.workflow_due:
            self.due, self.step = due, step
            if deadline_s < SHORT_S:
                self.ring_after(deadline_s)
        else:
            self.due, self.step = self.workflow_due, None

    def end_step(self) -> None:
        """The task works on no step; the workflow's deadline stands."""
        self.due, self.step = self.workflow_due, None

    def ring_after(self, seconds: float) -> None:
        """Fire then, without waiting for the sweep, if the present deadline is still the one that counts."""
        self.task.get_loop().call_later(seconds, self._ring, self.due)

    def _ring(self, due: float) -> None:
        if self.due == due:
            self.fire()

    def fire(self) -> None:
        """Time is over: cancel the task, once."""
        if not self.fired:
            self.fired = True
            self.task.cancel()

    @property
    def step_is_late(self) -> bool:
        """Whether the deadline that cancelled the task was a step's own."""
        return self.fired and self.step is not None

    def overran(self) -> bool:
        """To be asked in `except CancelledError`: whether the deadline alone is why the task was cancelled.

        When somebody cancelled from outside as well, the outside wins, as with `asyncio.timeout`. It is answered
        once: a cancellation that comes after the deadline was made an error of is somebody else's.
        """
        if not self.fired or self.asked:
            return False
        self.asked = True
        return self.task.uncancel() <= self.cancelling


class Deadlines:
    """The alarms of all running tasks. `clock` gives seconds."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._alarms: dict[Alarm, None] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Tasks under a deadline."""
        return len(self._alarms)

    def enter(self, now: float, workflow_due: float) -> Alarm:
        """Watch the running task. Whoever entered leaves, in a `finally`."""
        task = asyncio.current_task()
        assert task is not None, "only a task can be cancelled"
        alarm = Alarm(task, task.cancelling(), workflow_due, workflow_due)
        self._alarms[alarm] = None
        if workflow_due - now < SHORT_S:
            alarm.ring_after(workflow_due - now)
        if self._sweeper is None:
            self._sweeper = task.get_loop().call_later(SWEEP_S, self._sweep)
        return alarm

    def leave(self, alarm: Alarm) -> None:
        """The task is past its deadlines."""
        del self._alarms[alarm]
        alarm.due = math.inf

    def stop(self) -> None:
        """No sweep after this."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def _sweep(self) -> None:
        now = self._clock()
        for alarm in self._alarms:
            if alarm.due <= now:
                alarm.fire()
        # With nothing to watch there is no timer at all: an idle orchestrator sleeps.
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep) if self._alarms else None


class StepTimeout(TargetError):
    """A step passed its own deadline."""

    def __init__(self, step: str, workflow: str) -> None:
        message = f"step {step!r} of workflow {workflow!r} passed its deadline"
        super().__init__(message, definite=True, error_class="step_deadline")


def step_timeout(alarm: Alarm, request: WorkflowRequest) -> StepTimeout | None:
    """To be asked in `except CancelledError` inside a step: its time-out, if its own deadline alone is why.

    The cancellation is then taken back, and the time-out is to be raised in its place. The workflow's deadline is
    left to whoever runs the workflow.
    """
    if alarm.step is None or not alarm.overran():
        return None
    return StepTimeout(alarm.step, request.id)


def ending(error: asyncio.CancelledError, alarm: Alarm, request: WorkflowRequest) -> TargetError | None:
    """To be asked in `except CancelledError` by whoever runs the workflow: what it failed of, if the task is to go on.

    A deadline of its own, or its client, who asked for no more than its end; None: the task itself is to end.
    """
    if alarm.overran():
        return late(alarm, request)
    if error.args == (CANCELLED,):
        alarm.task.uncancel()
        return TargetError(f"workflow {request.id!r} was {CANCELLED}", definite=True, error_class="cancelled")
    return None


def late(alarm: Alarm, request: WorkflowRequest) -> TargetError:
    """What a task whose deadline fired failed of."""
    if alarm.step is None:
        message = f"workflow {request.id!r} passed its deadline of {request.deadline_s:g} s"
        return TargetError(message, definite=True, error_class="workflow_deadline")
    return StepTimeout(alarm.step, request.id)
