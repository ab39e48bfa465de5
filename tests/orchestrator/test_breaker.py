"""An agent that keeps failing, or hangs, is not called for a while, and is tried again after it.

What any breaker promises is in tests/contract/test_breaker.py; here is what the engine makes of it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from virtual_time import RecordingWatch, settle, simulate

from harness.errors import TargetError
from harness.orchestrator.breaker import BreakerOpen, WindowedBreaker
from harness.orchestrator.call import AgentFailed, AgentFunction, Call
from harness.orchestrator.embedded import Embedded
from harness.orchestrator.window import GRAINS, TimeWindow
from harness.scenario.scenario import Breaker
from harness.target.target import WorkflowRequest

RULE = {"failures": 0.5, "calls_min": 4, "window": 10, "open": 5.0}


def clock() -> float:
    return asyncio.get_running_loop().time()


def behind_breaker(agent: AgentFunction, *, deadline_s: float = 1.0, fan: bool = False, **rule: Any) -> Embedded:
    """One step, one attempt; `fan`: beside a step of another agent, so that each has a task of its own."""
    steps = [{"name": "a", "agent": "x"}, *([{"name": "b", "agent": "y"}] if fan else [])]
    return Embedded(
        {
            "workflow": [{"kind": "job", "steps": steps}],
            "agent": {"x": {"attempts": 1, "deadline": deadline_s, "breaker": {**RULE, **rule}}},
        },
        clock=clock,
        agents={"x": agent},
    )


async def end(target: Embedded, number: int, deadline_s: float = 30.0) -> str:
    """How one workflow ends."""
    try:
        await target.run(WorkflowRequest(f"w{number}", "job", 1, deadline_s), RecordingWatch())
    except TargetError as error:
        return error.error_class
    return "ok"


def test_it_opens_refuses_probes_and_closes() -> None:
    """Four failures open it; while it is open the agent is not called; a good probe closes it."""
    calls = 0
    healthy = False

    async def agent(call: Call) -> bytes:
        nonlocal calls
        calls += 1
        if not healthy:
            raise AgentFailed("down")
        return b"done"

    async def main() -> None:
        nonlocal healthy
        target = behind_breaker(agent)
        assert [await end(target, number) for number in range(6)] == ["agent_failed"] * 4 + ["breaker_open"] * 2
        assert calls == 4
        await asyncio.sleep(5.1)
        assert [await end(target, number) for number in (10, 11)] == ["agent_failed", "breaker_open"]
        healthy = True
        await asyncio.sleep(5.1)
        assert [await end(target, number) for number in range(20, 25)] == ["ok"] * 5

    simulate(main)


async def hanging(call: Call) -> bytes:
    """Never returns in time."""
    await asyncio.sleep(3600.0)
    return b"done"


async def stubborn(call: Call) -> bytes:
    """Swallows the cancellation, and returns all the same."""
    try:
        return await hanging(call)
    except asyncio.CancelledError:
        return b"late"


@pytest.mark.parametrize("agent", [hanging, stubborn])
@pytest.mark.parametrize("fan", [False, True])
@pytest.mark.parametrize("deadline_s", [1.0, 0.04])
def test_a_step_that_passes_its_own_deadline_has_failed(agent: AgentFunction, fan: bool, deadline_s: float) -> None:
    """Four of them open it, swept or by a timer, on the workflow's task or a branch's; a probe that hangs, again."""

    async def main() -> None:
        target = behind_breaker(agent, fan=fan, deadline_s=deadline_s)
        ends = [await end(target, number) for number in range(6)]
        assert ends == ["step_deadline"] * 4 + ["breaker_open"] * 2
        await asyncio.sleep(5.1)
        assert [await end(target, number) for number in range(10, 12)] == ["step_deadline", "breaker_open"]
        assert target.use().pools["x"].busy == 0

    simulate(main)


@pytest.mark.parametrize("fan", [False, True])
def test_the_deadline_of_the_workflow_says_nothing_about_the_agent(fan: bool) -> None:
    """It may have come to the step with a moment left."""

    async def main() -> None:
        target = behind_breaker(hanging, fan=fan)
        assert [await end(target, number, 0.5) for number in range(20)] == ["workflow_deadline"] * 20
        assert await end(target, 20) == "step_deadline"

    simulate(main)


def test_a_cancellation_from_outside_says_nothing_and_stays_one() -> None:
    """20 of 20 leave it closed; in the very moment of the deadline, too."""

    async def main() -> None:
        target = behind_breaker(hanging)
        for number in range(20):
            task = asyncio.create_task(target.run(WorkflowRequest(f"w{number}", "job", 1, 30.0), RecordingWatch()))
            await asyncio.sleep(0.5)
            (alarm,) = target._deadlines._alarms
            if number % 2:
                alarm.fire()
            task.cancel()
            (ended,) = await settle(task)
            assert isinstance(ended, asyncio.CancelledError)
        assert await end(target, 20) == "step_deadline"

    simulate(main)


def test_a_cancellation_after_the_deadline_was_made_an_error_is_somebody_elses() -> None:
    """While the step gives back what it holds, a second one comes from outside: that one is not swallowed."""

    class Slow:
        async def release(self) -> None:
            await asyncio.sleep(10.0)

    async def holding(call: Call) -> bytes:
        call.held = Slow()
        return await hanging(call)

    async def main() -> None:
        target = behind_breaker(holding)
        task = asyncio.create_task(target.run(WorkflowRequest("w", "job", 1, 30.0), RecordingWatch()))
        await asyncio.sleep(2.0)
        task.cancel()
        (ended,) = await settle(task)
        assert isinstance(ended, asyncio.CancelledError)
        assert task.cancelled()

    simulate(main)


def test_half_open_admits_as_many_of_50_workflows_as_are_permitted() -> None:
    """They wait for nothing, arrive at once, and the agent still hangs."""
    calls = 0

    async def counted(call: Call) -> bytes:
        nonlocal calls
        calls += 1
        return await hanging(call)

    async def main() -> None:
        nonlocal calls
        target = behind_breaker(counted, half_open=3)
        await asyncio.gather(*[end(target, number) for number in range(4)])
        await asyncio.sleep(5.1)
        calls = 0
        ends = await asyncio.gather(*[end(target, number) for number in range(10, 60)])
        assert calls == 3
        assert sorted(ends) == ["breaker_open"] * 47 + ["step_deadline"] * 3

    simulate(main)


def test_a_brown_out_opens_it() -> None:
    """Everything succeeds, 20 times slower than it should."""

    async def brown(call: Call) -> bytes:
        await asyncio.sleep(2.0)
        return b"done"

    async def main() -> None:
        target = behind_breaker(brown, deadline_s=10.0, slow=0.5, slow_share=0.5)
        assert [await end(target, number) for number in range(6)] == ["ok"] * 4 + ["breaker_open"] * 2

    simulate(main)


def test_what_is_refused_further_in_counts_in_no_breaker_but_its_own() -> None:
    """An agent whose dependency is not asked has not failed, nor has it succeeded."""

    async def main() -> None:
        dependency = WindowedBreaker(Breaker(calls_min=1, open=1000.0), clock=clock)
        calls = 0

        async def asks(call: Call) -> bytes:
            nonlocal calls
            calls += 1
            permit = dependency.admit()
            if permit is None:
                raise BreakerOpen("a question", "llm")
            dependency.record(permit, failed=True)
            raise AgentFailed("down")

        target = behind_breaker(asks)
        assert [await end(target, number) for number in range(20)] == ["agent_failed"] + ["breaker_open"] * 19
        assert calls == 20

    simulate(main)


def test_the_memory_of_a_time_window_does_not_follow_the_load() -> None:
    """A hundred thousand calls in a window are kept as about a hundred sums, and none of them is lost."""
    window = TimeWindow(10.0)
    for number in range(100_000):
        window.add(number * 1e-4, failed=number % 4 == 0, slow=number % 2 == 0)
    assert len(window._grains) <= GRAINS + 1
    assert (window.calls, window.failures, window.slow) == (100_000, 25_000, 50_000)
    window.add(100.0, failed=True, slow=False)
    assert (window.calls, window.failures, window.slow) == (1, 1, 0)


@pytest.mark.parametrize("error", [ValueError("bug"), TargetError("no", definite=False, error_class="mine")])
def test_what_the_agent_raises_comes_through(error: Exception) -> None:
    """The breaker changes no exception but its own refusal."""

    async def agent(call: Call) -> bytes:
        raise error

    async def main() -> None:
        with pytest.raises(type(error)) as raised:
            await behind_breaker(agent).run(WorkflowRequest("w", "job", 1, 30.0), RecordingWatch())
        assert raised.value is error

    simulate(main)
