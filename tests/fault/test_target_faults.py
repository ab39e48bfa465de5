"""Faults inside the target's process, on a real host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from harness.fault.target import Killed, LoopBlocked
from harness.run.faulting import LevelBench
from harness.run.hosting import Hosting
from harness.target.target import BlockLoop, LoopWasBlocked

WAIT_S = 20.0


async def until(wanted: Callable[[], object]) -> None:
    """It comes about."""
    async with asyncio.timeout(WAIT_S):
        while True:
            if wanted():
                return
            await asyncio.sleep(0.02)


def test_a_host_blocks_its_loop_for_as_long_as_it_is_told(bench: LevelBench) -> None:
    """And says for how long it was."""
    said = bench.ask_target(msgspec.json.encode(BlockLoop(0.2)), WAIT_S)
    assert msgspec.json.decode(said, type=LoopWasBlocked).blocked_s >= 0.2


def test_a_loop_is_blocked_again_and_again(bench: LevelBench) -> None:
    """Until the fault is lifted, and not once more."""

    async def test() -> int:
        async with LoopBlocked(blocked=0.01, every=0.05).inject(bench) as bite:
            found = 0
            async with asyncio.timeout(WAIT_S):
                while found < 3:
                    found = await bite.count()
                    await asyncio.sleep(0.01)
        return await bite.count()

    assert asyncio.run(test()) >= 3


def test_a_killed_target_has_a_successor(bench: LevelBench, hosting: Hosting) -> None:
    """As after a crash that was planned: whoever looks starts it, and nobody calls it a death."""
    first = hosting.host.pid

    async def test() -> None:
        async with Killed(every=0.2).inject(bench) as bite:
            await until(lambda: hosting.host.returncode() is not None)
            assert hosting.look() is None
            assert await bite.count() >= 1
        assert hosting.look() is None

    asyncio.run(test())
    assert hosting.host.pid != first
    assert hosting.host.returncode() is None


def test_a_process_that_does_not_serve_any_more_is_not_killed(bench: LevelBench, hosting: Hosting) -> None:
    """It may be somebody else's by now."""
    assert not bench.note_kill(hosting.host.pid + 1)
