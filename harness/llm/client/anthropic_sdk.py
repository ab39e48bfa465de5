"""Models asked with Anthropic's SDK: Messages."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2

from harness.llm.client.client import (
    RETRY_HEADER,
    SDK_TIMEOUT_SPARE_S,
    TOOL,
    TOOL_DESCRIPTION,
    TOOL_SCHEMA,
    Answer,
    LlmFailed,
    Pieces,
    Prompt,
    environment_ignored,
    failed_by_status,
    failures_told,
    whole,
)
from harness.scenario.models import Ask

_TOOL: dict[str, Any] = {
    "tools": [{"name": TOOL, "description": TOOL_DESCRIPTION, "input_schema": TOOL_SCHEMA}],
    "tool_choice": {"type": "tool", "name": TOOL},
}
_GOOD, _SHORT = ("end_turn", "tool_use", "stop_sequence"), ("max_tokens", "model_context_window_exceeded")


class AnthropicModels:
    """A `Model`. `url` is the provider's, without a path; `sdk_retries` are beneath every attempt."""

    def __init__(self, url: str, *, key: str, sdk_retries: int) -> None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        with environment_ignored("ANTHROPIC_"):
            self._client = anthropic.AsyncAnthropic(
                base_url=url,
                api_key=key,
                max_retries=sdk_retries,
                # Not the SDK's own default: that one asks by the environment's proxies, `trust_env` or not.
                http_client=httpx2.AsyncClient(limits=limits, trust_env=False, follow_redirects=False),
            )
        self._tells_attempts = sdk_retries == 0

    async def close(self) -> None:
        """Let go of all connections."""
        await self._client.close()

    async def ask(self, ask: Ask, prompt: Prompt, attempt: int) -> Answer:
        """Ask once. Raises `LlmFailed`."""
        asked: dict[str, Any] = {
            "model": ask.model,
            "max_tokens": prompt.max_tokens,
            "system": prompt.system,
            "messages": [{"role": "user", "content": prompt.user}],
            "timeout": ask.timeout + SDK_TIMEOUT_SPARE_S,
        }
        if ask.tool:
            asked |= _TOOL
        if self._tells_attempts:
            asked["extra_headers"] = {RETRY_HEADER: str(attempt - 1)}
        async with failures_told(ask, _translated):
            return await (self._stream(ask, asked) if ask.stream else self._message(asked))

    async def _message(self, asked: dict[str, Any]) -> Answer:
        message = await self._client.messages.create(**asked)
        whole(message.stop_reason, good=_GOOD, short=_SHORT)
        call = next((block for block in message.content if block.type == "tool_use"), None)
        return Answer(
            text=json.dumps(call.input) if call else "".join(b.text for b in message.content if b.type == "text"),
            tool=call.name if call else None,
            input_tokens=message.usage.input_tokens,
            output_tokens=message.usage.output_tokens,
        )

    async def _stream(self, ask: Ask, asked: dict[str, Any]) -> Answer:
        pieces = Pieces(ask)
        async with pieces.expected():
            stream = await self._client.messages.create(stream=True, **asked)
            async with stream:
                async for event in stream:
                    match event.type:
                        case "content_block_delta":
                            delta = event.delta
                            if delta.type == "text_delta":
                                pieces.add(delta.text)
                            elif delta.type == "input_json_delta":
                                pieces.add(delta.partial_json)
                        case "content_block_start" if event.content_block.type == "tool_use":
                            pieces.tool = event.content_block.name
                        case "message_start":
                            pieces.input_tokens = event.message.usage.input_tokens
                        case "message_delta":
                            pieces.finish = event.delta.stop_reason
                            pieces.output_tokens = event.usage.output_tokens
        whole(pieces.finish, good=_GOOD, short=_SHORT)
        return pieces.answer()


def _translated(error: Exception) -> LlmFailed | None:
    """What an exception of the SDK, or one that it lets through, means."""
    if isinstance(error, anthropic.APIStatusError):
        body = error.body.get("error") if isinstance(error.body, dict) else None
        if error.status_code == 200:  # an error event in a stream that had begun
            return LlmFailed(f"an error in the stream: {error.message}"[:300], error_class="llm_error_event")
        return failed_by_status(error.status_code, error.response.headers, body, error.message)
    if isinstance(error, anthropic.APITimeoutError):
        return LlmFailed("the SDK's own time-out", error_class="llm_timeout")
    if isinstance(error, anthropic.APIConnectionError | httpx2.HTTPError):  # the latter come out bare
        return LlmFailed(
            f"the connection failed: {type(error.__cause__ or error).__name__}", error_class="llm_connection"
        )
    if isinstance(error, anthropic.APIError):
        return LlmFailed(f"the answer cannot be read: {error.message}", error_class="llm_malformed")
    return None
