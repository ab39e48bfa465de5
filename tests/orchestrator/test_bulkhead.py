"""One agent type that is saturated takes neither the slots nor the queue from the others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from virtual_time import RecordingWatch, simulate

from harness.errors import TargetError
from harness.orchestrator.call import Call
from harness.orchestrator.embedded import Embedded
from harness.target.target import WorkflowRequest

SLOTS, SECONDS = 20, 60.0
USERS = {"sick": 25, "well": 10}


def clock() -> float:
    return asyncio.get_running_loop().time()


async def hanging(call: Call) -> bytes:
    """Holds its instance to its deadline."""
    await asyncio.sleep(3600.0)
    return b"done"


async def quick(call: Call) -> bytes:
    await asyncio.sleep(0.1)
    return b"done"


def target(waiting: int | None, sick: bool = True) -> Embedded:
    """Two kinds of workflow, each with an agent of its own, one of which hangs."""
    options: dict[str, Any] = {
        "workflow": [
            {"kind": name, "steps": [{"name": "one", "agent": name}]} for name in ("sick", "well")
        ],
        "agent": {"sick": {"pool": 5, "deadline": 20.0, "waiting": waiting}, "well": {"pool": 20}},
        "orchestrator": {"slots": SLOTS, "queue": 10},
    }  # fmt: skip
    return Embedded(options, clock=clock, agents={"sick": hanging if sick else quick, "well": quick})


async def goodput(one: Embedded) -> tuple[int, set[str]]:
    """How many workflows of the other agent succeed in a minute, beside users of the sick one; how those end."""
    good, ends = 0, set()

    async def user(kind: str, number: int) -> None:
        nonlocal good
        turn = 0
        while clock() < SECONDS:
            turn += 1
            try:
                await one.run(WorkflowRequest(f"{kind}-{number}-{turn}", kind, 1, 25.0), RecordingWatch())
                good += kind == "well"
            except TargetError as error:
                if kind == "sick":
                    ends.add(error.error_class)
                await asyncio.sleep(0.1)

    await asyncio.gather(*[user(kind, number) for kind, users in USERS.items() for number in range(users)])
    return good, ends


def test_the_other_agents_keep_their_goodput() -> None:
    """At least 95 % of what it is beside a healthy one; without the bound, most of it is lost."""
    control, _ = simulate(lambda: goodput(target(None, sick=False)))
    bounded, ends = simulate(lambda: goodput(target(2)))
    unbounded, _ = simulate(lambda: goodput(target(None)))
    assert bounded >= 0.95 * control
    assert {"bulkhead_full", "step_deadline"} <= ends
    assert unbounded < 0.5 * control


def test_a_refused_step_is_on_record_and_holds_nothing() -> None:
    """It was never tried; instances and waiters are what they were, and those who wait get their turn."""

    async def main() -> None:
        one = target(1, sick=False)
        watches = [RecordingWatch() for _ in range(7)]
        results = await asyncio.gather(
            *[one.run(WorkflowRequest(f"w{n}", "sick", 1, 25.0), watch) for n, watch in enumerate(watches)],
            return_exceptions=True,
        )
        assert [getattr(each, "error_class", "ok") for each in results] == ["ok"] * 6 + ["bulkhead_full"]
        ((name, agent, queued, started, ended, outcome, attempts, _),) = watches[6].steps
        assert (name, agent, queued, started, ended, outcome, attempts) == ("one", "sick", 0, 0, 0, "failed", 0)
        pool = one.use().pools["sick"]
        assert (pool.busy, pool.waiting) == (0, 0)
        assert (pool.busy_s, pool.wait_s) == (pytest.approx(0.6), pytest.approx(0.1))

    simulate(main)
