"""One call on its way through the relay: what came when, what it cost, and what the log and the recording say of it."""

from __future__ import annotations

from collections.abc import Callable

from harness.llm.live.answers import AnswerReader
from harness.llm.live.recording import Recorded
from harness.llm.wire import Asked, Headers, Reply
from harness.observation.llm import LlmCall


class Passing:
    """One call. Its times are s, from `at` or from when it went out (`chunks`, `reset_s`); `clock` is s from t0."""

    def __init__(self, asked: Asked, clock: Callable[[], float]) -> None:
        self.asked = asked
        self._clock = clock
        self.at = clock()
        self.answer = AnswerReader(asked.api, stream=asked.stream)
        self.queued_s = 0.0
        self.most_usd = self.cost_usd = 0.0
        self.sent_at: float | None = None  # when it went to the provider
        self.from_provider = False  # what was answered was the provider's
        self.status = 0
        self.stream = False  # the answer is one
        self.error = ""
        self.headers: Headers = []
        self.chunks: list[tuple[float, bytes]] = []
        self.ttft_s: float | None = None
        self.ended_s: float | None = None
        self.whole = False  # to its end, whatever it was
        self.reset_s: float | None = None
        self.gone = False

    def head(self, status: int, headers: Headers, *, stream: bool) -> None:
        """The provider answers."""
        self.from_provider = True
        self.status, self.headers, self.stream = status, headers, stream
        if not stream:
            self.answer = AnswerReader(self.asked.api, stream=False)

    def chunk(self, payload: bytes) -> None:
        """A part of the answer came."""
        assert self.sent_at is not None
        self.chunks.append((self._clock() - self.sent_at, payload))
        self.answer.feed(payload)

    def handed_over(self) -> None:
        """What had come so far is on its way to the client."""
        self.ended_s = self._clock() - self.at
        if self.ttft_s is None and self.answer.began:
            self.ttft_s = self.ended_s

    async def hand_over_whole(self, reply: Reply, headers: Headers, payload: bytes) -> None:
        """An answer in one piece, ours or the provider's."""
        await reply.start(self.status, headers, stream=False)
        await reply.send(payload)
        self.whole = reply.gone_at is None  # asked before: at the end it is gone in any case
        await reply.finish()
        if not self.from_provider:
            self.answer = AnswerReader(self.asked.api, stream=False)
            self.answer.feed(payload)
        self.answer.end()
        self.handed_over()

    def broken(self, why: str) -> None:
        """The provider's connection broke."""
        self.from_provider = True
        self.error = why
        now = self._clock()
        self.ended_s = now - self.at
        self.reset_s = now - (self.sent_at or self.at)

    def cost(self, counted_usd: float | None) -> float:
        """Nothing for what was refused; the most it may have cost where nobody counted."""
        if self.sent_at is None or self.status not in (0, 200):
            return 0.0
        return self.most_usd if counted_usd is None else counted_usd

    def recorded(self, path: str) -> Recorded:
        """For the recording, without what may hold secrets."""
        return Recorded(
            path=path, digest=self.asked.digest, api=self.asked.api, model=self.asked.model, status=self.status,
            stream=self.stream, reset_s=self.reset_s,
        )  # fmt: skip

    def line(self, level: str) -> LlmCall:
        """For the log."""
        asked, answer, canary = self.asked, self.answer, self.asked.canary
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
            error=self.error or answer.error,
            retry_after_s=retry_after_s(self.headers),
            queued_s=self.queued_s,
            ttft_s=self.ttft_s,
            ended_s=self._clock() - self.at if self.gone or self.ended_s is None else self.ended_s,
            complete=self.status == 200 and self.whole and answer.finished and not answer.error,
            gone=self.gone,
            input_tokens=answer.input_tokens or asked.input_tokens,
            output_tokens=answer.tokens,
            cost_usd=self.cost_usd,
            digest=answer.digest,
        )


def retry_after_s(headers: Headers) -> float | None:
    """What the answer's headers say, in seconds; None when they say nothing that is a number."""
    named = dict(headers)
    for name, unit_s in ((b"retry-after-ms", 0.001), (b"retry-after", 1.0)):
        try:
            wait_s = float(named[name]) * unit_s
        except (KeyError, ValueError):
            continue
        return wait_s if 0 <= wait_s < float("inf") else None
    return None
