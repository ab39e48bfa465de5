"""Agents by declaration: what a scenario's `work` says really happens here, and costs what it says.

A finding is a function of what went in, so the right one is known to whoever knows the request.
"""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import TYPE_CHECKING

from harness.llm.draws import uniforms
from harness.llm.latency import MODELS, call_s
from harness.orchestrator.burners import Burners
from harness.orchestrator.call import AgentFailed, AgentFunction, Call
from harness.orchestrator.disturbed import Disturbances
from harness.orchestrator.outside import Outside
from harness.scenario.scenario import Orchestrator, Think, Work

if TYPE_CHECKING:
    from harness.orchestrator.asking import Asking

BLOCK_BYTES = 16 * 2**20
"""Memory is mapped in blocks of this size, because unmapping one keeps the loop for some 50 us a MiB."""
CHUNK_BYTES = 2**20
"""Written at once: about 0.5 ms of page faults."""
_ZEROS = bytes(CHUNK_BYTES)


class Pages:
    """Memory that is really there: every page written, so that it shows in RSS; unmapped, so that it goes again."""

    def __init__(self) -> None:
        self._blocks: list[mmap.mmap] = []

    async def fill(self, size_bytes: int) -> None:
        """Take `size_bytes`, letting the loop run between chunks."""
        for block_at in range(0, size_bytes, BLOCK_BYTES):
            length = min(BLOCK_BYTES, size_bytes - block_at)
            # Private: shared anonymous memory would count as a file's.
            block = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            self._blocks.append(block)
            for at in range(0, length, CHUNK_BYTES):
                end = min(at + CHUNK_BYTES, length)
                block[at:end] = _ZEROS[: end - at]  # a zero written is a page taken, as any other byte
                await asyncio.sleep(0)

    async def release(self) -> None:
        """Give everything back, letting the loop run between blocks; at once if it is cancelled meanwhile."""
        try:
            while self._blocks:
                self._blocks.pop().close()
                await asyncio.sleep(0)
        finally:
            while self._blocks:
                self._blocks.pop().close()


class Means:
    """What all declared agents of one orchestrator share."""

    def __init__(
        self,
        *,
        seed: int,
        time_scale: float,
        bounds: Orchestrator,
        clock: Callable[[], float],
        outside: Outside | None = None,
    ) -> None:
        self.seed = seed  # of the run: latencies and failures are drawn by it
        self.time_scale = time_scale
        self.clock = clock
        self.burners = Burners(bounds.cpu_workers)
        self.thinking = 0  # LLM calls in flight
        self.outside = outside
        self.asking: Asking | None = None  # by which models are asked
        self.disturbed = Disturbances(seed=seed, clock=clock)
        self.performing: dict[tuple[str, str], AgentFunction] = {}  # by kind of workflow and agent
        self._hand_overs = bounds.hand_overs

    async def hand_over(self, call: Call, to: str) -> bytes:
        """The finding of another agent, in the same instance and under the same deadline. Raises `AgentFailed`.

        Without a bound, two agents that each think it is the other's task would go on for as long as there is time.
        """
        if call.hand_overs >= self._hand_overs:
            what = f"the task was handed over {call.hand_overs} times and was to go on to agent {to!r}"
            raise AgentFailed(what, error_class="hand_over_loop", final=True)
        call.hand_overs += 1
        try:
            return await self.performing[call.request.kind, to](call)
        finally:
            call.hand_overs -= 1


class DeclaredAgent:
    """Does one `Work`: takes memory, asks or thinks, hands over, waits, burns, acts, updates what is shared, and
    may fail.

    Memory is held until the step ends. Failing comes last, so that what is tried again has acted before.
    """

    def __init__(self, name: str, work: Work, means: Means) -> None:
        self._name = name
        self._work = work
        self._means = means

    def __call__(self, call: Call) -> Awaitable[bytes]:
        disturbed = self._means.disturbed
        if not disturbed:
            return self._perform(call)
        return disturbed.through(self._name, call, self._perform, self._means.hand_over)

    async def _perform(self, call: Call) -> bytes:
        work = self._work
        if work.memory and call.held is None:
            call.held = pages = Pages()
            await pages.fill(work.memory)
        found = finding(call)
        if work.llm is not None:
            assert self._means.asking is not None, "whoever declares calls to models is given what makes them"
            found = await self._means.asking.finding(work.llm, call, found)
        if work.think is not None:
            await self._think(work.think, call)
        if work.hand_over is not None and self._is_drawn("hand over", work.hand_over.share, call):
            found = await self._means.hand_over(call, work.hand_over.to)
        if work.wait:
            await asyncio.sleep(work.wait)
        if work.cpu:
            await self._means.burners.burn(work.cpu)
        if work.effect or work.update:
            await self._reach_outside(work, call)
        if work.failure and self._is_drawn("failure", work.failure, call):
            what = f"agent {call.step.agent!r} failed as its declared work says ({work.failure:.2%} of attempts)"
            raise AgentFailed(what)
        return found

    async def _reach_outside(self, work: Work, call: Call) -> None:
        outside = self._means.outside
        if outside is None:
            raise AgentFailed(f"agent {call.step.agent!r} reaches outside, and nothing is there", error_class="outside")
        if work.effect:
            await outside.act(call)
        if work.update:
            await outside.update(work.update, call)

    async def _think(self, think: Think, call: Call) -> None:
        means = self._means
        seconds = call_s(
            MODELS[think.model],
            seed=means.seed,
            workflow=call.request.id,
            agent=call.step.agent,
            call=call.step.name,
            attempt=call.attempt,
            output_tokens=think.output_tokens,
            in_flight=means.thinking,
            time_scale=means.time_scale,
        )
        began = means.clock()
        means.thinking += 1
        try:
            await asyncio.sleep(seconds)
            call.tokens += think.output_tokens
        finally:
            means.thinking -= 1
            # Not more than was drawn: what the loop adds is the orchestrator's time, not the model's.
            call.llm_wait_s += min(seconds, means.clock() - began)

    def _is_drawn(self, what: str, share: float, call: Call) -> bool:
        return uniforms(what, self._means.seed, call.request.id, call.step.name, call.attempt)[0] < share


def verified(perform: AgentFunction) -> AgentFunction:
    """`perform` behind a validator that knows what the task's result has to be: a wrong one is not handed on."""

    async def checked(call: Call) -> bytes:
        found = await perform(call)
        if found != finding(call):
            raise AgentFailed(f"agent {call.step.agent!r} came to a wrong finding", error_class="wrong_finding")
        return found

    return checked


def finding(call: Call) -> bytes:
    """The finding of a step: hex of blake2b-128 over `seed|workflow|kind|step|agent` and `|finding` of each need."""
    request, step = call.request, call.step
    text = f"{request.seed}|{request.id}|{request.kind}|{step.name}|{step.agent}".encode()
    return blake2b(b"|".join((text, *call.findings)), digest_size=16).hexdigest().encode()
