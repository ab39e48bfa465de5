"""Asking a model with its provider's own SDK: what goes in, what comes out, and every way it fails.

One file an SDK implements `Model`. Each attempt of an agent is one call; the SDKs' own retries are off, or counted in
by whoever turned them on.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol

import msgspec

from harness.errors import HarnessError
from harness.scenario.models import Ask

TOOL = "report"
"""The tool by which an agent is to be answered, where it asks for a tool call."""
TOOL_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"finding": {"type": "string"}, "summary": {"type": "string"}},
    "required": ["finding", "summary"],
    "additionalProperties": False,
}
TOOL_DESCRIPTION = "Hand your finding on to the next agent."
RETRY_HEADER = "x-stainless-retry-count"
SDK_TIMEOUT_SPARE_S = 5.0
"""The SDK's own time-out lies this far behind ours, so that it is ours that fires."""


class Prompt(msgspec.Struct, frozen=True):
    """What a model is told."""

    system: str
    user: str
    max_tokens: int


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back, whole. `tool` is the tool that was called, then `text` are its arguments."""

    text: str
    tool: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    ttft_s: float | None = None  # streamed: to the first piece


class LlmFailed(HarnessError):
    """There is no answer that could be used. `final`: asking again would change nothing.

    `error_class` is one of: llm_rate_limited, llm_spend_limit, llm_overloaded, llm_server_error, llm_timeout,
    llm_first_token, llm_stalled, llm_connection, llm_context_overflow, llm_refused, llm_truncated, llm_cut_short,
    llm_malformed, llm_error_event, llm_invalid_answer.
    """

    def __init__(self, message: str, *, error_class: str, final: bool = False, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.final = final
        self.retry_after_s = retry_after_s


class Model(Protocol):
    """One provider's SDK."""

    async def ask(self, ask: Ask, prompt: Prompt, attempt: int) -> Answer:
        """Ask once; `attempt` counts from 1. Raises `LlmFailed`."""

    async def close(self) -> None:
        """Let go of all connections."""


@contextmanager
def environment_ignored(prefix: str) -> Iterator[None]:
    """Within this there are no variables of that prefix: an SDK's client takes keys, addresses and headers from them.

    What a client is given overrides most of them, but no argument undoes a custom header or an organization.
    """
    hidden = {name: value for name, value in os.environ.items() if name.startswith(prefix)}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


class Pieces:
    """A streamed answer as it comes in. Its deadlines are those of the ask; a piece is text that is not empty."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._began = time.monotonic()
        self._limit: asyncio.Timeout | None = None
        self._parts: list[str] = []
        self.ttft_s: float | None = None
        self.tool: str | None = None
        self.finish: str | None = None
        self.input_tokens = 0
        self.output_tokens = 0

    @property
    def text(self) -> str:
        """All of it so far."""
        return "".join(self._parts)

    def add(self, text: str | None) -> None:
        """Another piece came."""
        if not text:
            return
        self._parts.append(text)
        if self.ttft_s is None:
            self.ttft_s = time.monotonic() - self._began
        assert self._limit is not None, "pieces come within `expected`"
        self._limit.reschedule(asyncio.get_running_loop().time() + self._ask.between_tokens)

    @asynccontextmanager
    async def expected(self) -> AsyncIterator[None]:
        """Within this the pieces come, each in time. Raises `LlmFailed`."""
        try:
            async with asyncio.timeout(self._ask.first_token) as self._limit:
                yield
        except TimeoutError:
            if self._limit is None or not self._limit.expired():
                raise
            if self.ttft_s is None:
                message = f"no token within {self._ask.first_token:g} s"
                raise LlmFailed(message, error_class="llm_first_token") from None
            message = f"the stream stood still for {self._ask.between_tokens:g} s"
            raise LlmFailed(message, error_class="llm_stalled") from None

    def answer(self) -> Answer:
        """What it amounts to, once it is known to be whole."""
        return Answer(
            text=self.text,
            tool=self.tool,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            ttft_s=self.ttft_s,
        )


@asynccontextmanager
async def failures_told(ask: Ask, translate: Callable[[Exception], LlmFailed | None]) -> AsyncIterator[None]:
    """Within this an SDK is asked: all of it within the ask's time-out, and whatever it raises becomes `LlmFailed`."""
    try:
        async with asyncio.timeout(ask.timeout) as limit:
            yield
    except LlmFailed:
        raise
    except TimeoutError:
        if not limit.expired():
            raise
        raise LlmFailed(f"no answer within {ask.timeout:g} s", error_class="llm_timeout") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:  # come bare out of both SDKs
        raise LlmFailed(f"a piece of the answer is not JSON: {error}", error_class="llm_malformed") from error
    except Exception as error:
        failed = translate(error) or _of_another_shape(error)
        if failed is None:
            raise
        raise failed from error


def _of_another_shape(error: Exception) -> LlmFailed | None:
    """The SDKs build their types from any JSON, unchecked, and hand on HTML as text: what is missing shows at use."""
    if isinstance(error, AttributeError | IndexError | TypeError):
        return LlmFailed(f"the answer has not the form of one: {error}"[:300], error_class="llm_malformed")
    return None


def whole(finish: str | None, *, good: tuple[str, ...], short: tuple[str, ...]) -> None:
    """Raise `LlmFailed` unless the provider said that the answer is whole: the SDKs take any end for a good one."""
    if finish is None:
        raise LlmFailed("the stream ended without a finish reason", error_class="llm_truncated")
    if finish in short:
        raise LlmFailed(f"the answer was cut: {finish}", error_class="llm_cut_short")
    if finish not in good:
        raise LlmFailed(f"the answer ended with {finish!r}", error_class="llm_invalid_answer")


def failed_by_status(
    status: int, headers: Mapping[str, str], error: Mapping[str, Any] | None, message: str
) -> LlmFailed:
    """What an error status means. `error` is the object of that name in the body."""
    error = error if isinstance(error, Mapping) else {}  # a gateway in between may have a form of its own
    words = {str(error.get(name)) for name in ("code", "type")}
    details = error.get("details")
    if isinstance(details, Mapping):
        words.add(str(details.get("error_code")))
    message = f"status {status}: {message}"[:300]
    if words & SPENT or (status == 429 and "insufficient_quota" in words):
        return LlmFailed(message, error_class="llm_spend_limit", final=True)
    if "context_length_exceeded" in words or (status == 400 and "prompt is too long" in message):
        return LlmFailed(message, error_class="llm_context_overflow", final=True)
    error_class = ERROR_CLASSES.get(status)
    if error_class is None:
        error_class = "llm_server_error" if status >= 500 else "llm_refused"
    return LlmFailed(
        message,
        error_class=error_class,
        final=error_class == "llm_refused",
        retry_after_s=retry_after_s(headers, now=time.time()),
    )


SPENT = frozenset({
    "credit_balance_exhausted", "organization_spend_limit_exceeded", "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded", "insufficient_quota", "enforced_spend_limit_reached",
})  # fmt: skip
ERROR_CLASSES: Mapping[int, str] = {
    408: "llm_timeout", 409: "llm_overloaded", 429: "llm_rate_limited", 503: "llm_overloaded", 504: "llm_timeout",
    529: "llm_overloaded",
}  # fmt: skip


def retry_after_s(headers: Mapping[str, str], *, now: float) -> float:
    """How long the provider asked us to wait: `retry-after-ms` before `retry-after`, in seconds or as a date.

    `now` is s since 1970. 0 when it said nothing that can be read.
    """
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        said = headers.get(name)
        if said is None:
            continue
        try:
            wait_s = float(said) * scale
            return max(0.0, wait_s) if math.isfinite(wait_s) else 0.0
        except ValueError:
            pass
        try:
            date = email.utils.parsedate_tz(said)
            if date is not None:
                return max(0.0, email.utils.mktime_tz(date) - now)
        except (ValueError, OverflowError):  # a date that no calendar has
            continue
    return 0.0
