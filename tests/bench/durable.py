"""What durability costs and how fast it recovers, against real servers.

    python tests/bench/durable.py [--rounds 5] [--langgraph]

Workflows a second of wall time, three no-op agents, 50 concurrent, interleaved rounds: with servers in other
processes, CPU time of this one would not be all that is paid. PostgreSQL runs with fsync off on both sides.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from harness.child import Children
from harness.observation.journal import Damage, read_journal
from harness.observation.observation import CrashFired, Observation
from harness.orchestrator.call import Call
from harness.orchestrator.durable import DurableOrchestrator
from harness.orchestrator.options import read_options
from harness.run.listening import Interrupt
from harness.run.plan import Options, prepare
from harness.run.run import execute
from harness.service.service import ServiceSettings, provide
from harness.target.target import Services, StepTuple, WorkflowRequest

AGENTS = ("triage", "data", "optimization")
USERS = 50
IDS = count()
LANGGRAPH_HOW = """LangGraph is not importable. It stays out of the project's own environment; make one for the bench:
    python -m venv .venv-bench
    .venv-bench/bin/pip install langgraph langgraph-checkpoint-postgres 'psycopg[binary,pool]' -e '.[postgres,embedded]'
    .venv-bench/bin/python tests/bench/durable.py --langgraph"""

Workflow = Callable[[], Awaitable[object]]


class BenchWatch:
    """The least that a host would give."""

    clock = staticmethod(time.monotonic)
    services = Services()

    def __init__(self) -> None:
        self.steps: list[StepTuple] = []

    def started(self) -> None:
        """A host would take a stamp here."""


async def ours(store: str, services: Services) -> tuple[DurableOrchestrator, Workflow]:
    """The embedded orchestrator over a store, as a host drives it."""

    async def perform(call: Call) -> bytes:
        await asyncio.sleep(0)
        return b"done"

    options = {
        "workflow": [{"kind": "chain", "shape": "sequential"}],
        "agent": {name: {"pool": 64} for name in AGENTS},
        "state": {"store": store, "kept": 5.0},
    }
    target = DurableOrchestrator(read_options(options), agents=dict.fromkeys(AGENTS, perform))
    await target.start(services)

    async def workflow() -> object:
        request = WorkflowRequest(f"w{next(IDS)}", "chain", 1, 30.0)
        target.admit(request)
        await target.accept(request)
        return await target.run(request, BenchWatch())  # type: ignore[arg-type]

    return target, workflow


def langgraph(checkpointer: Any) -> Workflow:
    """The same chain as a compiled LangGraph, a checkpoint a step."""
    from typing import TypedDict

    from langgraph.graph import END, START, StateGraph

    State = TypedDict("State", dict.fromkeys(AGENTS, str), total=False)  # type: ignore[misc]
    graph = StateGraph(State)

    def node(name: str) -> Callable[[Any], Awaitable[dict[str, str]]]:
        async def perform(state: Any) -> dict[str, str]:
            await asyncio.sleep(0)
            return {name: "done"}

        return perform

    chain = (START, *(f"{name}_node" for name in AGENTS), END)
    for name in AGENTS:
        graph.add_node(f"{name}_node", node(name))
    for before, after in pairwise(chain):
        graph.add_edge(before, after)
    compiled = graph.compile(checkpointer=checkpointer)
    return lambda: compiled.ainvoke({}, {"configurable": {"thread_id": str(next(IDS))}})


async def rate(workflow: Workflow, total: int) -> float:
    """Workflows a second of wall time."""
    left = iter(range(total))

    async def user() -> None:
        for _ in left:
            await workflow()

    began = time.perf_counter()
    await asyncio.gather(*[user() for _ in range(USERS)])
    return total / (time.perf_counter() - began)


async def bench_rates(redis_url: str, postgres_url: str, rounds: int, with_langgraph: bool) -> None:
    """Rates of all contestants, and ours over LangGraph's."""
    async with AsyncExitStack() as stack:
        contestants: dict[str, tuple[Workflow, int]] = {}
        for store in ("redis", "postgres"):
            services = Services(redis_url=redis_url, postgres_url=postgres_url, namespace=f"bench_{store}")
            target, workflow = await ours(store, services)
            stack.push_async_callback(target.stop)
            contestants[f"embedded + {store}"] = (workflow, 2_000)
        if with_langgraph:
            contestants |= await rivals(stack, postgres_url)
        rates: dict[str, list[float]] = {name: [] for name in contestants}
        for workflow, _ in contestants.values():
            await rate(workflow, 100)
        for _ in range(rounds):
            for name, (workflow, total) in contestants.items():
                rates[name].append(await rate(workflow, total))
    for name, each in rates.items():
        print(f"  {name:34s} {statistics.median(each):8,.0f} workflows/s [{min(each):,.0f} .. {max(each):,.0f}]")
    if with_langgraph:
        show("embedded + Redis / LangGraph + memory saver", rates, "embedded + redis", "memory saver", "goal >= 5")
        show("embedded + PostgreSQL / LangGraph + its saver", rates, "embedded + postgres", "Postgres saver", ">= 25")


async def rivals(stack: AsyncExitStack, postgres_url: str) -> dict[str, tuple[Workflow, int]]:
    """LangGraph with a checkpointer in memory, and in the same PostgreSQL."""
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
    from psycopg.rows import dict_row
    from psycopg_pool import AsyncConnectionPool

    pool = AsyncConnectionPool(
        postgres_url, max_size=20, open=False,
        kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
    )  # fmt: skip
    await pool.open()
    stack.push_async_callback(pool.close)
    saver = AsyncPostgresSaver(pool)  # type: ignore[arg-type]
    await saver.setup()
    return {"memory saver": (langgraph(InMemorySaver()), 300), "Postgres saver": (langgraph(saver), 150)}


def show(what: str, rates: dict[str, list[float]], ours: str, theirs: str, goal: str) -> None:
    """One line of ratios, a ratio a round."""
    ratios = [a / b for a, b in zip(rates[ours], rates[theirs], strict=True)]
    print(f"{what:58s} {statistics.median(ratios):8.1f}  [{min(ratios):.1f} .. {max(ratios):.1f}]   {goal}")


class Silent:
    """Nobody watches."""

    def level_started(self, level: str, index: int, count: int) -> None:
        """Nothing."""

    def faults_changed(self, active: object) -> None:
        """Not of interest here."""

    def report(self, level: str, report: object, sample: object) -> None:
        """Nothing."""

    def level_ended(self, end: object) -> None:
        """Nothing."""


RECOVERY = """
name = "recovery"
description = "Fifty workflows of six half-second steps; one SIGKILL in the middle."

[load]
closed = [50]
warmup = "0 s"
measure = "4 s"
drain = "20 s"

[state]
store = "STORE"
lease = "500 ms"

[crash]
kill = ["after_checkpoint"]
every = "2 s"

[[workflow]]
kind = "six"
steps = [
  { name = "s1", agent = "worker" },
  { name = "s2", agent = "worker", needs = ["s1"] },
  { name = "s3", agent = "worker", needs = ["s2"] },
  { name = "s4", agent = "worker", needs = ["s3"] },
  { name = "s5", agent = "worker", needs = ["s4"] },
  { name = "s6", agent = "worker", needs = ["s5"] },
]

[agent.worker]
pool = 60
work = { wait = "500 ms", effect = true }
"""
WORK_S = 3.0


def bench_recovery(store: str, rounds: int) -> None:
    """From SIGKILL until all fifty are terminal, against what was left to do for each."""
    worst, took = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "recovery.toml"
            path.write_text(RECOVERY.replace("STORE", store))
            run_dir = execute(prepare(path, Options(reports=Path(folder)), command=""), Silent(), Interrupt())  # type: ignore[arg-type]
            lines = (run_dir / "crashes.jsonl").read_bytes().splitlines()
            crash = msgspec.json.decode(lines[0], type=CrashFired)
            seen = [line for line in read_journal(run_dir / "journal.jsonl", Damage()) if isinstance(line, Observation)]
            hit = [o for o in seen if o.started is not None and o.started < crash.at and (o.ended or 0) > crash.at]
            assert len(hit) == USERS, f"{len(hit)} were in flight"
            assert all(o.outcome == "ok" for o in hit)
            left_s = {o.id: max(0.0, WORK_S - (crash.at - o.started)) for o in hit if o.started is not None}
            worst.append(max(((o.ended or 0) - crash.at) - 2 * left_s[o.id] for o in hit))
            took.append(max((o.ended or 0) - crash.at for o in hit))
    spread = f"[{min(took):.2f} .. {max(took):.2f}]"
    print(f"recovery, {store}: all {USERS} terminal {statistics.median(took):.2f} s after SIGKILL {spread}")
    print(f"    the latest, beyond 2x the work it had left: {max(worst):.2f} s   goal <= 2 s")


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (at least 5 for a quotable median)")
    parser.add_argument("--langgraph", action="store_true", help="compare with LangGraph and its checkpointers")
    arguments = parser.parse_args()
    if arguments.langgraph and importlib.util.find_spec("langgraph") is None:
        sys.exit(LANGGRAPH_HOW)
    settings = ServiceSettings(order=("embedded", "program"))
    starts: dict[str, list[float]] = {"redis": [], "postgres": []}
    with tempfile.TemporaryDirectory() as logs, Children("bench", Path(logs)) as children:
        for service in starts:
            for _ in range(arguments.rounds):
                began = time.perf_counter()
                with provide(service, settings, children):
                    starts[service].append(time.perf_counter() - began)
        for service, goal in (("redis", 1), ("postgres", 4)):
            each = starts[service]
            print(
                f"cold start of {service:10s} {statistics.median(each):.2f} s [.. {max(each):.2f}]   goal <= {goal} s"
            )
        with ExitStack() as stack:
            urls = [stack.enter_context(provide(service, settings, children)).url for service in starts]
            uvloop.run(bench_rates(urls[0], urls[1], arguments.rounds, arguments.langgraph))
    for store in ("redis", "postgres"):
        bench_recovery(store, min(3, arguments.rounds))


if __name__ == "__main__":
    main()
