"""Faults of agents, and workflows that are cancelled, on a real host of the embedded orchestrator."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from harness.child import Children
from harness.fault.agent import BrownedOut, Failing, Hanging
from harness.fault.fault import Bite, Fault
from harness.fault.target import Cancelled
from harness.run.faulting import LevelBench
from harness.run.hosting import Hosting
from harness.target.target import HostConfig
from harness.target.wire import Ended, HostFrame, Submit

N = 20
WAIT_S = 20.0
OPTIONS = {
    "workflow": [{"kind": "x", "steps": [{"name": "a", "agent": "data"}]}],
    "agent": {"data": {"work": {"wait": 0.05}, "deadline": 1.0, "attempts": 1}},
}


@pytest.fixture
def agents() -> Iterator[LevelBench]:
    """A bench with an orchestrator whose one agent waits 50 ms."""
    with tempfile.TemporaryDirectory() as folder, Children("fault-agents", Path(folder) / "logs") as children:
        config = HostConfig(
            run_id="fault-agents",
            t0=time.monotonic(),
            socket=str(Path(folder) / "host.sock"),
            target="harness.orchestrator.embedded:embedded",
            options=OPTIONS,
        )
        hosting = Hosting(
            children, "target", level="1", run_dir=Path(folder), t0=config.t0, orders=(), config=lambda _: config
        )
        yield LevelBench(seed=1, lease_s=20.0, namespace="none", children=children, running={}, hosting=hosting)
        hosting.end()
    assert children.leftovers == ()


async def ends(bench: LevelBench, batch: str) -> list[Ended]:
    """Of N workflows that are submitted at once."""
    assert bench.hosting is not None
    reader, writer = await asyncio.open_unix_connection(bench.hosting._config(None).socket)
    for number in range(N):
        writer.write(msgspec.json.encode(Submit(f"{batch}{number}", "x", 1, 30.0)) + b"\n")
    found: list[Ended] = []
    async with asyncio.timeout(WAIT_S):
        while len(found) < N:
            frame = msgspec.json.decode(await reader.readline(), type=HostFrame)
            if isinstance(frame, Ended):
                found.append(frame)
    writer.close()
    await writer.wait_closed()
    return found


async def counted(bite: Bite) -> int:
    """How often it acted, once that is as often as there are workflows."""
    found = 0
    async with asyncio.timeout(WAIT_S):
        while found < N:
            found = await bite.count()
            await asyncio.sleep(0.01)
    return found


def broken(bench: LevelBench, fault: Fault) -> tuple[list[Ended], int, list[Ended]]:
    """What becomes of workflows under the fault, how often it bit, and what of those after it."""

    async def test() -> tuple[list[Ended], int, list[Ended]]:
        async with fault.inject(bench) as bite:
            during = await ends(bench, "during")
            bites = await counted(bite)
        return during, bites, await ends(bench, "after")

    return asyncio.run(test())


@pytest.mark.parametrize(
    ("fault", "error"), [(Failing(agent="data"), "agent_failed"), (Hanging(agent="data"), "step_deadline")]
)
def test_an_agent_is_broken_and_healed(agents: LevelBench, fault: Fault, error: str) -> None:
    """Every attempt is met and counted; afterwards none is."""
    during, bites, after = broken(agents, fault)
    assert {end.error_class for end in during} == {error}
    assert bites == N
    assert {end.outcome for end in after} == {"ok"}


def test_a_brown_out_takes_its_time(agents: LevelBench) -> None:
    """Five times 50 ms at least, and all is well."""
    during, bites, _ = broken(agents, BrownedOut(agent="data", times=5.0))
    assert {end.outcome for end in during} == {"ok"}
    assert min(end.ended - end.started for end in during) > 0.2
    assert bites == N


def test_two_windows_are_counted_apart(agents: LevelBench) -> None:
    """The second begins from nothing, though the host remembers the first."""
    assert broken(agents, Failing(agent="data"))[1] == N

    async def again() -> int:
        async with Failing(agent="data").inject(agents) as bite:
            return await bite.count()

    assert asyncio.run(again()) == 0


def test_running_workflows_are_cancelled(agents: LevelBench) -> None:
    """Their clients are told that, definitely; nobody else is."""

    async def test() -> list[Ended]:
        async with Hanging(agent="data").inject(agents), Cancelled(share=1.0, every=0.02).inject(agents) as bite:
            found = await ends(agents, "cancelled")
            assert await counted(bite) == N
        return found

    found = asyncio.run(test())
    assert {(end.outcome, end.error_class) for end in found} == {("failed", "cancelled")}
