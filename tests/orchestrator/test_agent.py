"""Declared work really happens: CPU seconds are burnt in children, pages are resident, waits are waited."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import psutil
import pytest
from virtual_time import RecordingWatch, simulate

from harness.errors import TargetError
from harness.llm.latency import MODELS, call_s
from harness.orchestrator.agent import BLOCK_BYTES, Pages
from harness.orchestrator.burners import Burners
from harness.orchestrator.call import AgentFailed
from harness.orchestrator.embedded import Embedded
from harness.target.target import Services, WorkflowRequest

MEBIBYTE = 2**20
REQUEST = WorkflowRequest("w", "job", 7, 60.0)


def clock() -> float:
    return asyncio.get_running_loop().time()


def target(work: dict[str, Any], **agent: Any) -> Embedded:
    """One step of this work."""
    return Embedded(
        {
            "seed": 3,
            "time_scale": 0.5,
            "workflow": [{"kind": "job", "steps": [{"name": "a", "agent": "worker"}]}],
            "agent": {"worker": {"work": work, **agent}},
        },
        clock=clock,
    )


def cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def test_a_wait_is_exact_and_not_scaled() -> None:
    """`time_scale` is for drawn latencies only."""

    async def main() -> None:
        await target({"wait": 2.0}).run(REQUEST, RecordingWatch())
        assert clock() == pytest.approx(2.0)

    simulate(main)


def test_thinking_takes_the_drawn_time_and_is_told_apart() -> None:
    """Scaled, keyed by seed, workflow, agent, step and attempt; all of it is llm_wait; tokens are counted."""
    expected_s = call_s(
        MODELS["haiku-4.5"], seed=3, workflow="w", agent="worker", call="a", attempt=1,
        output_tokens=60, in_flight=0, time_scale=0.5,
    )  # fmt: skip

    async def main() -> None:
        watch = RecordingWatch()
        result = await target({"think": {"model": "haiku-4.5"}, "wait": 1.0}).run(REQUEST, watch)
        assert clock() == pytest.approx(1.0 + expected_s)
        assert watch.steps[0][7] == pytest.approx(expected_s)
        assert result.tokens == 60

    simulate(main)


def test_thinking_that_is_cut_short_counts_what_was_waited() -> None:
    """A failed step's time is still known to have been the model's."""

    async def main() -> None:
        watch = RecordingWatch()
        with pytest.raises(TargetError):
            await target({"think": {"model": "sonnet-4.5"}}, deadline=0.2).run(REQUEST, watch)
        assert watch.steps[0][7] == pytest.approx(0.2, abs=0.011)

    simulate(main)


def test_failures_are_the_declared_share_and_follow_the_seed() -> None:
    """The same workflows fail each time; attempts of one step are independent."""

    async def main() -> None:
        failed = []
        for _ in range(2):
            flaky = target({"failure": 0.3}, attempts=1)
            requests = [WorkflowRequest(f"w{number}", "job", 7, 60.0) for number in range(1000)]
            results = await asyncio.gather(
                *[flaky.run(request, RecordingWatch()) for request in requests], return_exceptions=True
            )
            assert {getattr(result, "error_class", "ok") for result in results} == {"ok", "agent_failed"}
            failed.append([isinstance(result, TargetError) for result in results])
        assert failed[0] == failed[1]
        assert 250 < sum(failed[0]) < 350

    simulate(main)


def test_the_digest_is_what_the_declaration_says() -> None:
    """Spelled out by hand for two steps."""

    async def main() -> None:
        steps = [{"name": "a", "agent": "x"}, {"name": "b", "agent": "y", "needs": ["a"]}]
        result = await Embedded({"workflow": [{"kind": "job", "steps": steps}]}, clock=clock).run(
            REQUEST, RecordingWatch()
        )
        first = blake2b(b"7|w|job|a|x", digest_size=16).hexdigest()
        second = blake2b(f"7|w|job|b|y|{first}".encode(), digest_size=16).hexdigest()
        assert result.digest == blake2b(f"a={first}|b={second}".encode(), digest_size=16).hexdigest()

    simulate(main)


def test_pages_are_resident_while_held_and_gone_after() -> None:
    """RSS rises by what was declared, and falls again; no slice of the work is larger than a block."""
    process = psutil.Process()
    size = 96 * MEBIBYTE + 5

    async def main() -> None:
        before = process.memory_info().rss
        pages = Pages()
        await pages.fill(size)
        held = process.memory_info().rss
        await pages.release()
        after = process.memory_info().rss
        assert held - before == pytest.approx(size, rel=0.05)
        assert after - before < BLOCK_BYTES

    asyncio.run(main())


def test_memory_is_held_through_the_whole_step() -> None:
    """Taken before everything else, over all attempts, and given back when the step has failed too."""
    process = psutil.Process()

    async def main() -> None:
        before = process.memory_info().rss
        seen = []
        hungry = target({"memory": 64 * MEBIBYTE, "wait": 1.0, "failure": 1.0}, attempts=3)
        for at in (0.5, 1.02, 2.0):  # in the first attempt, waiting for the second, in it
            asyncio.get_running_loop().call_at(at, lambda: seen.append(process.memory_info().rss - before))
        with pytest.raises(TargetError):
            await hungry.run(REQUEST, RecordingWatch())
        assert len(seen) == 3
        assert all(rss >= 60 * MEBIBYTE for rss in seen)
        assert process.memory_info().rss - before < 32 * MEBIBYTE

    simulate(main)


def test_memory_is_given_back_when_the_step_is_cancelled() -> None:
    """In the middle of taking it."""
    process = psutil.Process()

    async def main() -> None:
        before = process.memory_info().rss
        task = asyncio.create_task(target({"memory": 64 * MEBIBYTE}).run(REQUEST, RecordingWatch()))
        for _ in range(40):
            await asyncio.sleep(0)
        assert process.memory_info().rss - before > 16 * MEBIBYTE
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert process.memory_info().rss - before < 16 * MEBIBYTE

    simulate(main)


def with_burners(workers: int, main: Callable[[Burners], Any]) -> None:
    """Run on a real loop, with processes that are ended whatever happens."""

    async def whole() -> None:
        burners = Burners(workers)
        await burners.start()
        pids = burners.pids
        try:
            await main(burners)
        finally:
            await burners.stop()
        assert not any(psutil.pid_exists(pid) for pid in pids)

    asyncio.run(whole())


def test_cpu_is_burnt_in_direct_children() -> None:
    """The seconds asked for show in the children's CPU time, and not in ours."""

    async def main(burners: Burners) -> None:
        assert {child.pid for child in psutil.Process().children()} >= set(burners.pids)
        before, own = sum(map(cpu_s, burners.pids)), cpu_s(os.getpid())
        burnt = await asyncio.gather(*[burners.burn(0.2) for _ in range(3)])
        assert burnt == pytest.approx([0.2] * 3, abs=0.02)
        assert sum(map(cpu_s, burners.pids)) - before == pytest.approx(0.6, abs=0.08)
        assert cpu_s(os.getpid()) - own < 0.2

    with_burners(2, main)


def test_an_embedded_target_with_cpu_work_starts_and_ends_its_workers() -> None:
    """Warm after `start`, gone after `stop`; burnt time counts for the step."""

    async def main() -> None:
        busy = target({"cpu": 0.1})
        before = {child.pid for child in psutil.Process().children()}
        await busy.start(Services())
        (worker,) = [child for child in psutil.Process().children() if child.pid not in before]
        used = cpu_s(worker.pid)
        await busy.run(REQUEST, RecordingWatch())
        assert cpu_s(worker.pid) - used >= 0.09
        await busy.stop()
        assert not worker.is_running()

    asyncio.run(main())


def test_a_cancelled_burn_stops_and_its_worker_serves_the_next() -> None:
    """It does not go on behind the step's back for the ten seconds it was given."""

    async def main(burners: Burners) -> None:
        (pid,) = burners.pids
        task = asyncio.create_task(burners.burn(10.0))
        used = cpu_s(pid)
        while cpu_s(pid) - used < 0.03:  # noqa: ASYNC110 - another process's CPU clock cannot be awaited
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await burners.burn(0.01) == pytest.approx(0.01, abs=0.01)
        assert burners.pids == (pid,)
        assert cpu_s(pid) - used < 5.0

    with_burners(1, main)


def test_a_burn_cancelled_before_it_began_is_not_begun() -> None:
    """Command and stop may arrive together."""

    async def main(burners: Burners) -> None:
        task = asyncio.create_task(burners.burn(10.0))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await burners.burn(0.01) < 0.1
        assert cpu_s(burners.pids[0]) < 5.0

    with_burners(1, main)


def test_a_worker_that_dies_is_a_typed_failure_and_is_replaced() -> None:
    """The step that it worked for may be tried again; the next burn has a new process."""

    async def main(burners: Burners) -> None:
        (pid,) = burners.pids
        task = asyncio.create_task(burners.burn(10.0))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(AgentFailed, match="ended with status -9") as raised:
            await task
        assert raised.value.error_class == "cpu_worker_lost"
        assert await burners.burn(0.01) == pytest.approx(0.01, abs=0.01)
        assert burners.pids != (pid,)

    with_burners(1, main)
