"""What goes on beside a fault while it acts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Sum:
    """Counts what was done."""

    bites: int = 0

    async def count(self) -> int:
        """So often."""
        return self.bites


@asynccontextmanager
async def beside(coroutine: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Runs beside the body, and is cancelled at its end. Raises what it raised."""
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        [ended] = await asyncio.gather(task, return_exceptions=True)
        if isinstance(ended, Exception):
            raise ended
