"""The reference: a small orchestrator that never changes, `python:harness.target.reference:Reference`.

Run beside a gated level it tells what the machine is like today. It does the kind of work an orchestrator does within
its process (steps one after the other, a bounded semaphore and a queue, JSON, hashing, waits of the loop), and shares
nothing with the one under test, nor with the harness: standard library only.

FROZEN. Its numbers of years are compared with each other, so a test holds the digest of this file. Whoever must change
it raises REFERENCE_VERSION, which makes every stored reference another thing, and begins new epochs.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

REFERENCE_VERSION = 1
STEPS = ("read", "plan", "act", "tell")
SLOTS = 1000  # steps that work or wait at once: the bound is passed through, and not reached
WORKERS = 4
FACTS = 100  # of a document: 6 KB of JSON; to write, read and hash it takes about a quarter of a millisecond
SPREAD = 0.1  # of a wait, either way: users whose waits were all the same would go in step


class Reference:
    """Runs workflows of four steps. `input`: `wait_s`, seconds that one waits in all; `rounds` of work a step."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(SLOTS)
        self._queue: asyncio.Queue[tuple[dict[str, Any], int, asyncio.Future[str]]] = asyncio.Queue(SLOTS)
        self._workers: list[asyncio.Task[None]] = []

    async def start(self, services: object) -> None:
        """Start the workers that the steps' documents are handed to."""
        self._workers = [asyncio.create_task(self._work()) for _ in range(WORKERS)]

    async def stop(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def run(self, request: Any, watch: Any) -> dict[str, str]:
        """One workflow: each step hands on what the one before it found. The same for the same seed."""
        wait_s, rounds = float(request.input["wait_s"]), int(request.input["rounds"])
        found = f"{request.seed:x}"
        for step in STEPS:
            async with watch.step(step), self._slots:
                await asyncio.sleep(wait_s / len(STEPS) * spread(request.seed, step))
                answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
                await self._queue.put((document(found, step), rounds, answer))
                found = await answer
        return {"finding": found}

    async def _work(self) -> None:
        while True:
            asked, rounds, answer = await self._queue.get()
            for _ in range(rounds):
                asked["found"] = finding(asked)
                await asyncio.sleep(0)  # others have their turn, as between the small things an orchestrator does
            if not answer.done():
                answer.set_result(asked["found"])


def spread(seed: int, step: str) -> float:
    """Between 1 - SPREAD and 1 + SPREAD, by the workflow's seed."""
    drawn = hashlib.blake2b(f"{seed}:{step}".encode(), digest_size=8).digest()
    return 1 + SPREAD * (2 * int.from_bytes(drawn, "big") / 2**64 - 1)


def document(found: str, step: str) -> dict[str, Any]:
    """What a step hands to a worker."""
    facts = [{"id": index, "step": step, "text": f"{found} {index}", "share": index / FACTS} for index in range(FACTS)]
    return {"step": step, "found": found, "facts": facts}


def finding(asked: dict[str, Any]) -> str:
    """The document is written, read, and hashed."""
    read = json.loads(json.dumps(asked, sort_keys=True))
    return hashlib.blake2b(json.dumps(read).encode(), digest_size=16).hexdigest()
