"""Agents that misbehave as they are told to, what stops them, and workflows that are cancelled wherever they stand."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from virtual_time import RecordingWatch, settle, simulate

from harness.errors import TargetError, UsageError
from harness.orchestrator.embedded import Embedded
from harness.target.target import CANCELLED, Disturb, Disturbance, WorkflowRequest, WorkflowResult

N = 40
WAIT_S = 0.5


def clock() -> float:
    return asyncio.get_running_loop().time()


def target(**data: Any) -> Embedded:
    """A chain of two agents that wait half a second each; `data` is the second."""
    work = {"wait": WAIT_S}
    steps = [{"name": "a", "agent": "triage"}, {"name": "b", "agent": "data", "needs": ["a"]}]
    options = {
        "workflow": [{"kind": "x", "steps": steps}, {"kind": "y", "steps": [{"name": "b", "agent": "data"}]}],
        "agent": {"triage": {"work": work, "pool": N}, "data": {"work": work, "pool": N, "deadline": 3.0, **data}},
        "orchestrator": {"retry_budget": 1.0},
    }
    return Embedded(options, clock=clock)


def order(
    how: Disturbance, share: float = 1.0, *, factor: float = 1.0, lasts_s: float = 100.0, to: str = ""
) -> Disturb:
    return Disturb("key", "data", how, share, factor, lasts_s, to)


async def ended(one: Embedded, batch: str = "w") -> tuple[list[WorkflowResult], list[str], float]:
    """Results and classes of errors of N workflows at once, and how long all of them took."""
    began = clock()
    ends = await settle(*[one.run(WorkflowRequest(f"{batch}{n}", "x", 1, 30.0), RecordingWatch()) for n in range(N)])
    results = [end for end in ends if isinstance(end, WorkflowResult)]
    return results, [end.error_class for end in ends if isinstance(end, TargetError)], clock() - began


def run(*orders: Disturb, **data: Any) -> tuple[list[WorkflowResult], list[str], float, int]:
    """As `ended`, under these orders; and how many attempts they met."""

    async def main() -> tuple[list[WorkflowResult], list[str], float, int]:
        one = target(**data)
        for each in orders:
            one.disturb(each)
        found = await ended(one)
        assert [(use.busy, use.waiting) for use in one.use().pools.values()] == [(0, 0)] * 2
        return *found, sum(one.disturb(each) for each in orders)

    return simulate(main)


def test_one_that_hangs_is_ended_by_its_deadline() -> None:
    """All of them, and nothing is held any more."""
    results, errors, took_s, bites = run(order("hang"))
    assert (results, set(errors), bites) == ([], {"step_deadline"}, N)
    assert took_s == pytest.approx(WAIT_S + 3.0, abs=0.1)


def test_one_that_fails_is_tried_again() -> None:
    """A share of the attempts, drawn for each alone: three in a row are rare."""
    results, errors, _, bites = run(order("fail", 0.3), attempts=3)
    assert len(results) + len(errors) == N
    assert len(results) >= N * 0.9
    assert bites >= N * 0.15
    assert set(errors) <= {"agent_failed"}


def test_a_brown_out_succeeds_slowly() -> None:
    """Four times as long, and every finding is right."""
    whole, _, quick_s, _ = run()
    results, errors, took_s, bites = run(order("slow", factor=4.0))
    assert (errors, bites) == ([], N)
    assert {result.digest for result in results} == {result.digest for result in whole}
    assert took_s - quick_s == pytest.approx(3 * WAIT_S, abs=0.01)


def test_a_wrong_finding_is_in_the_result() -> None:
    """Nothing fails; only the digest tells."""
    whole, _, _, _ = run()
    results, errors, _, bites = run(order("wrong", 0.5))
    assert (len(results), errors) == (N, [])
    wrong = {result.digest for result in results} - {result.digest for result in whole}
    assert len(wrong) == bites > 0


def test_a_validator_keeps_it_out() -> None:
    """The attempt fails instead, and is made again; what was never right fails by name."""
    whole, _, _, _ = run()
    results, errors, _, bites = run(order("wrong", 0.3), attempts=3, verify=True)
    assert bites > 0
    assert {result.digest for result in results} <= {result.digest for result in whole}
    assert len(results) >= N * 0.9
    assert set(errors) <= {"wrong_finding"}
    _, errors, _, _ = run(order("wrong"), attempts=2, verify=True)
    assert errors == ["wrong_finding"] * N


def test_an_order_ends_by_itself() -> None:
    """Whoever gave it may be gone."""
    results, errors, _, bites = run(order("hang", lasts_s=WAIT_S / 2))
    assert (len(results), errors, bites) == (N, [], 0)


def test_an_order_is_renewed_and_ended() -> None:
    """By its key; what it met stays counted."""

    async def main() -> None:
        one = target(attempts=1)
        one.disturb(order("hang", lasts_s=0.1))
        one.disturb(order("hang", lasts_s=2 * WAIT_S))
        assert not (await ended(one, "v"))[0]
        one.disturb(order("hang"))
        assert one.disturb(order("hang", lasts_s=0.0)) == N
        assert len((await ended(one))[0]) == N
        assert one.disturb(order("hang", lasts_s=0.0)) == N

    simulate(main)


def test_the_same_attempts_are_met_again() -> None:
    """By the same seed, whatever the order in which they come."""
    first, second = (run(order("fail", 0.5), attempts=1) for _ in range(2))
    assert [result.digest for result in first[0]] == [result.digest for result in second[0]]


@pytest.mark.parametrize("seed", range(5))
def test_who_is_cancelled_leaves_nothing_behind(seed: int) -> None:
    """Half of all, at any moment: each ends as cancelled or as it should, pools and deadlines are empty, and the
    workflows after them find nothing changed."""
    rng = Random(seed)

    async def main() -> None:
        whole = {result.digest for result in (await ended(target()))[0]}
        one = target()
        requests = [WorkflowRequest(f"w{n}", "x", 1, 30.0) for n in range(N)]
        tasks = [asyncio.create_task(one.run(request, RecordingWatch())) for request in requests]
        chosen = [task for task in tasks if rng.random() < 0.5]
        for task in chosen:
            asyncio.get_running_loop().call_later(rng.uniform(0.0, 2 * WAIT_S), task.cancel, CANCELLED)
        ends = await settle(*tasks)
        assert {end.error_class for end in ends if isinstance(end, TargetError)} == {"cancelled"}
        results = [end for end in ends if isinstance(end, WorkflowResult)]
        assert len(results) == N - sum(isinstance(end, TargetError) for end in ends)
        assert {result.digest for result in results} <= whole
        use = one.use()
        assert (use.running, use.queue_depth) == (0, 0)
        assert [(pool.busy, pool.waiting) for pool in use.pools.values()] == [(0, 0)] * 2
        assert len(one._deadlines) == 0
        assert len((await ended(one, "v"))[0]) == N

    simulate(main)


def test_a_task_is_handed_over_and_done() -> None:
    """By another agent, in the same instance: the finding is that of the task."""
    whole, _, quick_s, _ = run()
    results, errors, took_s, bites = run(order("hand_over", to="triage"))
    assert (errors, bites) == ([], N)
    assert {result.digest for result in results} == {result.digest for result in whole}
    assert took_s - quick_s == pytest.approx(WAIT_S, abs=0.01)


def test_ping_pong_is_ended_by_a_guard_over_the_whole_chain() -> None:
    """After so many hand-overs, once, and not by the deadline: it is not tried again."""
    back = Disturb("other", "triage", "hand_over", 1.0, 1.0, 100.0, "data")

    async def main() -> tuple[list[str], float]:
        one = target()
        one.disturb(order("hand_over", to="triage"))
        request = WorkflowRequest("first", "y", 1, 30.0)
        one.disturb(back)
        ends = await settle(one.run(request, RecordingWatch()))
        return [end.error_class for end in ends if isinstance(end, TargetError)], clock()

    errors, took_s = simulate(main)
    assert errors == ["hand_over_loop"]
    assert took_s == pytest.approx(4 * WAIT_S, abs=0.05)


def test_delegation_may_be_declared() -> None:
    """Half of the attempts, drawn by seed, take as long as both agents."""
    work = {"wait": WAIT_S, "hand_over": {"to": "triage", "share": 0.5}}
    results, errors, took_s, _ = run(work=work)
    assert (len(results), errors) == (N, [])
    assert took_s == pytest.approx(3 * WAIT_S, abs=0.02)


def test_whom_to_hand_over_to_has_to_be_there() -> None:
    """Said with the place."""
    with pytest.raises(UsageError, match=r"agent\.data\.work\.hand_over\.to: agent 'trriage' is unknown"):
        run(work={"wait": WAIT_S, "hand_over": {"to": "trriage"}})
