"""The embedded orchestrator on virtual time: random shapes, failures, deadlines and cancellations, seed by seed.

A failing seed is replayed with `pytest tests/simulation -k "[137]"`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random
from typing import Any

import pytest
from virtual_time import RecordingWatch, simulate

from harness.errors import Rejected, TargetError
from harness.observation.observation import HostUse
from harness.orchestrator.embedded import Embedded
from harness.scenario.shapes import SHAPES
from harness.target.target import Services, StepTuple, WorkflowRequest

SEEDS = 200
AGENTS = ("triage", "data", "optimization", "actions", "reporting", "supervisor")
EXPECTED_CLASSES = {"agent_failed", "retry_budget", "step_deadline", "workflow_deadline"}


@dataclass
class World:
    """Everything drawn from one seed."""

    options: dict[str, Any]
    requests: list[WorkflowRequest]
    arrivals_s: list[float]
    cancels_s: list[float | None]  # after arrival


@dataclass
class History:
    """What happened, in order."""

    events: list[tuple[Any, ...]] = field(default_factory=list)
    ends: dict[str, list[str]] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)
    digests: dict[str, str] = field(default_factory=dict)
    steps: dict[str, list[StepTuple]] = field(default_factory=dict)
    use: HostUse = field(default_factory=HostUse)
    running_most: int = 0

    def fingerprint(self) -> str:
        return blake2b(repr(self.events).encode(), digest_size=16).hexdigest()


def draw_steps(rng: Random) -> list[dict[str, Any]]:
    """Any graph in which needs come earlier, chains and lone steps among them."""
    names = [f"s{number}" for number in range(rng.randint(1, 7))]
    density = rng.choice((0.0, 0.3, 0.6, 1.0))
    return [
        {
            "name": name,
            "agent": rng.choice(AGENTS),
            "needs": [earlier for earlier in names[:place] if rng.random() < density],
        }
        for place, name in enumerate(names)
    ]


def draw_world(seed: int) -> World:
    """The scenario, the arrivals and who is cancelled when."""
    rng = Random(seed)
    kinds = [{"kind": shape, "shape": shape} for shape in rng.sample(sorted(SHAPES), k=rng.randint(0, 2))]
    kinds += [{"kind": f"own {number}", "steps": draw_steps(rng)} for number in range(rng.randint(1, 3))]
    agents = {
        name: {
            "pool": rng.randint(1, 4),
            "deadline": rng.choice((0.03, 0.3, 2.0, 30.0)),
            "attempts": rng.randint(1, 3),
            "work": {
                "think": rng.choice((None, {"model": "haiku-4.5", "output_tokens": rng.randint(1, 60)})),
                "wait": rng.choice((0.0, 0.0, 0.02, 0.5)),
                "failure": rng.choice((0.0, 0.0, 0.1, 0.5)),
            },
        }
        for name in AGENTS
    }
    bounds = {
        "slots": rng.randint(1, 10),
        "queue": rng.randint(0, 10),
        "retry_budget": rng.choice((0.0, 0.1, 0.5)),
        "retry_wait": rng.choice((0.0, 0.05)),
    }
    options = {"seed": seed, "time_scale": 0.1, "workflow": kinds, "agent": agents, "orchestrator": bounds}
    total = rng.randint(5, 40)
    return World(
        options=options,
        requests=[
            WorkflowRequest(f"w{n}", rng.choice(kinds)["kind"], rng.getrandbits(32), rng.choice((0.02, 0.5, 3.0, 30.0)))
            for n in range(total)
        ],
        arrivals_s=[rng.choice((0.0, rng.uniform(0.0, 5.0))) for _ in range(total)],
        cancels_s=[rng.choice((None, None, None, rng.uniform(0.0, 1.0))) for _ in range(total)],
    )


async def play(world: World) -> History:
    """Run the world to its end."""
    loop = asyncio.get_running_loop()
    target = Embedded(world.options, clock=loop.time)
    history = History()

    async def workflow(request: WorkflowRequest, watch: RecordingWatch) -> str:
        try:
            target.admit(request)
        except Rejected as no:
            return f"rejected {no.retry_after_s}"
        history.accepted.add(request.id)
        history.running_most = max(history.running_most, target.use().running)
        result = await target.run(request, watch)
        history.digests[request.id] = result.digest
        return f"ok {result.digest} {result.attempts}"

    async def user(number: int) -> None:
        request, watch, cancel_s = world.requests[number], RecordingWatch(), world.cancels_s[number]
        await asyncio.sleep(world.arrivals_s[number])
        task = asyncio.create_task(workflow(request, watch))
        if cancel_s is not None:
            loop.call_later(cancel_s, task.cancel)
        await asyncio.wait([task])
        if task.cancelled():
            end = "cancelled"
        elif isinstance(error := task.exception(), TargetError):
            assert error.definite
            end = error.error_class
        else:
            end = task.result()
        history.ends.setdefault(request.id, []).append(end.split()[0])
        history.steps[request.id] = watch.steps
        history.events.append((request.id, loop.time(), end, *watch.steps))

    await target.start(Services())
    await asyncio.gather(*[user(number) for number in range(len(world.requests))])
    history.use = target.use()
    await target.stop()
    return history


def expected_digest(world: World, request: WorkflowRequest) -> str:
    """From the declaration, by code that the orchestrator does not share."""
    (declared,) = [each for each in world.options["workflow"] if each["kind"] == request.kind]
    if "steps" in declared:
        steps = [(step["name"], step["agent"], step["needs"]) for step in declared["steps"]]
    else:
        steps = [(step.name, step.agent, step.needs) for step in SHAPES[declared["shape"]]]
    findings: dict[str, str] = {}
    for name, agent, needs in steps:
        parts = [str(request.seed), request.id, request.kind, name, agent, *(findings[need] for need in needs)]
        findings[name] = blake2b("|".join(parts).encode(), digest_size=16).hexdigest()
    text = "|".join(f"{name}={finding}" for name, finding in findings.items())
    return blake2b(text.encode(), digest_size=16).hexdigest()


def check_ends(world: World, history: History) -> None:
    """Every arrival has one end; only what was cancelled ends as cancelled; every right end has the right digest."""
    assert history.ends.keys() == {request.id for request in world.requests}
    assert all(len(ends) == 1 for ends in history.ends.values())
    cancellable = {
        request.id for request, cancel_s in zip(world.requests, world.cancels_s, strict=True) if cancel_s is not None
    }
    for request in world.requests:
        (end,) = history.ends[request.id]
        assert end in {"ok", "rejected", "cancelled"} | EXPECTED_CLASSES
        assert end != "cancelled" or request.id in cancellable
        assert (end == "rejected") == (request.id not in history.accepted)
        assert (end == "ok") == (request.id in history.digests)
        if end == "ok":
            assert history.digests[request.id] == expected_digest(world, request)
            assert all(step[5] == "ok" for step in history.steps[request.id])


def check_use(world: World, history: History) -> None:
    """Nothing is held at the end, and the counters agree with what was seen."""
    use = history.use
    assert (use.running, use.queue_depth) == (0, 0)
    assert use.accepted == len(history.accepted)
    assert use.rejected == len(world.requests) - len(history.accepted)
    assert history.running_most <= world.options["orchestrator"]["slots"]
    assert use.queue_peak <= world.options["orchestrator"]["queue"]
    busy_s: Counter[str] = Counter()
    wait_s: Counter[str] = Counter()
    for _, agent, queued, started, ended, *_ in (step for steps in history.steps.values() for step in steps):
        assert queued <= started <= ended
        busy_s[agent] += ended - started
        wait_s[agent] += started - queued
    for agent, pool in use.pools.items():
        assert (pool.busy, pool.waiting) == (0, 0)
        assert pool.busy_s == pytest.approx(busy_s[agent], abs=1e-6)
        assert pool.wait_s == pytest.approx(wait_s[agent], abs=1e-6)


def check_pools(world: World, history: History) -> None:
    """At no time do more steps of an agent run than it has instances."""
    changes: dict[str, list[tuple[float, int]]] = {agent: [] for agent in AGENTS}
    for _, agent, _, started, ended, *_ in (step for steps in history.steps.values() for step in steps):
        changes[agent] += [(started, 1), (ended, -1)]
    for agent, times in changes.items():
        busy = 0
        for _, change in sorted(times):  # at the same moment ends come first: a place is handed on at once
            busy += change
            assert busy <= world.options["agent"][agent]["pool"]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_world_keeps_the_invariants_and_replays(seed: int) -> None:
    """Once accepted, ended once; nothing leaked; digests right; the same seed, the same history."""
    world = draw_world(seed)
    history = simulate(lambda: play(world))
    check_ends(world, history)
    check_use(world, history)
    check_pools(world, history)
    assert simulate(lambda: play(draw_world(seed))).fingerprint() == history.fingerprint()


def test_the_sweep_reaches_every_kind_of_end() -> None:
    """A simulation in which nothing ever went wrong would prove nothing."""
    ends = Counter(
        end
        for seed in range(40)
        for ends in simulate(lambda seed=seed: play(draw_world(seed))).ends.values()
        for end in ends
    )
    assert ends.keys() == {"ok", "rejected", "cancelled"} | EXPECTED_CLASSES
    assert len({simulate(lambda seed=seed: play(draw_world(seed))).fingerprint() for seed in range(10)}) == 10
