"""What goes on beside a fault while it acts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass

CANCELLED_AGAIN_S = 0.5
"""redis-py has been seen to swallow a cancellation that came together with an answer: such a task went on for ever."""


@dataclass(slots=True)
class Sum:
    """Counts what was done."""

    bites: int = 0

    async def count(self) -> int:
        """So often."""
        return self.bites


@asynccontextmanager
async def beside(coroutine: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Runs beside the body, and is cancelled at its end, again where a library forgets that it was. Raises what it
    raised."""
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        while not (await asyncio.wait([task], timeout=CANCELLED_AGAIN_S))[0]:
            task.cancel()
        [ended] = await asyncio.gather(task, return_exceptions=True)
        if isinstance(ended, Exception):
            raise ended
