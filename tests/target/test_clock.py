"""A wall clock that jumps, and that nothing of ours reads another one."""

from __future__ import annotations

import ast
import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.target.clock import WallClock

PACKAGE = Path(__file__).parents[2] / "harness"
SERVING = ("orchestrator", "store", "llm/client", "target", "observation")
"""What may run in a target's process; the rest of llm/ is the provider's, which has a process of its own."""
WALL_CLOCKS = {"now", "utcnow", "today", "fromtimestamp", "localtime", "gmtime", "CLOCK_REALTIME", "ctime"}


@pytest.fixture
def clock() -> Iterator[WallClock]:
    """Right again afterwards."""
    clock = WallClock()
    yield clock
    clock.set_right()


@pytest.mark.parametrize("by_s", [3600.0, -3600.0])
def test_it_jumps_and_is_right_again(by_s: float, clock: WallClock) -> None:
    """Forward and backward, by seconds and by nanoseconds; what does not jump does not."""

    async def test() -> None:
        wall, steady = time.time(), time.monotonic()
        assert clock.jump(by_s, 60.0)
        assert abs(time.time() - wall - by_s) < 60.0
        assert abs(time.time_ns() / 1e9 - wall - by_s) < 60.0
        assert time.monotonic() - steady < 60.0
        assert not clock.jump(by_s, 0.0)
        assert abs(time.time() - wall) < 60.0
        assert abs(time.time_ns() / 1e9 - wall) < 60.0

    asyncio.run(test())


def test_a_jump_ends_by_itself_when_nobody_renews_it(clock: WallClock) -> None:
    """One that is renewed lasts from then on."""

    async def test() -> None:
        wall = time.time()
        clock.jump(1e6, 0.01)
        clock.jump(1e6, 0.02)
        async with asyncio.timeout(10.0):
            while True:
                if time.time() - wall < 1e5:
                    return
                await asyncio.sleep(0.005)

    asyncio.run(test())


def test_nothing_that_serves_reads_a_wall_clock_that_cannot_jump() -> None:
    """Neither by a date, nor by a function that was taken out of its module before."""
    found = []
    for path in sorted(each for part in SERVING for each in (PACKAGE / part).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            taken = isinstance(node, ast.ImportFrom) and node.module == "time"
            if taken or (isinstance(node, ast.Attribute) and node.attr in WALL_CLOCKS):
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert found == []
