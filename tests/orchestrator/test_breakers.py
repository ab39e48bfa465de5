"""Every change of a breaker is on record, in order, with what it takes to count probes, refusals and time open."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from virtual_time import RecordingWatch, settle, simulate

from harness.observation.breakers import FILE, BreakerEvent
from harness.orchestrator.call import AgentFailed, Call
from harness.orchestrator.embedded import Embedded
from harness.target.target import Services, WorkflowRequest

RULE = {"failures": 0.5, "calls_min": 4, "window": 10, "open": 5.0, "half_open": 2}
T0 = -100.0


def clock() -> float:
    return asyncio.get_running_loop().time()


def options(folder: Path, **agent: Any) -> dict[str, Any]:
    """Two agents with breakers, one without, in a run."""
    steps = [{"name": name, "agent": name} for name in ("x", "y", "z")]
    return {
        "workflow": [{"kind": "x", "steps": steps[:1]}, {"kind": "all", "steps": steps}],
        "agent": {"x": {"attempts": 1, "deadline": 1.0, "breaker": RULE, **agent}, "y": {"breaker": {}}},
        "placement": {"level": "50", "run_dir": str(folder), "t0": T0},
    }


def recorded(folder: Path) -> list[BreakerEvent]:
    """All lines so far."""
    decode = msgspec.json.Decoder(BreakerEvent).decode
    return [decode(line) for line in (folder / FILE).read_bytes().splitlines()]


def test_a_full_cycle_is_on_record(tmp_path: Path) -> None:
    """Closed, open, half-open, open, half-open, closed: when, why, for how long, and on what counts."""
    healthy = False

    async def agent(call: Call) -> bytes:
        await asyncio.sleep(0.5)
        if not healthy:
            raise AgentFailed("down")
        return b"done"

    async def main() -> None:
        nonlocal healthy
        target = Embedded(options(tmp_path), clock=clock, agents={"x": agent})
        await target.start(Services())

        async def fifty() -> None:
            await settle(*[target.run(WorkflowRequest(f"w{n}", "x", 1, 30.0), RecordingWatch()) for n in range(20)])

        await fifty()  # 20 calls at once, 0.5 s each: admitted while it is closed
        await asyncio.sleep(1.0)
        await fifty()  # refused
        await asyncio.sleep(4.0)
        await fifty()  # two of them probe
        healthy = True
        await asyncio.sleep(5.0)
        cut = asyncio.create_task(target.run(WorkflowRequest("cut", "x", 1, 30.0), RecordingWatch()))
        await asyncio.sleep(0.1)
        cut.cancel()
        await settle(cut)
        await fifty()
        lines = recorded(tmp_path)  # each was there before anything else happened
        await target.stop()
        assert recorded(tmp_path)[: len(lines)] == lines

    simulate(main)
    lines = [line for line in recorded(tmp_path) if line.name == "x"]
    assert {(line.level, line.process, line.of, line.permitted) for line in lines} == {("50", os.getpid(), "agent", 2)}
    assert [(line.before, line.after, line.why) for line in lines] == [
        ("closed", "closed", "begins"),
        ("closed", "open", "failures"),
        ("open", "half_open", "waited"),
        ("half_open", "open", "failures"),
        ("open", "half_open", "waited"),
        ("half_open", "closed", "recovered"),
        ("closed", "closed", "ends"),
    ]
    assert [line.at - T0 + T0 for line in lines] == pytest.approx([100.0, 100.5, 105.5, 106.0, 111.0, 111.6, 111.6])
    assert [line.lasted_s for line in lines] == pytest.approx([0.0, 0.5, 5.0, 0.5, 5.0, 0.6, 0.0])
    assert [(line.calls, line.failures) for line in lines] == [(0, 0), (4, 4), (0, 0), (1, 1), (0, 0), (2, 0), (0, 0)]
    assert [line.refused for line in lines] == [0, 0, 20, 18, 0, 18, 0]
    assert [(line.probes, line.returned) for line in lines if line.before == "half_open"] == [(2, 0), (3, 1)]


def test_a_breaker_that_never_moved_is_told_from_none(tmp_path: Path) -> None:
    """It begins and ends; an agent without a breaker has no line."""

    async def main() -> None:
        target = Embedded(options(tmp_path), clock=clock)
        await target.start(Services())
        await target.run(WorkflowRequest("w", "all", 1, 30.0), RecordingWatch())
        await target.stop()

    simulate(main)
    lines = recorded(tmp_path)
    assert [(line.name, line.why) for line in lines] == [
        ("x", "begins"), ("y", "begins"), ("x", "ends"), ("y", "ends"),
    ]  # fmt: skip
    assert [line.calls for line in lines] == [0, 0, 1, 1]


def test_no_breaker_no_file(tmp_path: Path) -> None:
    """A run without breakers is as it was."""

    async def main() -> None:
        target = Embedded({**options(tmp_path), "agent": {}}, clock=clock)
        await target.start(Services())
        await target.stop()

    simulate(main)
    assert not (tmp_path / FILE).exists()
