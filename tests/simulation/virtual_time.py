"""An asyncio loop whose time jumps to the next timer instead of passing, so that a minute takes milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from harness.target.target import Services, StepTuple

T = TypeVar("T")


class _JumpingSelector(selectors.SelectSelector):
    """Never waits: what would have been waited for is added to the time."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen again: every task waits for another")
        self.now_s += max(0.0, timeout)
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Starts at 0 s. Everything but time is asyncio's own."""

    def __init__(self) -> None:
        self._virtual = _JumpingSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now_s


def simulate(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main` on virtual time; a task it leaves behind is an error."""

    async def checked() -> T:
        result = await main()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"
        return result

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(checked())


class RecordingWatch:
    """The host's eye on one workflow, on the running loop's time."""

    services = Services()

    def __init__(self) -> None:
        self.clock = asyncio.get_running_loop().time
        self.steps: list[StepTuple] = []
        self.started_at: float | None = None

    def started(self) -> None:
        """The workflow left the admission queue."""
        assert self.started_at is None, "started twice"
        self.started_at = self.clock()

    def step(self, agent: str, name: str | None = None) -> Any:
        """A target that appends to `steps` does not use it."""
        raise NotImplementedError


async def settle(*awaitables: Awaitable[Any]) -> list[Any]:
    """The results of all, exceptions as values, cancellations too."""
    return await asyncio.gather(*awaitables, return_exceptions=True)


async def turns(count: int = 3) -> None:
    """Let everything that is ready run, without time passing."""
    for _ in range(count):
        await asyncio.sleep(0)
