"""Faults of one agent type of the embedded orchestrator: its attempts hang, fail, drag on, or come to a wrong end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from harness.errors import HarnessError
from harness.fault.beside import Sum, beside
from harness.fault.fault import Bench, FaultFailed
from harness.scenario.units import Share
from harness.target.target import Answered, Disturb, Disturbance

ANSWER_S = 30.0
RENEWED_S = 0.1
LEASE_S = 2.0
"""An order that is not renewed for so long has ended: twenty of its turns, and less than a person waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Disturbed:
    """Attempts of one agent type, a share of them, drawn by the scenario's seed."""

    agent: str  # whose attempts; one that a step of the scenario names
    share: Share = 1.0  # of its attempts

    how: ClassVar[Disturbance]

    @property
    def needs(self) -> tuple[str, ...]:
        """An agent of the embedded orchestrator."""
        return (f"agent:{self.agent}",)

    @property
    def factor(self) -> float:
        """How many times as long an attempt takes."""
        return 1.0

    @property
    def to(self) -> str:
        """Whom the task is handed to."""
        return ""

    @asynccontextmanager
    async def inject(self, bench: Bench) -> AsyncIterator[Sum]:
        """Its host is told, and told again before it forgets."""
        found = Sum()
        last: int | None = None  # what the process of then had counted, windows before this one included

        async def told(lasts_s: float) -> None:
            nonlocal last
            order = Disturb(repr(self), self.agent, self.how, self.share, self.factor, lasts_s, self.to)
            try:
                answer = await asyncio.to_thread(bench.ask_target, msgspec.json.encode(order), ANSWER_S)
            except HarnessError as error:
                raise FaultFailed(f"agent {self.agent!r} could not be disturbed: {error}") from None
            bites = msgspec.json.decode(answer, type=Answered).count
            if last is not None:
                found.bites += bites - last if bites >= last else bites
            last = bites

        async def renewed() -> None:
            while True:
                await asyncio.sleep(RENEWED_S)
                await told(LEASE_S)

        await told(LEASE_S)
        try:
            async with beside(renewed()):
                yield found
        finally:
            await told(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hanging(_Disturbed):
    """Attempts of the agent never return: nothing fails, and nothing comes.

    Only a deadline ends them. It has to count as a failure with the agent's breaker, so it has to lie inside of it.
    """

    how = "hang"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing(_Disturbed):
    """Attempts of the agent fail at once, and may be tried again.

    Retries have to be bounded, all of them together; a breaker opens, and what does not need the agent goes on.
    """

    how = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrownedOut(_Disturbed):
    """Every attempt of the agent succeeds, and takes many times as long.

    No failure rate shows it: a breaker that counts slow calls does, and a pool of bounded size keeps it to itself.
    """

    times: float = 20.0  # as long as without the fault

    how = "slow"

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if self.times <= 1:
            raise ValueError(f"{self.times:g} times as long is not slower; write more than 1")

    @property
    def factor(self) -> float:
        """As said."""
        return self.times


@dataclass(frozen=True, slots=True, kw_only=True)
class Lying(_Disturbed):
    """Findings of the agent have the right form and a wrong value.

    Nothing fails. Whoever checks findings before others build on them (`agent.X.verify`) keeps them out; without that
    they are in the results, and counted as corrupted.
    """

    how = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandingOver(_Disturbed):
    """Attempts of the agent end with the task in another agent's hands; two such faults make them play ping-pong.

    Each time costs what thinking costs. A guard over the whole chain (`orchestrator.hand_overs`) ends it, by name.
    """

    other: str  # which agent is to do it; with a second fault the other way round it hands it back

    how = "hand_over"

    @property
    def needs(self) -> tuple[str, ...]:
        """Both agents."""
        return (f"agent:{self.agent}", f"agent:{self.other}")

    @property
    def to(self) -> str:
        """As said."""
        return self.other
