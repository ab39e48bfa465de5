"""What the embedded orchestrator costs, as ratios to plain asyncio taken in the same process.

    python tests/bench/orchestrator.py [--rounds 7] [--langgraph] [--uvloop]

A workflow is three agents one after the other. "Plain" is `for agent in agents: state.update(await agent(state))`.
Everything of the engine is on: admission, pools, deadlines, retries, versioned state with read-back, step records.
Rounds of all contestants are interleaved, because the speed of a shared machine changes within a minute; a ratio
is taken within a round, and the table gives the median over the rounds with the lowest and the highest. With no-op
agents the loop is never idle, so rates are counted by CPU time, which neighbours on the machine disturb the least.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from itertools import count, pairwise
from typing import Any

from harness.orchestrator.call import AgentFunction, Call
from harness.orchestrator.embedded import Embedded
from harness.target.target import Services, StepTuple, WorkflowRequest

AGENTS = ("triage", "data", "optimization")
OPTIONS: dict[str, Any] = {
    "workflow": [{"kind": "chain", "shape": "sequential"}],
    "agent": {name: {"pool": 64} for name in AGENTS},  # more than run at once: waiting is not what is measured
}
LANGGRAPH_HOW = """LangGraph is not importable. It stays out of the project's own environment; make one for the bench:
    python -m venv .venv-bench && .venv-bench/bin/pip install langgraph -e .
    .venv-bench/bin/python tests/bench/orchestrator.py --langgraph"""

Workflow = Callable[[], Awaitable[object]]
IDS = count()


class BenchWatch:
    """The least that a host would give."""

    clock = staticmethod(time.monotonic)
    services = Services()

    def __init__(self) -> None:
        self.steps: list[StepTuple] = []

    def started(self) -> None:
        """A host would take a stamp here."""


def plain(seconds: float) -> Workflow:
    """Three awaits and a dictionary. Every agent here sleeps: for 0 s it only lets the others run."""

    def agent(name: str) -> Callable[[dict[str, str]], Awaitable[dict[str, str]]]:
        async def perform(state: dict[str, str]) -> dict[str, str]:
            await asyncio.sleep(seconds)
            return {name: "done"}

        return perform

    agents = [agent(name) for name in AGENTS]

    async def workflow() -> dict[str, str]:
        state: dict[str, str] = {}
        for each in agents:
            state.update(await each(state))
        return state

    return workflow


def engine(seconds: float, *, breakers: bool = False) -> Workflow:
    """The embedded orchestrator, as a host drives it: admitted, then run, with a watch of its own."""

    async def perform(call: Call) -> bytes:
        await asyncio.sleep(seconds)
        return b"done"

    agents: dict[str, AgentFunction] = dict.fromkeys(AGENTS, perform)
    declared = {name: {**OPTIONS["agent"][name], "breaker": {}} for name in AGENTS} if breakers else OPTIONS["agent"]
    target = Embedded({**OPTIONS, "agent": declared}, agents=agents)

    async def workflow() -> object:
        request = WorkflowRequest(f"w{next(IDS)}", "chain", 1, 30.0)
        target.admit(request)
        return await target.run(request, BenchWatch())  # type: ignore[arg-type]

    return workflow


def langgraph(seconds: float) -> Workflow:
    """The same chain as a compiled LangGraph, without a checkpointer."""
    from typing import TypedDict

    from langgraph.graph import END, START, StateGraph

    State = TypedDict("State", dict.fromkeys(AGENTS, str), total=False)  # type: ignore[misc]
    graph = StateGraph(State)

    def node(name: str) -> Callable[[Any], Awaitable[dict[str, str]]]:
        async def perform(state: Any) -> dict[str, str]:
            await asyncio.sleep(seconds)
            return {name: "done"}

        return perform

    chain = (START, *(f"{name}_node" for name in AGENTS), END)
    for name in AGENTS:
        graph.add_node(f"{name}_node", node(name))
    for before, after in pairwise(chain):
        graph.add_edge(before, after)
    compiled = graph.compile()
    return lambda: compiled.ainvoke({})


async def drive(workflow: Workflow, total: int, users: int, own_task: bool) -> tuple[float, list[float]]:
    """`total` workflows by `users` loops: (workflows per CPU second of this process, latencies in s)."""
    latencies_s: list[float] = []
    left = iter(range(total))

    async def user() -> None:
        for _ in left:
            began = time.perf_counter()
            await (asyncio.ensure_future(workflow()) if own_task else workflow())
            latencies_s.append(time.perf_counter() - began)

    gc.collect()
    began = time.process_time()
    await asyncio.gather(*[user() for _ in range(users)])
    return total / (time.process_time() - began), latencies_s


def percentile(values: list[float], share: float) -> float:
    """The nearest-rank percentile."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def row(what: str, ratios: list[float], goal: str) -> str:
    """One line of the table."""
    return f"{what:58s} {statistics.median(ratios):8.3f}  [{min(ratios):.3f} .. {max(ratios):.3f}]   {goal}"


async def bench_rates(contestants: dict[str, tuple[Workflow, int]], rounds: int, own_task: bool) -> list[str]:
    """Workflows per second of every contestant over plain's, and over LangGraph's where it takes part."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, (workflow, total) in contestants.items():
            rate, _ = await drive(workflow, total, users=50, own_task=own_task)
            rates[name].append(rate)
    lines = [
        f"  {name}: median {statistics.median(each):,.0f} workflows/CPU s [{min(each):,.0f} .. {max(each):,.0f}]"
        for name, each in rates.items()
    ]
    mode = "a task a workflow" if own_task else "50 loops"
    over_plain = [ours / theirs for ours, theirs in zip(rates["engine"], rates["plain"], strict=True)]
    lines.append(row(f"engine / plain, workflows/s, no-op agents, {mode}", over_plain, "goal >= 0.35"))
    over_plain = [ours / theirs for ours, theirs in zip(rates["with breakers"], rates["plain"], strict=True)]
    lines.append(row(f"engine with breakers / plain, no-op agents, {mode}", over_plain, "goal >= 0.15"))
    if "langgraph" in rates:
        over = [ours / theirs for ours, theirs in zip(rates["engine"], rates["langgraph"], strict=True)]
        lines.append(row(f"engine / LangGraph, workflows/s, no-op agents, {mode}", over, "goal >= 30"))
    return lines


async def bench_latency(rounds: int, users: int, seconds: float, total: int) -> dict[str, Any]:
    """Latency of the engine over plain's at p50 and p99."""
    contestants = {"plain": plain(seconds), "engine": engine(seconds)}
    ratios: dict[str, list[float]] = {"p50": [], "p99": []}
    for _ in range(rounds):
        found = {name: (await drive(workflow, total, users, False))[1] for name, workflow in contestants.items()}
        for label, share in (("p50", 0.50), ("p99", 0.99)):
            ratios[label].append(percentile(found["engine"], share) / percentile(found["plain"], share))
    return ratios


async def bench(rounds: int, with_langgraph: bool) -> None:
    """Everything, printed as it comes."""
    contestants = {
        "plain": (plain(0), 10_000),
        "engine": (engine(0), 10_000),
        "with breakers": (engine(0, breakers=True), 5_000),
    }
    if with_langgraph:
        contestants["langgraph"] = (langgraph(0), 300)
    for workflow, _ in contestants.values():
        await drive(workflow, 100, users=50, own_task=False)  # warm up
    for own_task in (False, True):
        print(*await bench_rates(contestants, rounds, own_task), sep="\n")
    alone = await bench_latency(rounds, 1, 0, 3_000)
    print(row("engine / plain, p50 of one workflow at a time, no-op agents", alone["p50"], "goal <= 2.5"))
    tens = await bench_latency(rounds, 50, 0.010, 1_000)
    print(row("engine / plain, p50, 10 ms agents, 50 concurrent", tens["p50"], "goal <= 1.05"))
    print(row("engine / plain, p99, 10 ms agents, 50 concurrent", tens["p99"], "goal <= 1.10"))


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (at least 5 for a quotable median)")
    parser.add_argument("--langgraph", action="store_true", help="compare with LangGraph without a checkpointer")
    parser.add_argument("--uvloop", action="store_true", help="run everything on uvloop instead of asyncio's loop")
    arguments = parser.parse_args()
    if arguments.langgraph and importlib.util.find_spec("langgraph") is None:
        sys.exit(LANGGRAPH_HOW)
    run: Callable[..., Any] = asyncio.run
    if arguments.uvloop:
        import uvloop

        run = uvloop.run
    print(f"median of {arguments.rounds} interleaved rounds [lowest .. highest]; Python {sys.version.split()[0]}")
    run(bench(arguments.rounds, arguments.langgraph))


if __name__ == "__main__":
    main()
