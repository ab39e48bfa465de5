"""Our endpoints beside `llmock`, which was written by others: the same objects and the same order of events.

What is compared is structure, not words: which fields there are and of what kind. Both answer the same requests of
the real SDKs; the bytes are taken from under them.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from itertools import groupby
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from anthropic import AsyncAnthropic
from llmock.main import create_app
from openai import AsyncOpenAI

from tests.llm.endpoint import Endpoint, with_anthropic, with_openai

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION: Any = {"name": "weather", "parameters": SCHEMA}
PROMPT = "What is the weather like?"

Shape = dict[str, str]


class Taken(httpx2.AsyncBaseTransport):
    """Passes on, and keeps the body that came back."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self.inner = inner
        self.status = 0
        self.body = b""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """One exchange."""
        response = await self.inner.handle_async_request(request)
        self.status, self.body = response.status_code, await response.aread()
        return httpx2.Response(response.status_code, headers=response.headers, content=self.body)


def shape(value: Any, at: str = "") -> Shape:
    """Each field's path, and the kind of what is there."""
    if isinstance(value, dict):
        found = {at: "object"}
        for name, part in value.items():
            found |= shape(part, f"{at}.{name}")
        return found
    if isinstance(value, list):
        found = {at: "array"}
        for part in value:
            found |= shape(part, f"{at}[]")
        return found
    return {at: "null" if value is None else "number" if isinstance(value, int | float) else type(value).__name__}


def events(body: bytes) -> list[tuple[str, Any]]:
    """The server-sent events: name and content."""
    found = []
    for block in body.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        content = fields["data"]
        found.append((fields.get("event", ""), content if content == "[DONE]" else json.loads(content)))
    return found


def order(body: bytes) -> list[tuple[str, tuple[str, ...]]]:
    """The events with what tells them apart, repeated ones once."""

    def told(name: str, content: Any) -> tuple[str, tuple[str, ...]]:
        if isinstance(content, str):
            return name, (content,)
        parts = [part for choice in content.get("choices", ()) for part in choice["delta"]]
        return name or content.get("object", ""), (content.get("type", ""), *parts)

    return [key for key, _ in groupby(told(name, content) for name, content in events(body))]


def shapes_of_events(body: bytes) -> dict[str, Shape]:
    """For each kind of event, all fields that occur in it."""
    found: dict[str, Shape] = {}
    for name, content in events(body):
        if isinstance(content, dict):
            found.setdefault(name, {}).update(shape(content))
    return found


def differing(ours: Shape, theirs: Shape) -> tuple[set[str], set[str], set[str]]:
    """Paths that only we have, that only they have, and those with another kind of value."""
    return ours.keys() - theirs.keys(), theirs.keys() - ours.keys(), {
        path for path in ours.keys() & theirs.keys() if ours[path] != theirs[path]
    }  # fmt: skip


def chat(stream: bool, tool: bool) -> Callable[[AsyncOpenAI], Awaitable[Any]]:
    """A request to Chat Completions."""
    more: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    if tool:
        more["tools"] = [{"type": "function", "function": FUNCTION}]
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": PROMPT}], **more}
    return lambda client: client.chat.completions.create(**asked)


def responses(stream: bool, tool: bool) -> Callable[[AsyncOpenAI], Awaitable[Any]]:
    """A request to Responses."""
    more: dict[str, Any] = {"tools": [{"type": "function", "strict": True, **FUNCTION}]} if tool else {}
    return lambda client: client.responses.create(model="gpt-4o", input=PROMPT, stream=stream, **more)


def messages(stream: bool, tool: bool) -> Callable[[AsyncAnthropic], Awaitable[Any]]:
    """A request to Messages."""
    more: dict[str, Any] = {"tools": [{"name": "weather", "input_schema": SCHEMA}]} if tool else {}
    turn: Any = {"role": "user", "content": PROMPT}
    return lambda client: client.messages.create(
        model="claude-haiku-4-5", max_tokens=4000, messages=[turn], stream=stream, **more
    )


def both(api: str, stream: bool = False, tool: bool = False) -> tuple[bytes, bytes]:
    """What we and llmock send for the same request."""
    ours, theirs = Taken(Endpoint()), Taken(httpx2.ASGITransport(create_app()))
    if api == "messages":
        with_anthropic(messages(stream, tool), ours)
        with_anthropic(messages(stream, tool), theirs, "/anthropic", strict=False)
    else:
        use = chat(stream, tool) if api == "chat" else responses(stream, tool)
        with_openai(use, ours)
        with_openai(use, theirs, strict=False)  # of whose tokens one count is missing, by the newest types
    assert (ours.status, theirs.status) == (200, 200)
    return ours.body, theirs.body


# Fields of the API that llmock leaves out. The SDKs' types have all of them.
MORE_IN_CHAT = {
    ".service_tier", ".system_fingerprint", ".choices[].logprobs", ".choices[].message.annotations",
    ".usage.prompt_tokens_details", ".usage.prompt_tokens_details.cached_tokens",
    ".usage.prompt_tokens_details.audio_tokens", ".usage.completion_tokens_details",
    ".usage.completion_tokens_details.reasoning_tokens", ".usage.completion_tokens_details.audio_tokens",
    ".usage.completion_tokens_details.accepted_prediction_tokens",
    ".usage.completion_tokens_details.rejected_prediction_tokens", ".choices[].delta.refusal",
}  # fmt: skip
MORE_IN_RESPONSES = {
    "background", "max_output_tokens", "max_tool_calls", "reasoning", "reasoning.effort", "reasoning.summary",
    "service_tier", "store", "text.verbosity", "top_logprobs", "user", "usage.input_tokens_details.cache_write_tokens",
    "tools[].description",
}  # fmt: skip
MORE_IN_USAGE = {
    "cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation",
    "cache_creation.ephemeral_5m_input_tokens", "cache_creation.ephemeral_1h_input_tokens", "service_tier",
}  # fmt: skip


@pytest.mark.parametrize("tool", [False, True])
def test_a_whole_chat_completion_has_their_fields(tool: bool) -> None:
    """And those that llmock leaves out; it says null where no tool is called, where OpenAI says nothing."""
    ours, theirs = (json.loads(body) for body in both("chat", tool=tool))
    more, less, other = differing(shape(ours), shape(theirs))
    assert more <= MORE_IN_CHAT
    assert less == (set() if tool else {".choices[].message.tool_calls"})
    assert other == set()


@pytest.mark.parametrize("tool", [False, True])
def test_a_streamed_chat_completion_has_their_order_and_fields(tool: bool) -> None:
    """A call's name comes with the role here, as OpenAI sends it, and in a chunk of its own there."""
    ours, theirs = both("chat", stream=True, tool=tool)
    name = "chat.completion.chunk"
    first = [(name, ("", "role", "content", "refusal"))] if not tool else [
        (name, ("", "role", "content", "refusal", "tool_calls"))
    ]  # fmt: skip
    assert order(ours)[:1] == first
    assert order(theirs)[:1] == [(name, ("", "role", "content"))]
    assert order(ours)[1:] == order(theirs)[1:]
    more, less, other = differing(shapes_of_events(ours)[""], shapes_of_events(theirs)[""])
    assert more <= MORE_IN_CHAT
    assert less == set()
    assert other <= {".system_fingerprint", ".choices[].delta.content"}  # ours is never null; theirs after a call


@pytest.mark.parametrize("tool", [False, True])
def test_a_whole_response_has_their_fields(tool: bool) -> None:
    """And those that llmock leaves out."""
    ours, theirs = (json.loads(body) for body in both("responses", tool=tool))
    more, less, other = differing(shape(ours), shape(theirs))
    assert more <= {f".{name}" for name in MORE_IN_RESPONSES}
    assert (less, other) == (set(), set())


@pytest.mark.parametrize("tool", [False, True])
def test_a_streamed_response_has_their_order_and_fields(tool: bool) -> None:
    """Event by event."""
    ours, theirs = both("responses", stream=True, tool=tool)
    assert order(ours) == order(theirs)
    ours_by_kind, theirs_by_kind = shapes_of_events(ours), shapes_of_events(theirs)
    for kind, fields in ours_by_kind.items():
        more, less, other = differing(fields, theirs_by_kind[kind])
        assert more <= {f".response.{name}" for name in MORE_IN_RESPONSES} | {".name"}  # of the function that is done
        assert (less, other) == (set(), set()), kind


@pytest.mark.parametrize("tool", [False, True])
def test_a_whole_message_has_their_fields(tool: bool) -> None:
    """And Anthropic's further counts of tokens."""
    ours, theirs = (json.loads(body) for body in both("messages", tool=tool))
    more, less, other = differing(shape(ours), shape(theirs))
    assert more == {f".usage.{name}" for name in MORE_IN_USAGE}
    assert (less, other) == (set(), set())


@pytest.mark.parametrize("tool", [False, True])
def test_a_streamed_message_has_their_order_and_fields(tool: bool) -> None:
    """Event by event; llmock sends its ping before texts only."""
    ours, theirs = both("messages", stream=True, tool=tool)
    assert [kind for kind in order(ours) if not tool or kind[0] != "ping"] == order(theirs)
    theirs_by_kind = shapes_of_events(theirs)
    for kind, fields in shapes_of_events(ours).items():
        if kind in theirs_by_kind:
            more, less, other = differing(fields, theirs_by_kind[kind])
            assert more <= {f"{at}.{name}" for at in (".message.usage", ".usage") for name in MORE_IN_USAGE} | {
                ".usage.input_tokens"
            }
            assert (less, other) == (set(), set()), kind


@pytest.mark.parametrize("api", ["chat", "messages"])
def test_an_error_has_their_fields(api: str) -> None:
    """Ours has the request's id in Anthropic's body, as its documentation has it. Responses' errors are chat's."""
    ours, theirs = Taken(Endpoint()), Taken(httpx2.ASGITransport(create_app()))

    async def wrong_openai(client: AsyncOpenAI) -> None:
        await client.chat.completions.create(model="gpt-4o", messages="hello")  # type: ignore[call-overload]

    async def wrong_anthropic(client: AsyncAnthropic) -> None:
        await client.messages.create(model="claude-haiku-4-5", max_tokens=5, messages="hello")  # type: ignore[call-overload]

    for taken, path in ((ours, ""), (theirs, "/anthropic")):
        if api == "chat":
            with pytest.raises(openai.APIStatusError):
                with_openai(wrong_openai, taken)
        else:
            with pytest.raises(anthropic.APIStatusError):
                with_anthropic(wrong_anthropic, taken, path)
    more, less, other = differing(shape(json.loads(ours.body)), shape(json.loads(theirs.body)))
    assert more == ({".request_id"} if api == "messages" else set())
    assert less == set()
    assert other <= {".error.param", ".error.code"}  # which llmock leaves at null
    assert (ours.status, theirs.status) == (400, 422)  # the real ones say 400
