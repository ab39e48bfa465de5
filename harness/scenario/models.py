"""What a scenario says of calls to models: what agents ask, and how the provider behaves. As `scenario.py`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.scenario.units import Dollars, PerSecond, Seconds, Share

_DATED = re.compile(r"(-\d{8}|-\d{4}-\d{2}-\d{2}|-latest)$")


def undated(model: str) -> str:
    """The name without the date of a snapshot: `gpt-4o-2024-08-06` is `gpt-4o`."""
    return _DATED.sub("", model)


Api = Literal["openai.chat", "openai.responses", "anthropic.messages"]
"""An endpoint for models: Chat Completions, Responses, Messages. What stands before the dot is the provider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackModel:
    """Who is asked while the breaker of `llm` keeps callers off the first: another model, of another provider."""

    model: str  # its name
    api: Api = "anthropic.messages"  # its endpoint, of another provider
    at_once: int = 4  # calls to it; one more is not asked at all, so that it is not driven over


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Asking a model over HTTP with its provider's own SDK: the agent's finding comes out of the answer."""

    model: str  # its name, one that the simulator knows
    api: Api = "openai.chat"  # which endpoint, and thereby which SDK
    stream: bool = False  # the answer in pieces, as they are generated
    tool: bool = False  # the answer as the arguments of a tool call
    input_tokens: int = 300  # about; the prompt is filled up to it
    output_tokens: int = 60  # asked for; the simulator keeps to it, a real model roughly
    timeout: Seconds = 20.0  # of one attempt, to the end of the answer
    first_token: Seconds = 10.0  # stream only: to the first piece
    between_tokens: Seconds = 5.0  # stream only: from one piece to the next
    fallback: FallbackModel | None = None  # what it answers is degraded (llm_fallback)

    @property
    def apis(self) -> tuple[Api, ...]:
        """Of all models that may be asked."""
        return (self.api,) if self.fallback is None else (self.api, self.fallback.api)

    @property
    def models(self) -> tuple[str, ...]:
        """All that may be asked."""
        return (self.model,) if self.fallback is None else (self.model, self.fallback.model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What a provider lets one model be asked for, by everybody together: buckets that refill without pause."""

    requests: PerSecond | None = None  # that may begin
    tokens: PerSecond | None = None  # openai: input, and the larger of max_tokens and its estimate, together
    input_tokens: PerSecond | None = None  # anthropic
    output_tokens: PerSecond | None = None  # anthropic
    burst: Seconds = 60.0  # a full bucket holds what refills in this time; it begins full
    ramp: PerSecond | None = None  # by so much may the rate of requests grow each minute; faster growth is refused
    spend: Dollars | None = None  # then every call is refused, for good


LlmFaultKind = Literal[
    "slow_first_token",  # `delay` more before the first token
    "stall",  # the stream stands still for `delay`, half-way
    "truncated",  # the stream ends half-way, cleanly, without a finish reason
    "cut_finished",  # half of the answer, and a finish reason that says it is whole
    "dropped",  # the connection is reset half-way
    "refused_connection",  # the connection is reset before any answer: the provider is away
    "malformed_chunk",  # a piece of the stream (or the whole body) is not JSON
    "error_event",  # status 200, and then an error within the stream
    "wrong_tool",  # a call of a tool that nobody offered
    "broken_json",  # the answer's own JSON, or that of the tool's arguments, cannot be read
    "context_overflow",  # 400: the prompt is said to be too long
    "garbage",  # an answer of the right form with a wrong finding in it
    "error",  # `status`
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmFault:
    """How the simulated provider misbehaves. The first one of the list that concerns a request is what happens."""

    fault: LlmFaultKind  # what happens
    share: Share = 1.0  # of the requests that it concerns, drawn by seed for each attempt
    first: int | None = None  # only the first so many attempts of each call: then it succeeds
    agent: str | None = None  # only requests of this agent
    model: str | None = None  # only requests for this model
    at: Seconds | None = None  # after the measure phase began; always when left out
    lasts: Seconds | None = None  # to the end when left out
    every: Seconds | None = None  # again and again, each `every`: bursts
    delay: Seconds = 5.0  # slow_first_token, stall; never scaled
    status: Literal[408, 409, 429, 500, 502, 503, 504, 529] = 500  # error
    retry_after: Seconds | None = None  # error: said in the header


@dataclass(frozen=True, slots=True, kw_only=True)
class Llm:
    """The provider of models, as the simulator plays it. `--llm live` puts the real ones in its place."""

    models: Mapping[str, str] = field(default_factory=dict)  # further model names -> the latency class they have
    quota: Mapping[str, Quota] = field(default_factory=dict)  # by model
    fault: tuple[LlmFault, ...] = ()  # how it misbehaves; the first that concerns a request
    sdk_retries: int = 0  # of the SDK itself, beneath every attempt of an agent: the two multiply
    port: int | None = None  # of the simulator, for targets that cannot be told; any free one when left out
