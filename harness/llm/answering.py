"""One call while the simulator answers it: what is to be written down of it in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from hashlib import blake2b

from harness.llm.wire import Asked, Reply
from harness.observation.llm import LlmCall


class Answering:
    """One call while it is answered. What stands on the class is what most calls never change."""

    status = 200
    error = ""
    fault = ""
    retry_after_s: float | None = None
    ttft_planned_s: float | None = None
    ended_planned_s: float | None = None
    ttft_s: float | None = None
    complete = False
    generated = 0
    sent = 0
    charged = 0  # of what was generated, to the quota
    cost_usd: float | None = 0.0

    def __init__(self, clock: Callable[[], float], asked: Asked, reply: Reply, number: int) -> None:
        self._clock = clock
        self.at = clock()
        self.asked = asked
        self.reply = reply
        self.number = number
        self.request_id = f"{number:024x}"
        self._digest = blake2b(digest_size=16)

    def since(self) -> float:
        """Seconds since the request had been read."""
        return self._clock() - self.at

    async def until(self, due_s: float) -> None:
        """Wait until so many seconds after the request had been read."""
        wait_s = due_s - self.since()
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def handed_over(self, text: str, tokens: int) -> None:
        """So much of the answer is the client's now."""
        if self.asked.stream and self.ttft_s is None:
            self.ttft_s = self.since()
        self._digest.update(text.encode())
        self.sent += tokens

    def line(self, level: str) -> LlmCall:
        """The call as it is written down."""
        asked, canary, gone_at = self.asked, self.asked.canary, self.reply.gone_at
        ended_s = self.since()
        gone = False
        if gone_at is not None and not self.complete:
            gone = True
            ended_s -= asyncio.get_running_loop().time() - gone_at
            ended_s = max(self.ttft_s or 0.0, ended_s)  # it may have read and left before we looked at the clock
        return LlmCall(
            level=level,
            at=self.at,
            api=asked.api,
            model=asked.model,
            workflow=canary.workflow if canary else "",
            agent=canary.agent if canary else "",
            step=canary.step if canary else "",
            attempt=asked.attempt,
            stream=asked.stream,
            status=self.status,
            error=self.error,
            fault=self.fault,
            retry_after_s=self.retry_after_s,
            ttft_planned_s=self.ttft_planned_s,
            ended_planned_s=self.ended_planned_s,
            ttft_s=self.ttft_s,
            ended_s=ended_s,
            complete=self.complete,
            gone=gone,
            input_tokens=asked.input_tokens if self.generated else 0,
            output_tokens=self.sent,
            unread_tokens=self.generated - self.sent,
            cost_usd=self.cost_usd,
            digest=self._digest.hexdigest() if self.sent else "",
        )
