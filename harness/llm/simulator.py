"""The simulated provider: answers as a model of that class would, when it would, and within its quotas.

A client that hangs up does not stop the model: what would have been generated is counted, and paid for, as unread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import accumulate, count

import msgspec

from harness.errors import unknown_name
from harness.llm.answering import Answering
from harness.llm.calls import CallLog
from harness.llm.config import ProviderConfig
from harness.llm.draws import uniforms
from harness.llm.injection import Faults, altered, refusal_of
from harness.llm.latency import MODELS, Timing, load_factor, timing
from harness.llm.models import SERVED, Served, served
from harness.llm.prices import price_of
from harness.llm.quota import Quotas
from harness.llm.script import script
from harness.llm.wire import Asked, Dialect, Headers, Refused, Reply, Scripted
from harness.scenario.models import LlmFault

CHUNK_TOKENS_MAX = 4


class Simulator:
    """A `Source`. `clock` is s from t0, and runs as the event loop's timers do."""

    def __init__(self, config: ProviderConfig, log: CallLog, clock: Callable[[], float]) -> None:
        self._config = config
        self._log = log
        self._clock = clock
        self._quotas = Quotas(config.llm.quota, clock=clock)
        self._faults = Faults(config.llm.fault, config.seed)
        self._began: float | None = None
        self._in_flight = 0
        self._numbers = count(1)

    def measure_began(self, at: float) -> None:
        """Faults are timed from here (s from t0)."""
        self._began = at

    async def respond(self, dialect: Dialect, asked: Asked, body: bytes, reply: Reply) -> None:
        """Answer, or refuse; the call is written down when it ended, however it did."""
        call = Answering(self._clock, asked, reply, next(self._numbers))
        self._in_flight += 1
        try:
            try:
                await self._answer(call, dialect)
            except Refused as refused:
                await self._refuse(call, dialect, refused)
        finally:
            self._in_flight -= 1
            self._quotas.generated(asked.model, call.generated - call.charged)  # a model does not stop for a client
            self._log.add(call.line(self._config.level))

    async def _answer(self, call: Answering, dialect: Dialect) -> None:
        asked, config = call.asked, self._config
        model = self._model(asked)
        fault = self._faults.concerning(asked, self._clock(), self._began)
        if fault is not None:
            call.fault = fault.fault
            if fault.fault == "refused_connection":
                call.status = 0
                call.reply.reset()
                return
            if (refused := refusal_of(fault, stream=asked.stream)) is not None:
                raise refused
        self._quotas.admit(asked)
        scripted = script(asked, seed=config.seed, model=model, created=int(time.time()), nth=call.number)
        if fault is not None:
            scripted = altered(fault, scripted, [tool.name for tool in asked.tools])
        call.generated = len(scripted.pieces)
        price = price_of(config.prices, asked.model)
        call.cost_usd = price.of(asked.input_tokens, call.generated) if price is not None else None
        self._quotas.spent(asked.model, call.cost_usd or 0.0)
        took = self._timing(call, model)
        if asked.stream:
            await self._stream(call, dialect, scripted, took, fault)
        else:
            await self._whole(call, dialect, scripted, took, fault)

    def _model(self, asked: Asked) -> Served:
        provider = asked.api.partition(".")[0]
        model = served(asked.model, self._config.llm.models)
        if model is None or model.provider not in (provider, ""):
            here = [name for name, each in SERVED.items() if each.provider == provider]
            raise Refused("unknown_model", unknown_name("model", asked.model[:200], here), param="model")
        total = asked.input_tokens + (asked.max_tokens or 0)
        if total > model.context_tokens:
            message = f"prompt is too long: {total} tokens > {model.context_tokens} maximum"
            raise Refused("context_overflow", message, param="messages")
        return model

    def _timing(self, call: Answering, model: Served) -> Timing:
        """When its tokens come, scaled and slowed by what else is in flight."""
        workflow, agent, step = _named(call.asked)
        drawn = timing(
            MODELS[model.latency],
            seed=self._config.seed,
            workflow=workflow,
            agent=agent,
            call=step,
            attempt=call.asked.attempt,
            output_tokens=call.generated,
        )
        return drawn.scaled(load_factor(self._in_flight - 1) * self._config.time_scale)

    async def _whole(
        self, call: Answering, dialect: Dialect, scripted: Scripted, took: Timing, fault: LlmFault | None
    ) -> None:
        what = fault.fault if fault is not None else None
        delay_s = fault.delay if fault is not None and what in ("slow_first_token", "stall") else 0.0
        call.ended_planned_s = took.total_s(call.generated) + delay_s
        await call.until(call.ended_planned_s)
        if call.reply.gone_at is not None:
            return
        payload = dialect.whole(call.asked, scripted)
        if what == "malformed_chunk":
            payload = b"{" + payload
        if what in ("truncated", "dropped"):
            payload = payload[: len(payload) // 2]
        length = [] if what == "dropped" else [(b"content-length", b"%d" % len(payload))]
        await call.reply.start(200, [*self._headers(call, dialect), *length], stream=False)
        if what == "dropped":
            await call.reply.send(payload)
            call.reply.reset()
            return
        await call.reply.finish(payload)
        whole = what not in ("truncated", "malformed_chunk")
        call.handed_over(scripted.text if whole else "", call.generated if whole else 0)
        call.complete = whole and harmless(what)

    async def _stream(
        self, call: Answering, dialect: Dialect, scripted: Scripted, took: Timing, fault: LlmFault | None
    ) -> None:
        what = fault.fault if fault is not None else None
        delay_s = fault.delay if fault is not None else 0.0
        sizes = self._sizes(call)
        ends = list(accumulate(sizes))
        chunks = ["".join(scripted.pieces[end - size : end]) for size, end in zip(sizes, ends, strict=True)]
        stream = dialect.stream(call.asked, scripted, chunks)
        half = len(chunks) // 2
        if what == "malformed_chunk":
            broken = stream.chunks[half].removesuffix(b"}\n\n") + b"\n\n"
            stream = msgspec.structs.replace(stream, chunks=(*stream.chunks[:half], broken, *stream.chunks[half + 1 :]))
        slow_s = delay_s if what == "slow_first_token" else 0.0
        due = [slow_s + took.at_s(end) for end in ends]
        if what == "stall":
            due[half:] = [at + delay_s for at in due[half:]]
        call.ttft_planned_s, call.ended_planned_s = due[0], due[-1]
        cut = what in ("truncated", "dropped", "error_event")
        await call.until(due[0])
        if call.reply.gone_at is not None:
            return
        await call.reply.start(200, self._headers(call, dialect), stream=True)
        sent, held = 0, [stream.opening]
        until = max(1, half) if cut else len(chunks)
        while sent < until:
            await call.until(due[sent])
            if call.reply.gone_at is not None:
                return
            now, first = max(call.since(), due[sent]), sent  # a timer may ring a moment early
            while sent < until and due[sent] <= now:
                held.append(stream.chunks[sent])
                sent += 1
            await call.reply.send(b"".join(held))
            held.clear()
            tokens = ends[sent - 1] - call.sent
            call.handed_over("".join(chunks[first:sent]), tokens)
            call.charged += tokens
            self._quotas.generated(call.asked.model, tokens)
        if what == "dropped":
            call.reply.reset()
            return
        if what == "error_event":
            refused = Refused("overloaded", "Overloaded")
            await call.reply.finish(dialect.error_event(refused, call.request_id))
        elif what == "truncated":
            await call.reply.finish()
        else:
            await call.reply.finish(stream.finishing + stream.closing)
        call.complete = call.reply.gone_at is None and not cut and harmless(what)

    def _sizes(self, call: Answering) -> Sequence[int]:
        """Tokens of each chunk: one, so that it comes when the first token does, and then one to four, drawn."""
        left, sizes, block = call.generated - 1, [1], 0
        while left > 0:
            for u in uniforms("chunks", self._config.seed, *_named(call.asked), call.asked.attempt, block):
                size = min(left, 1 + int(u * CHUNK_TOKENS_MAX))
                if size:
                    sizes.append(size)
                left -= size
            block += 1
        return sizes

    def _headers(self, call: Answering, dialect: Dialect) -> Headers:
        return dialect.headers(self._quotas.allowances(call.asked.model), call.request_id, call.since() * 1000)

    async def _refuse(self, call: Answering, dialect: Dialect, refused: Refused) -> None:
        status, headers, body = dialect.refusal(refused, call.request_id)
        call.status, call.error, call.retry_after_s = status, refused.kind, refused.retry_after_s
        headers = [*headers, *self._headers(call, dialect), (b"content-length", b"%d" % len(body))]
        await call.reply.start(status, headers, stream=False)
        await call.reply.finish(body)


def _named(asked: Asked) -> tuple[str, str, str]:
    """By what its chance is drawn: the call, whatever else its prompt holds; without a canary what was asked."""
    canary = asked.canary
    return (canary.workflow, canary.agent, canary.step) if canary is not None else (asked.digest, "", "")


def harmless(fault: str | None) -> bool:
    """Whether an answer that was handed over whole, in spite of this, is as it should be."""
    return fault in (None, "slow_first_token", "stall")
