"""Recorded answers again, with their times: the first token and every chunk come when they came, times `time_scale`.

A request is known by its path and its digest, so it is the same one to the last character that matters. Several
recordings of one request are served in their order, the last of them from then on.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.llm.config import ProviderConfig, RecordingEnded
from harness.llm.live.answers import AnswerReader
from harness.llm.live.passing import retry_after_s
from harness.llm.live.recording import Recorded, read_recording
from harness.llm.prices import price_of
from harness.llm.wire import Asked, Dialect, Headers, Refused, Reply
from harness.observation.llm import LlmCall

if TYPE_CHECKING:
    from harness.llm.calls import CallLog


class Replayer:
    """A `Source` that answers from a recording. Raises UsageError when it cannot be read. `clock` is s from t0."""

    def __init__(
        self,
        config: ProviderConfig,
        log: CallLog,
        clock: Callable[[], float],
        say: Callable[[RecordingEnded], None] = lambda _: None,
    ) -> None:
        if config.replay is None:
            raise UsageError("a replay needs the path of a recording")
        self._level = config.level
        self._scale = config.time_scale
        self._prices = config.prices
        self._log = log
        self._clock = clock
        self._say = say
        self._has_ended = False
        self._takes: dict[tuple[str, str], list[_Take]] = {}
        self._served: Counter[tuple[str, str]] = Counter()
        self._models: Counter[tuple[str, str]] = Counter()
        for call in read_recording(Path(config.replay)):
            self._takes.setdefault((call.path, call.digest), []).append(_Take(call))
            self._models[call.path, call.model] += 1

    async def respond(self, dialect: Dialect, asked: Asked, body: bytes, reply: Reply) -> None:
        """Answer as was recorded."""
        at = self._clock()
        played = _Played(AnswerReader(asked.api, stream=asked.stream))
        take = None
        try:
            take = self._take(dialect.path, asked)
            played.answer = AnswerReader(asked.api, stream=take.call.stream)
            await self._play(take, at, played, reply)
        except Refused as refused:
            request_id = secrets.token_hex(12)
            played.status, headers, payload = dialect.refusal(refused, request_id)
            played.error = "not_recorded"
            if not self._has_ended:
                self._has_ended = True
                self._say(RecordingEnded(refused.message))
            headers = [*headers, *dialect.headers({}, request_id, 0.0)]
            await reply.start(played.status, headers, stream=False)
            await reply.send(payload)
            await reply.finish()
            played.ended_s = self._clock() - at
        finally:
            # A client whose connection we reset ourselves did not leave.
            played.gone = reply.gone_at is not None and not (played.whole or played.error)
            if played.gone or not played.ended_s:
                played.ended_s = self._clock() - at
            self._log.add(self._line(asked, at, take, played))

    def _take(self, path: str, asked: Asked) -> _Take:
        """The recording whose turn it is. Raises `Refused` when there is none."""
        key = path, asked.digest
        takes = self._takes.get(key)
        if takes is None:
            raise Refused("unknown_path", self._nothing_like(path, asked.model))
        take = takes[min(self._served[key], len(takes) - 1)]
        self._served[key] += 1
        if take.call.omitted:
            raise Refused("unknown_path", "The recording left this answer out, because a secret was spelled in it.")
        return take

    def _nothing_like(self, path: str, model: str) -> str:
        there = {name: count for (at, name), count in self._models.items() if at == path}
        if not there:
            paths = ", ".join(sorted({at for at, _ in self._models}))
            return f"The recording holds no call of {path}: only of {paths}."
        if model not in there:
            named = ", ".join(sorted(there))
            return f"The recording holds no call of model {model[:100]!r} at {path}: only of {named}."
        return (
            f"The recording holds {there[model]} calls of model {model!r} at {path}, but none with this very body: a "
            "prompt, a limit or a seed differs."
        )

    async def _play(self, take: _Take, at: float, played: _Played, reply: Reply) -> None:
        call = take.call
        if call.status and (call.stream or call.reset_s is None):
            await self._until(at + (take.payloads[0][0] if take.payloads else 0.0) * self._scale)
            played.status = call.status
            await reply.start(call.status, take.headers, stream=call.stream)
            for offset_s, payload in take.payloads:
                await self._until(at + offset_s * self._scale)
                if reply.gone_at is not None:
                    return
                await reply.send(payload)
                played.handed_over(payload, self._clock() - at)
        if call.reset_s is not None:
            await self._until(at + call.reset_s * self._scale)
            played.ended_s, played.error = self._clock() - at, "connection"
            reply.reset()
            return
        played.answer.end()
        played.whole = reply.gone_at is None  # asked before: at the end it is gone in any case
        await reply.finish()

    async def _until(self, due: float) -> None:
        await asyncio.sleep(max(0.0, due - self._clock()))

    def _line(self, asked: Asked, at: float, take: _Take | None, played: _Played) -> LlmCall:
        canary, answer = asked.canary, played.answer
        recorded = take.answer if take is not None else answer
        input_tokens = recorded.input_tokens or asked.input_tokens
        output_tokens = recorded.tokens if played.whole else answer.tokens
        price = price_of(self._prices, asked.model)
        cost_usd = price.of(input_tokens, recorded.tokens) if price is not None else None
        ttft_s = take.ttft_s if take is not None else None
        return LlmCall(
            level=self._level,
            at=at,
            api=asked.api,
            model=asked.model,
            workflow=canary.workflow if canary else "",
            agent=canary.agent if canary else "",
            step=canary.step if canary else "",
            attempt=asked.attempt,
            stream=asked.stream,
            status=played.status,
            error=played.error or answer.error,
            retry_after_s=retry_after_s(take.headers) if take is not None else None,
            ttft_planned_s=ttft_s * self._scale if ttft_s is not None else None,
            ended_planned_s=take.ended_s * self._scale if take is not None else None,
            ttft_s=played.ttft_s,
            ended_s=played.ended_s,
            complete=played.status == 200 and played.whole and answer.finished and not answer.error,
            gone=played.gone,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            unread_tokens=max(0, recorded.tokens - output_tokens),
            cost_usd=cost_usd if played.status == 200 else 0.0,
            digest=answer.digest,
        )


class _Take:
    """One recorded call, ready to be played."""

    def __init__(self, call: Recorded) -> None:
        self.call = call
        self.payloads = call.payloads()
        self.headers: Headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in call.headers]
        self.answer = AnswerReader(call.api, stream=call.stream)
        self.ttft_s: float | None = None
        for offset_s, payload in self.payloads:
            self.answer.feed(payload)
            if self.ttft_s is None and self.answer.began:
                self.ttft_s = offset_s
        self.answer.end()
        self.ended_s = call.reset_s if call.reset_s is not None else self.payloads[-1][0] if self.payloads else 0.0


@dataclass(slots=True)
class _Played:
    """What came of one answer."""

    answer: AnswerReader
    status: int = 0
    error: str = ""
    ttft_s: float | None = None
    ended_s: float = 0.0
    whole: bool = False
    gone: bool = False

    def handed_over(self, payload: bytes, after_s: float) -> None:
        """A part went to the client."""
        self.answer.feed(payload)
        self.ended_s = after_s
        if self.ttft_s is None and self.answer.began:
            self.ttft_s = after_s
