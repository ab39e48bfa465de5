"""A run's workflows, steps and calls to models as spans, by OpenTelemetry's semantic conventions for GenAI.

A workflow is a trace. Ids are hashes of what a span is of, so that files are read once, a line at a time, and a span
knows its parent without having seen it; a run that is exported again gives the same spans. The conventions are still
in development: a workflow is named as an agent is, as they say now, and as `gen_ai.workflow.name`, as they said before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from harness.observation.llm import LlmCall
from harness.observation.observation import Observation, Outcome, StepRecord

BATCH = 512
SCOPE = "harness"

Attributes = dict[str, AttributeValue]


class Spans:
    """Makes spans and hands them to `send`, `BATCH` at a time; `end` hands over the rest.

    `zero_ns` is the wall clock at the run's t0. Whatever `send` raises ends the making of spans.
    """

    def __init__(
        self, run_id: str, resource: Resource, zero_ns: int, send: Callable[[Sequence[ReadableSpan]], None]
    ) -> None:
        self._run_id = run_id
        self._zero_ns = zero_ns
        self._ids = _Ids()
        self._ended = _Ended(send)
        provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        provider.add_span_processor(self._ended)
        self._tracer = provider.get_tracer(SCOPE)

    def workflow(self, seen: Observation) -> None:
        """A workflow from its intended start, with its steps below it."""
        attributes: Attributes = {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.agent.name": seen.kind,
            "gen_ai.workflow.name": seen.kind,
            "harness.workflow.id": seen.id,
            "harness.level": seen.level,
            "harness.phase": seen.phase,
            "harness.outcome": seen.outcome,
            "harness.attempts": seen.attempts,
            **({"harness.lateness_s": seen.started - seen.intended} if seen.started is not None else {}),
            **({"harness.censored": True} if seen.censored else {}),
            **({"harness.degraded": seen.degraded} if seen.degraded else {}),
        }
        ended = seen.intended if seen.ended is None else seen.ended
        self._span(
            f"invoke_workflow {seen.kind}",
            (seen.id, ""),
            None,
            (seen.intended, ended),
            attributes,
            error=_error(seen.outcome, seen.error_class),
            message=seen.message,
        )
        met: Counter[str] = Counter()
        for step in seen.steps:
            met[step.name] += 1
            again = f"#{met[step.name]}" if met[step.name] > 1 else ""
            self._step(seen, step, step.name + again)

    def call(self, call: LlmCall) -> None:
        """An attempt to call a model, below the step that made it, where its prompt said which."""
        answered = call.status == 200
        attributes: Attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": call.api.partition(".")[0],
            "gen_ai.request.model": call.model,
            "gen_ai.request.stream": call.stream,
            "gen_ai.usage.input_tokens": call.input_tokens,
            "gen_ai.usage.output_tokens": call.output_tokens,
            "harness.level": call.level,
            "harness.llm.attempt": call.attempt,
            **({"gen_ai.agent.name": call.agent} if call.agent else {}),
            **({"gen_ai.response.time_to_first_chunk": call.ttft_s} if call.stream and call.ttft_s is not None else {}),
            **({"http.response.status_code": call.status} if call.status else {}),
            **({"harness.llm.fault": call.fault} if call.fault else {}),
            **({"harness.llm.cost_usd": call.cost_usd} if call.cost_usd is not None else {}),
        }
        self._span(
            f"chat {call.model}",
            (call.workflow, f"{call.step}\0{call.at!r}\0{call.attempt}\0{call.agent}"),
            (call.workflow, call.step) if call.workflow else None,
            (call.at, call.at + call.ended_s),
            attributes,
            error="" if answered and call.complete else call_error(call),
            kind=SpanKind.CLIENT,
        )

    def end(self) -> None:
        """There are no more."""
        self._ended.hand_over()

    def _step(self, of: Observation, step: StepRecord, key: str) -> None:
        attributes: Attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": step.agent,
            "harness.step": step.name,
            "harness.level": of.level,
            "harness.outcome": step.outcome,
            "harness.attempts": step.attempts,
            "harness.pool_wait_s": step.started - step.queued,
            "harness.llm_wait_s": step.llm_wait_s,
        }
        self._span(
            f"invoke_agent {step.agent}",
            (of.id, key),
            (of.id, ""),
            (step.started, step.ended),
            attributes,
            error=_error(step.outcome, ""),
        )

    def _span(
        self,
        name: str,
        key: tuple[str, str],
        parent: tuple[str, str] | None,
        times: tuple[float, float],
        attributes: Attributes,
        *,
        error: str,
        message: str = "",
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> None:
        """One span. `key` and `parent` are a workflow's id and what is meant within it; `times` are s from t0."""
        self._ids.trace, self._ids.span = self._trace_id(key), self._hash(*key, size=8)
        if error:
            attributes["error.type"] = error
        span = self._tracer.start_span(
            name, self._below(parent), kind=kind, attributes=attributes, start_time=self._ns(times[0])
        )
        if error:
            span.set_status(Status(StatusCode.ERROR, message or error))
        span.end(self._ns(times[1]))

    def _below(self, parent: tuple[str, str] | None) -> Context:
        if parent is None:
            return Context()
        context = SpanContext(
            self._trace_id(parent), self._hash(*parent, size=8), is_remote=False, trace_flags=TraceFlags(1)
        )
        return set_span_in_context(NonRecordingSpan(context), Context())

    def _trace_id(self, key: tuple[str, str]) -> int:
        """The workflow's; a call of none is a trace of its own."""
        workflow, within = key
        return self._hash(workflow, "" if workflow else within, size=16)

    def _hash(self, *parts: str, size: int) -> int:
        key = "\0".join((self._run_id, *parts)).encode()
        return int.from_bytes(blake2b(key, digest_size=size).digest()) or 1  # 0 is no id

    def _ns(self, at: float) -> int:
        return self._zero_ns + round(at * 1e9)


class _Ids(IdGenerator):
    """Gives the ids that were laid down for the span that is made next."""

    def __init__(self) -> None:
        self.trace = 1
        self.span = 1

    def generate_trace_id(self) -> int:
        return self.trace

    def generate_span_id(self) -> int:
        return self.span


class _Ended(SpanProcessor):
    """Keeps ended spans until there is a batch. The SDK's own drops what comes faster than it is sent."""

    def __init__(self, send: Callable[[Sequence[ReadableSpan]], None]) -> None:
        self._send = send
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)
        if len(self._spans) >= BATCH:
            self.hand_over()

    def hand_over(self) -> None:
        """Send what is there."""
        spans, self._spans = self._spans, []
        if spans:
            self._send(spans)


def call_error(call: LlmCall) -> str:
    """Why an attempt was not answered whole; the provider's own word, where it had one."""
    return call.error or call.fault or ("gone" if call.gone else str(call.status) if call.status != 200 else "cut")


def _error(outcome: Outcome, error_class: str) -> str:
    return "" if outcome == Outcome.OK else error_class or str(outcome)
