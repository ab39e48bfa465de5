"""Models asked with OpenAI's SDK: Chat Completions and Responses."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
from openai.types.responses import ResponseError

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

_FUNCTION = {"name": TOOL, "description": TOOL_DESCRIPTION, "parameters": TOOL_SCHEMA}
_CHAT_FORM: dict[str, Any] = {"response_format": {"type": "json_object"}}
_CHAT_TOOL: dict[str, Any] = {
    "tools": [{"type": "function", "function": _FUNCTION}],
    "tool_choice": {"type": "function", "function": {"name": TOOL}},
}
_RESPONSES_FORM: dict[str, Any] = {"text": {"format": {"type": "json_object"}}}
_RESPONSES_TOOL: dict[str, Any] = {
    "tools": [{"type": "function", "strict": False, **_FUNCTION}],
    "tool_choice": {"type": "function", "name": TOOL},
}
_CHAT_GOOD, _CHAT_SHORT = ("stop", "tool_calls"), ("length", "content_filter")
_RESPONSES_GOOD, _RESPONSES_SHORT = ("completed",), ("incomplete",)


class OpenAIModels:
    """A `Model`. `url` is the provider's, without a path; `sdk_retries` are beneath every attempt."""

    def __init__(self, url: str, *, key: str, sdk_retries: int) -> None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        with environment_ignored("OPENAI_"):
            self._client = openai.AsyncOpenAI(
                base_url=f"{url}/v1",
                api_key=key,
                max_retries=sdk_retries,
                http_client=openai.DefaultAsyncHttpxClient(limits=limits, trust_env=False, follow_redirects=False),
            )
        self._tells_attempts = sdk_retries == 0

    async def close(self) -> None:
        """Let go of all connections."""
        await self._client.close()

    async def ask(self, ask: Ask, prompt: Prompt, attempt: int) -> Answer:
        """Ask once. Raises `LlmFailed`."""
        rest: dict[str, Any] = {"model": ask.model, "timeout": ask.timeout + SDK_TIMEOUT_SPARE_S}
        if self._tells_attempts:
            rest["extra_headers"] = {RETRY_HEADER: str(attempt - 1)}
        async with failures_told(ask, _translated):
            if ask.api == "openai.responses":
                rest |= _RESPONSES_TOOL if ask.tool else _RESPONSES_FORM
                rest |= {"instructions": prompt.system, "input": prompt.user, "max_output_tokens": prompt.max_tokens}
                return await (self._responses_stream(ask, rest) if ask.stream else self._responses(rest))
            rest |= _CHAT_TOOL if ask.tool else _CHAT_FORM
            rest["messages"] = [
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": prompt.user},
            ]
            rest["max_completion_tokens"] = prompt.max_tokens
            return await (self._chat_stream(ask, rest) if ask.stream else self._chat(rest))

    async def _chat(self, asked: dict[str, Any]) -> Answer:
        completion = await self._client.chat.completions.create(**asked)
        choice = completion.choices[0]
        # A forced call of a tool ends with "stop".
        whole(choice.finish_reason, good=_CHAT_GOOD, short=_CHAT_SHORT)
        usage = completion.usage
        calls = choice.message.tool_calls
        return Answer(
            text=(calls[0].function.arguments if calls else choice.message.content) or "",
            tool=calls[0].function.name if calls else None,
            input_tokens=usage.prompt_tokens if usage else 0,
            output_tokens=usage.completion_tokens if usage else 0,
        )

    async def _chat_stream(self, ask: Ask, asked: dict[str, Any]) -> Answer:
        pieces = Pieces(ask)
        async with pieces.expected():
            stream = await self._client.chat.completions.create(
                stream=True, stream_options={"include_usage": True}, **asked
            )
            async with stream:
                async for chunk in stream:
                    for choice in chunk.choices:
                        delta = choice.delta
                        pieces.add(delta.content)
                        for call in delta.tool_calls or ():
                            if call.function is not None:
                                pieces.tool = call.function.name or pieces.tool
                                pieces.add(call.function.arguments)
                        pieces.finish = choice.finish_reason or pieces.finish
                    if chunk.usage is not None:
                        pieces.input_tokens = chunk.usage.prompt_tokens
                        pieces.output_tokens = chunk.usage.completion_tokens
        whole(pieces.finish, good=_CHAT_GOOD, short=_CHAT_SHORT)
        return pieces.answer()

    async def _responses(self, asked: dict[str, Any]) -> Answer:
        response = await self._client.responses.create(**asked)
        if response.status == "failed":
            raise _failed(response.error)
        whole(response.status, good=_RESPONSES_GOOD, short=_RESPONSES_SHORT)
        usage = response.usage
        call = next((item for item in response.output if item.type == "function_call"), None)
        return Answer(
            text=call.arguments if call else response.output_text,
            tool=call.name if call else None,
            input_tokens=usage.input_tokens if usage else 0,
            output_tokens=usage.output_tokens if usage else 0,
        )

    async def _responses_stream(self, ask: Ask, asked: dict[str, Any]) -> Answer:
        pieces = Pieces(ask)
        async with pieces.expected():
            stream = await self._client.responses.create(stream=True, **asked)
            async with stream:
                async for event in stream:
                    match event.type:
                        case "response.output_text.delta" | "response.function_call_arguments.delta":
                            pieces.add(event.delta)
                        case "response.output_item.added" if event.item.type == "function_call":
                            pieces.tool = event.item.name
                        case "response.failed":
                            raise _failed(event.response.error)
                        case "response.completed" | "response.incomplete":
                            pieces.finish = event.response.status
                            if event.response.usage is not None:
                                pieces.input_tokens = event.response.usage.input_tokens
                                pieces.output_tokens = event.response.usage.output_tokens
                        case "error":  # the SDK hands it on like any other event
                            raise LlmFailed(f"an error in the stream: {event.message}", error_class="llm_error_event")
        whole(pieces.finish, good=_RESPONSES_GOOD, short=_RESPONSES_SHORT)
        return pieces.answer()


def _failed(error: ResponseError | None) -> LlmFailed:
    """A response whose making failed: told within the answer, under status 200."""
    return LlmFailed(f"an error in the answer: {error.message if error else 'none'}", error_class="llm_error_event")


def _translated(error: Exception) -> LlmFailed | None:
    """What an exception of the SDK, or one that it lets through, means."""
    if isinstance(error, openai.APIStatusError):
        body = error.body if isinstance(error.body, dict) else None
        return failed_by_status(error.status_code, error.response.headers, body, error.message)
    if isinstance(error, openai.APITimeoutError):
        return LlmFailed("the SDK's own time-out", error_class="llm_timeout")
    if isinstance(error, openai.APIConnectionError | httpx2.HTTPError):
        return LlmFailed(
            f"the connection failed: {type(error.__cause__ or error).__name__}", error_class="llm_connection"
        )
    if isinstance(error, openai.APIResponseValidationError):
        return LlmFailed(f"the answer cannot be read: {error}", error_class="llm_malformed")
    if isinstance(error, openai.APIError):
        return LlmFailed(f"an error in the stream: {error.message}", error_class="llm_error_event")
    return None
