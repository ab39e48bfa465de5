"""An agent that keeps failing is not called for a while, and is tried again after it."""

from __future__ import annotations

import asyncio

import pytest
from virtual_time import RecordingWatch, simulate

from harness.errors import TargetError
from harness.orchestrator.call import AgentFailed, AgentFunction, Call
from harness.orchestrator.embedded import Embedded
from harness.target.target import WorkflowRequest

RULE = {"failures": 0.5, "calls_min": 4, "window": 10, "open": 5.0}


def clock() -> float:
    return asyncio.get_running_loop().time()


def behind_breaker(agent: AgentFunction) -> Embedded:
    """One step, one attempt."""
    return Embedded(
        {
            "workflow": [{"kind": "job", "steps": [{"name": "a", "agent": "x"}]}],
            "agent": {"x": {"attempts": 1, "deadline": 1.0, "breaker": RULE}},
        },
        clock=clock,
        agents={"x": agent},
    )


async def end(target: Embedded, number: int) -> str:
    """How one workflow ends."""
    try:
        await target.run(WorkflowRequest(f"w{number}", "job", 1, 30.0), RecordingWatch())
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


def test_a_deadline_says_nothing_about_the_agent() -> None:
    """Cancelled attempts neither open it nor hold a probe's place."""

    async def slow(call: Call) -> bytes:
        await asyncio.sleep(60.0)
        return b"done"

    async def main() -> None:
        target = behind_breaker(slow)
        assert [await end(target, number) for number in range(8)] == ["step_deadline"] * 8

    simulate(main)


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
