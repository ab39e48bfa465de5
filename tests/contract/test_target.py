"""What every Target promises. Each implementation runs the same tests.

A new implementation adds a case: how to build it, and requests of which kinds end well, badly, and not soon. Tests of
an optional power run for the targets that have it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from virtual_time import settle

from harness.errors import Rejected, TargetError
from harness.observation.observation import HostUse, Outcome
from harness.orchestrator.embedded import Embedded
from harness.target.python import PythonTarget
from harness.target.serving import WorkflowWatch
from harness.target.target import Admitting, Measurable, Services, Target, Watch, WorkflowRequest, WorkflowResult


@dataclass(frozen=True)
class Case:
    """One implementation, and the kinds of workflow it knows."""

    build: Callable[[], Target]
    good: str = "good"  # ends well, at once
    bad: str = "bad"  # ends in a TargetError
    slow: str = "slow"  # would take a minute
    accepts: int | None = None  # slow workflows it accepts at most before it says no; None: it accepts everything


def embedded() -> Embedded:
    """Three kinds, each a chain of two; two slots and a queue of three."""
    steps = [{"name": "a", "agent": "quick"}, {"name": "b", "agent": "last", "needs": ["a"]}]
    kinds: dict[str, dict[str, Any]] = {"good": {}, "bad": {"failure": 1.0}, "slow": {"wait": 60.0}}
    return Embedded(
        {
            "workflow": [{"kind": kind, "steps": steps, "work": {"last": work}} for kind, work in kinds.items()],
            "agent": {"last": {"attempts": 2, "deadline": 90.0}},
            "orchestrator": {"slots": 2, "queue": 3, "retry_wait": 0.001},
        }
    )


async def flow(request: WorkflowRequest, watch: Watch) -> dict[str, Any]:
    """A user's own orchestrator, as `python:module:attribute` names one."""
    async with watch.step("only"):
        if request.kind == "bad":
            raise TargetError("as asked", definite=True, error_class="bad")
        await asyncio.sleep(60.0 if request.kind == "slow" else 0.0)
    return {"id": request.id, "seed": request.seed}


def python() -> PythonTarget:
    """The function above, found by its name in this module."""
    sys.modules["contract_flows"] = sys.modules[__name__]
    return PythonTarget({"attribute": "contract_flows:flow", "expect": {"/id": {"equals": "{id}"}}})


CASES = {"embedded": Case(build=embedded, accepts=5), "python": Case(build=python)}


def every(has: Callable[[Case], bool]) -> pytest.MarkDecorator:
    """The test runs for each of these targets."""
    chosen = {name: case for name, case in CASES.items() if has(case)}
    return pytest.mark.parametrize("case", list(chosen.values()), ids=list(chosen))


EVERY_TARGET = every(lambda case: True)
EVERY_ADMITTING_TARGET = every(lambda case: issubclass(type(case.build()), Admitting))
EVERY_MEASURABLE_TARGET = every(lambda case: issubclass(type(case.build()), Measurable))


def request(kind: str, number: int = 0, *, seed: int = 1, deadline_s: float = 30.0) -> WorkflowRequest:
    return WorkflowRequest(f"w{number}", kind, seed, deadline_s)


def new_watch() -> WorkflowWatch:
    """The host's own."""
    return WorkflowWatch(asyncio.get_running_loop().time, Services())


def check(case: Case, main: Callable[[Target], Awaitable[None]]) -> None:
    """Run a test on a started target, and stop it."""

    async def whole() -> None:
        target = case.build()
        await target.start(Services())
        try:
            await main(target)
        finally:
            await target.stop()

    asyncio.run(whole())


async def submit(target: Target, wanted: WorkflowRequest, watch: WorkflowWatch | None = None) -> WorkflowResult:
    """As the host does: admit first, where the target admits."""
    if isinstance(target, Admitting):
        target.admit(wanted)
    return await target.run(wanted, watch or new_watch())


@EVERY_TARGET
def test_a_workflow_ends_with_a_digest_that_its_request_decides(case: Case) -> None:
    """The same request on another instance gives the same digest; another seed or id gives another."""
    found = []

    async def main(target: Target) -> None:
        results = [
            await submit(target, request(case.good, number, seed=seed)) for number, seed in ((0, 1), (1, 1), (2, 2))
        ]
        assert all(result.attempts >= 1 for result in results)
        found.append([result.digest for result in results])

    check(case, main)
    check(case, main)
    assert found[0] == found[1]
    assert all(found[0])
    assert len(set(found[0])) == 3


@EVERY_TARGET
def test_steps_are_told_with_ordered_stamps(case: Case) -> None:
    """Queued, then started, then ended, all between submission and the end, on the watch's clock."""

    async def main(target: Target) -> None:
        watch = new_watch()
        began = watch.clock()
        await submit(target, request(case.good), watch)
        assert watch.steps
        for name, agent, queued, started, ended, outcome, attempts, llm_wait_s in watch.steps:
            assert name
            assert agent
            assert began <= queued <= started <= ended <= watch.clock()
            assert (outcome, attempts) == (Outcome.OK, 1)
            assert 0.0 <= llm_wait_s <= ended - started

    check(case, main)


@EVERY_TARGET
def test_a_failure_is_a_target_error_with_a_class(case: Case) -> None:
    """And the target goes on to serve the next."""

    async def main(target: Target) -> None:
        watch = new_watch()
        with pytest.raises(TargetError) as raised:
            await submit(target, request(case.bad), watch)
        assert raised.value.error_class
        assert [step[5] for step in watch.steps].count(Outcome.FAILED) == 1
        await submit(target, request(case.good, 1))

    check(case, main)


@EVERY_TARGET
def test_the_requests_deadline_holds(case: Case) -> None:
    """A workflow that would take a minute is over soon after its deadline."""

    async def main(target: Target) -> None:
        async with asyncio.timeout(20.0):
            with pytest.raises(TargetError) as raised:
                await submit(target, request(case.slow, deadline_s=0.2))
        assert "deadline" in raised.value.error_class

    check(case, main)


@EVERY_TARGET
def test_a_cancelled_workflow_is_gone(case: Case) -> None:
    """It ends as cancelled, leaves no task, and its place is free again."""

    async def main(target: Target) -> None:
        before = asyncio.all_tasks()
        for number in range(20):
            task = asyncio.create_task(submit(target, request(case.slow, number)))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert asyncio.all_tasks() == before
        await submit(target, request(case.good, 99))

    check(case, main)


@EVERY_TARGET
def test_concurrent_workflows_do_not_mix(case: Case) -> None:
    """Side by side they give the digests that they give alone."""
    total = case.accepts or 50

    async def main(target: Target) -> None:
        alone = [(await submit(target, request(case.good, number, seed=number))).digest for number in range(total)]
        other = case.build()
        await other.start(Services())
        results = await asyncio.gather(
            *[submit(other, request(case.good, number, seed=number)) for number in range(total)]
        )
        await other.stop()
        assert [result.digest for result in results] == alone

    check(case, main)


@EVERY_ADMITTING_TARGET
def test_what_is_too_much_is_rejected_and_what_was_accepted_is_kept(case: Case) -> None:
    """A rejection is definite and says when to come back; the accepted ones are all still there."""

    async def main(target: Target) -> None:
        assert isinstance(target, Admitting)
        tasks, rejected = [], []
        for number in range(int(case.accepts or 0) + 4):
            wanted = request(case.slow, number)
            try:
                target.admit(wanted)
            except Rejected as no:
                rejected.append(no)
            else:
                tasks.append(asyncio.create_task(target.run(wanted, new_watch())))
        await asyncio.sleep(0)
        assert len(tasks) == case.accepts
        assert len(rejected) == 4
        assert all(no.definite and no.retry_after_s > 0 and no.queue_depth > 0 for no in rejected)
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        assert {type(end) for end in await settle(*tasks)} == {asyncio.CancelledError}

    check(case, main)


@EVERY_MEASURABLE_TARGET
def test_use_is_back_at_nothing_when_nothing_runs(case: Case) -> None:
    """Whatever ended however."""

    async def main(target: Target) -> None:
        assert isinstance(target, Measurable)
        kinds = [case.good, case.bad, case.slow]
        total = case.accepts or 30
        tasks = [
            asyncio.create_task(submit(target, request(kinds[number % len(kinds)], number, deadline_s=0.3)))
            for number in range(total)
        ]
        await asyncio.sleep(0)
        assert target.use().running + target.use().queue_depth > 0
        await settle(*tasks)
        use = target.use()
        assert isinstance(use, HostUse)
        assert (use.running, use.queue_depth) == (0, 0)
        assert use.accepted == total
        assert all((pool.busy, pool.waiting) == (0, 0) for pool in use.pools.values())

    check(case, main)
