"""Failed attempts are tried again, but neither for ever nor all at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from virtual_time import RecordingWatch, simulate

from harness.errors import TargetError
from harness.orchestrator.call import AgentFailed, AgentFunction, Call
from harness.orchestrator.embedded import Embedded
from harness.orchestrator.retry import CEILING, FLOOR, RetryBudget, retry_wait_s
from harness.target.target import WorkflowRequest


def clock() -> float:
    return asyncio.get_running_loop().time()


def one_step(agent: AgentFunction, *, attempts: int = 3, **bounds: Any) -> Embedded:
    """A workflow of one step."""
    return Embedded(
        {
            "workflow": [{"kind": "job", "steps": [{"name": "a", "agent": "flaky"}]}],
            "agent": {"flaky": {"attempts": attempts}},
            "orchestrator": bounds,
        },
        clock=clock,
        agents={"flaky": agent},
    )


def failing(times: int) -> AgentFunction:
    """Fails its first attempts."""

    async def agent(call: Call) -> bytes:
        if call.attempt <= times:
            raise AgentFailed("as it should")
        return b"done"

    return agent


async def run(target: Embedded, workflow: str = "w") -> RecordingWatch:
    watch = RecordingWatch()
    await target.run(WorkflowRequest(workflow, "job", 1, 1000.0), watch)
    return watch


def test_a_step_succeeds_on_a_later_attempt() -> None:
    """The workflow counts the retries, the step its attempts, and the waits double with jitter."""

    async def main() -> None:
        target = one_step(failing(2), retry_wait=1.0)
        watch = RecordingWatch()
        result = await target.run(WorkflowRequest("w", "job", 1, 1000.0), watch)
        assert result.attempts == 3
        assert watch.steps[0][5:7] == ("ok", 3)
        assert 0.5 * (1 + 2) <= clock() <= 1.5 * (1 + 2)

    simulate(main)


def test_attempts_are_bounded() -> None:
    """The last failure is final and keeps its class."""

    async def main() -> None:
        watch = RecordingWatch()
        with pytest.raises(TargetError, match="attempt 3 of 3: as it should") as raised:
            await one_step(failing(3)).run(WorkflowRequest("w", "job", 1, 9.0), watch)
        assert raised.value.definite
        assert raised.value.error_class == "agent_failed"
        assert watch.steps[0][5:7] == ("failed", 3)

    simulate(main)


def test_the_budget_is_shared_by_all_workflows() -> None:
    """Once the floor is spent, retries are the given share of first attempts, and a refused one is final."""

    async def main() -> None:
        target = one_step(failing(1), retry_budget=0.25, retry_wait=0.0)
        total = 200
        results = await asyncio.gather(*[run(target, f"w{number}") for number in range(total)], return_exceptions=True)
        refused = [result for result in results if isinstance(result, TargetError)]
        assert {error.error_class for error in refused} == {"retry_budget"}
        assert total - len(refused) == FLOOR + 0.25 * total

    simulate(main)


def test_other_exceptions_of_an_agent_are_not_retried() -> None:
    """A bug is a bug: it leaves as it is, and the step is told."""

    async def broken(call: Call) -> bytes:
        raise KeyError("bug")

    async def main() -> None:
        target = one_step(broken)
        watch = RecordingWatch()
        with pytest.raises(KeyError):
            await target.run(WorkflowRequest("w", "job", 1, 9.0), watch)
        assert watch.steps[0][5:7] == ("failed", 1)
        assert target.use().running == 0
        assert target.use().pools["flaky"].busy == 0

    simulate(main)


class Hands:
    """A clock set by hand."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def taken(budget: RetryBudget) -> int:
    """Retries to be had now."""
    count = 0
    while budget.take():
        count += 1
    return count


def test_a_quiet_system_may_retry() -> None:
    """The floor is there from the start, and grows back by one a second."""
    hands = Hands()
    budget = RetryBudget(0.1, clock=hands)
    assert taken(budget) == FLOOR
    hands.now_s = 3.0
    assert taken(budget) == 3
    hands.now_s = 1e6
    assert taken(budget) == FLOOR


def test_a_busy_system_saves_up_to_the_ceiling_only() -> None:
    """Good hours do not pay for an unbounded burst."""
    budget = RetryBudget(0.1, clock=Hands())
    budget.first_attempts += 1_000_000
    assert taken(budget) == CEILING
    budget.first_attempts += 50
    assert taken(budget) == 5


def test_a_budget_of_nothing_allows_nothing() -> None:
    """Not even the floor."""
    assert taken(RetryBudget(0.0, clock=Hands())) == 0


def test_the_wait_doubles_and_its_jitter_is_seeded() -> None:
    """Between 0.5 and 1.5 times the doubled wait, the same for the same key, different for others."""
    key = {"seed": 1, "workflow": "w", "step": "a"}
    waits = [retry_wait_s(0.1, attempt=attempt, **key) for attempt in range(1, 6)]  # type: ignore[arg-type]
    for attempt, wait_s in enumerate(waits):
        assert 0.05 * 2**attempt < wait_s < 0.15 * 2**attempt
    assert waits[0] == retry_wait_s(0.1, attempt=1, seed=1, workflow="w", step="a")
    assert waits[0] != retry_wait_s(0.1, attempt=1, seed=1, workflow="v", step="a")
