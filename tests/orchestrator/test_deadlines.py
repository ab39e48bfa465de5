"""Deadlines stop what is late, say which one it was, and never hide a cancellation from outside."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from virtual_time import RecordingWatch, simulate

from harness.errors import TargetError
from harness.orchestrator.call import Call
from harness.orchestrator.deadline import SWEEP_S, Deadlines
from harness.orchestrator.embedded import Embedded
from harness.target.target import WorkflowRequest

GRAIN_S = SWEEP_S + 1e-6


def clock() -> float:
    return asyncio.get_running_loop().time()


def options(deadline_s: float, wait_s: float, *, shape: str = "sequential", slots: int = 1000) -> dict[str, Any]:
    """Every step waits `wait_s`; the data agent has the deadline."""
    work = {"work": {"wait": wait_s}}
    agents = dict.fromkeys(("triage", "optimization", "supervisor"), work)
    return {
        "workflow": [{"kind": "job", "shape": shape}],
        "agent": {**agents, "data": {"deadline": deadline_s, **work}},
        "orchestrator": {"slots": slots},
    }


async def failure_of(target: Embedded, deadline_s: float = 30.0, watch: RecordingWatch | None = None) -> TargetError:
    """How a workflow fails."""
    with pytest.raises(TargetError) as raised:
        await target.run(WorkflowRequest("w", "job", 1, deadline_s), watch or RecordingWatch())
    assert raised.value.definite
    return raised.value


@pytest.mark.parametrize(("deadline_s", "late_by_s"), [(1.0, GRAIN_S), (0.04, 1e-6)])
@pytest.mark.parametrize("shape", ["sequential", "supervisor"])
def test_a_late_step_fails_its_workflow_by_name(shape: str, deadline_s: float, late_by_s: float) -> None:
    """At the sweep's grain, or exactly for a short deadline; on its own task or on a branch's."""

    async def main() -> None:
        watch = RecordingWatch()
        error = await failure_of(Embedded(options(deadline_s, 5.0, shape=shape), clock=clock), watch=watch)
        assert error.error_class == "step_deadline"
        assert "'data'" in str(error)
        assert -1e-9 < clock() - (5.0 + deadline_s) <= late_by_s
        outcomes = {name: outcome for name, _, _, _, _, outcome, _, _ in watch.steps}
        assert outcomes.pop("data") == "failed"
        assert outcomes.pop("plan" if shape == "supervisor" else "triage") == "ok"
        assert set(outcomes.values()) <= {"failed"}  # branches beside it are stopped and told too

    simulate(main)


@pytest.mark.parametrize(("deadline_s", "late_by_s"), [(7.0, GRAIN_S), (0.03, 1e-6)])
@pytest.mark.parametrize("shape", ["sequential", "supervisor"])
def test_a_late_workflow_fails_as_a_whole(shape: str, deadline_s: float, late_by_s: float) -> None:
    """Whichever step it is in."""

    async def main() -> None:
        error = await failure_of(Embedded(options(30.0, 5.0, shape=shape), clock=clock), deadline_s)
        assert error.error_class == "workflow_deadline"
        assert -1e-9 < clock() - deadline_s <= late_by_s

    simulate(main)


def test_the_workflow_deadline_runs_while_it_waits_for_a_slot() -> None:
    """It counts from acceptance; the slot it waited for is not lost."""

    async def main() -> None:
        target = Embedded(options(30.0, 5.0, slots=1), clock=clock)
        first = asyncio.create_task(target.run(WorkflowRequest("first", "job", 1, 30.0), RecordingWatch()))
        await asyncio.sleep(0)
        watch = RecordingWatch()
        error = await failure_of(target, 2.0, watch)
        assert error.error_class == "workflow_deadline"
        assert watch.started_at is None
        assert watch.steps == []
        await first
        assert (target.use().running, target.use().queue_depth) == (0, 0)

    simulate(main)


def test_waiting_for_the_pool_counts_towards_the_step_deadline() -> None:
    """A step that never got an instance is reported with no attempt, and leaks none."""

    async def main() -> None:
        target = Embedded(
            {
                "workflow": [{"kind": "job", "steps": [{"name": "a", "agent": "slow"}]}],
                "agent": {"slow": {"pool": 1, "deadline": 3.0, "work": {"wait": 2.0}}},
            },
            clock=clock,
        )
        watches = [RecordingWatch() for _ in range(3)]
        results = await asyncio.gather(
            *[target.run(WorkflowRequest(f"w{n}", "job", 1, 30.0), watch) for n, watch in enumerate(watches)],
            return_exceptions=True,
        )
        assert [getattr(result, "error_class", "ok") for result in results] == ["ok", "step_deadline", "step_deadline"]
        (name, _, queued, started, ended, outcome, attempts, _) = watches[2].steps[0]
        assert (name, queued, outcome, attempts) == ("a", 0.0, "failed", 0)
        assert started == ended == pytest.approx(3.0, abs=GRAIN_S)
        pool = target.use().pools["slow"]
        assert (pool.busy, pool.waiting) == (0, 0)

    simulate(main)


def test_a_cancellation_from_outside_stays_one() -> None:
    """It leaves as CancelledError, not as a failure of the workflow's own."""

    async def main() -> None:
        target = Embedded(options(30.0, 5.0), clock=clock)
        task = asyncio.create_task(target.run(WorkflowRequest("w", "job", 1, 20.0), RecordingWatch()))
        await asyncio.sleep(1.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert target.use().running == 0

    simulate(main)


@pytest.mark.parametrize("outside", [False, True])
def test_the_outside_wins_when_both_happen_at_once(outside: bool) -> None:
    """The deadline is the reason only if nobody else wanted the task to end."""

    async def main() -> None:
        deadlines = Deadlines(clock=clock)
        alarms = []

        async def work() -> bool:
            alarms.append(deadlines.enter(clock(), clock() + 10.0))
            try:
                await asyncio.sleep(20.0)
            except asyncio.CancelledError:
                return alarms[0].overran()
            finally:
                deadlines.leave(alarms[0])
            return False

        task = asyncio.create_task(work())
        await asyncio.sleep(1.0)
        alarms[0].fire()
        if outside:
            task.cancel()
        assert await task is not outside
        assert task.cancelling() == int(outside)

    simulate(main)


def test_an_agent_that_swallows_the_cancellation_is_late_all_the_same() -> None:
    """Its finding came after the deadline and does not count."""

    async def stubborn(call: Call) -> bytes:
        try:
            await asyncio.sleep(10.0)
        except asyncio.CancelledError:
            await asyncio.sleep(1.0)
        return b"late"

    async def main() -> None:
        target = Embedded(options(2.0, 0.0), clock=clock, agents={"data": stubborn})
        watch = RecordingWatch()
        error = await failure_of(target, watch=watch)
        assert error.error_class == "step_deadline"
        assert watch.steps[-1][5] == "failed"

    simulate(main)


def test_a_deadline_that_was_met_leaves_nothing_behind() -> None:
    """No task stays under watch, and an idle orchestrator has no timer."""

    async def main() -> None:
        deadlines = Deadlines(clock=clock)
        alarm = deadlines.enter(clock(), clock() + 0.02)
        assert len(deadlines) == 1
        deadlines.leave(alarm)
        assert len(deadlines) == 0
        await asyncio.sleep(1.0)
        assert not alarm.fired
        before = clock()
        with pytest.raises(TimeoutError):  # with no timer but its own, time jumps straight there
            async with asyncio.timeout(100.0):
                await asyncio.get_running_loop().create_future()
        assert clock() == before + 100.0

    simulate(main)
