"""Chat Completions as OpenAI's SDK reads them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import openai
import pytest
from openai import AsyncOpenAI
from openai.lib.streaming.chat import ChatCompletionStreamEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ParsedChatCompletion
from pydantic import BaseModel

from harness.llm.dialect.openai_chat import OpenAIChat
from harness.llm.wire import RefusalKind, Refused
from tests.llm.endpoint import CANARY, FINDING, Endpoint, with_openai

MODEL = "gpt-4o-mini"
ASK: list[Any] = [{"role": "system", "content": "You are an agent."}, {"role": "user", "content": f"Report. {CANARY}"}]
REPORT: Any = {
    "type": "function",
    "function": {
        "name": "report",
        "parameters": {
            "type": "object",
            "properties": {"finding": {"type": "string"}, "summary": {"type": "string"}},
            "required": ["finding", "summary"],
        },
    },
}
KEY = {b"authorization": b"Bearer none"}


class Report(BaseModel):
    """What an agent is to answer."""

    finding: str
    summary: str


def ask(client: AsyncOpenAI, **more: Any) -> Any:
    """A call of the SDK."""
    return client.chat.completions.create(**{"model": MODEL, "messages": ASK, **more})


def read(body: dict[str, Any]) -> None:
    """What a request does to the dialect."""
    OpenAIChat().read(msgspec.json.encode(body), KEY)


def test_a_whole_answer_is_typed_and_carries_the_finding() -> None:
    """Ids, usage and headers are where the SDK looks for them; the answer is as long as the canary asked."""

    async def use(client: AsyncOpenAI) -> Any:
        return await client.chat.completions.with_raw_response.create(model=MODEL, messages=ASK)

    raw = with_openai(use, Endpoint())
    answer: ChatCompletion = raw.parse()
    choice = answer.choices[0]
    assert choice.finish_reason == "stop"
    assert json.loads(choice.message.content or "")["finding"] == FINDING
    assert answer.id.startswith("chatcmpl-")
    assert answer.usage is not None
    assert (answer.usage.completion_tokens, answer.usage.total_tokens) == (60, 60 + answer.usage.prompt_tokens)
    assert raw.headers["x-request-id"] == "req_" + "0" * 32
    assert raw.headers["openai-processing-ms"] == "12"
    limits = {name: raw.headers[f"x-ratelimit-{name}"] for name in ("limit-requests", "remaining-requests")}
    assert limits == {"limit-requests": "60", "remaining-requests": "12"}
    assert raw.headers["x-ratelimit-reset-requests"] == "16m36.298s"
    assert (raw.headers["x-ratelimit-remaining-tokens"], raw.headers["x-ratelimit-reset-tokens"]) == ("0", "20ms")


@pytest.mark.parametrize("usage", [False, True])
def test_a_streamed_answer_is_the_same_text_in_tokens(usage: bool) -> None:
    """Usage comes as a last chunk without choices, and only when it was asked for."""

    async def use(client: AsyncOpenAI) -> list[ChatCompletionChunk]:
        options = {"stream_options": {"include_usage": True}} if usage else {}
        return [chunk async for chunk in await ask(client, stream=True, **options)]

    chunks = with_openai(use, Endpoint())
    deltas = [choice.delta.content for chunk in chunks for choice in chunk.choices]
    assert json.loads("".join(filter(None, deltas)))["finding"] == FINDING
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices] == [None] * 61 + ["stop"]
    last = chunks[-1].usage
    assert (last is not None) == usage == (not chunks[-1].choices)
    assert last is None or last.completion_tokens == 60


def test_the_stream_helper_parses_the_answer() -> None:
    """`chat.completions.stream` with a response format ends with the parsed object."""

    async def use(client: AsyncOpenAI) -> tuple[list[str], ParsedChatCompletion[Report]]:
        async with client.chat.completions.stream(model=MODEL, messages=ASK, response_format=Report) as stream:
            events: list[ChatCompletionStreamEvent[Report]] = [event async for event in stream]
            return [event.type for event in events], await stream.get_final_completion()

    kinds, answer = with_openai(use, Endpoint())
    assert answer.choices[0].message.parsed is not None
    assert answer.choices[0].message.parsed.finding == FINDING
    assert {"chunk", "content.delta", "content.done"} <= set(kinds)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_after_its_result_there_is_text(stream: bool) -> None:
    """The arguments hold the finding; the loop of an agent ends, because the second answer calls nothing."""

    async def use(client: AsyncOpenAI) -> tuple[Any, Any]:
        tool = openai.pydantic_function_tool(Report, name="report")
        if stream:
            async with client.chat.completions.stream(model=MODEL, messages=ASK, tools=[tool]) as helper:
                first = await helper.get_final_completion()
        else:
            first = await client.chat.completions.parse(model=MODEL, messages=ASK, tools=[tool])
        call = first.choices[0].message.tool_calls[0]
        said = call.model_dump(exclude={"function": {"parsed_arguments"}})
        turns = [
            *ASK,
            {"role": "assistant", "content": None, "tool_calls": [said]},
            {"role": "tool", "tool_call_id": call.id, "content": "done"},
        ]
        return first, await ask(client, messages=turns, tools=[REPORT])

    endpoint = Endpoint()
    first, second = with_openai(use, endpoint)
    call = first.choices[0].message.tool_calls[0]
    assert call.id.startswith("call_")
    assert call.function.parsed_arguments.finding == FINDING
    assert first.choices[0].finish_reason == "tool_calls"
    assert endpoint.asked[1].after_tool
    assert second.choices[0].finish_reason == "stop"
    assert json.loads(second.choices[0].message.content)["finding"] == FINDING
    assert first.id != second.id


def test_what_is_too_long_is_cut_with_its_finish_reason() -> None:
    """A limit below the answer's length cuts it there; `parse` says so with its own error."""

    async def use(client: AsyncOpenAI) -> ChatCompletion:
        with pytest.raises(openai.LengthFinishReasonError):
            await client.chat.completions.parse(
                model=MODEL, messages=ASK, response_format=Report, max_completion_tokens=20
            )
        return await ask(client, max_tokens=20)  # type: ignore[no-any-return]

    answer = with_openai(use, Endpoint())
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 20


def test_a_schema_of_the_answer_is_kept_to() -> None:
    """Also one that has no place for the finding, and the mode that only asks for JSON."""

    async def use(client: AsyncOpenAI) -> list[Any]:
        schema = {"type": "object", "properties": {"count": {"type": "integer", "minimum": 3}}, "required": ["count"]}
        formats: list[dict[str, Any]] = [
            {"type": "json_schema", "json_schema": {"name": "count", "schema": schema}},
            {"type": "json_object"},
        ]
        answers = [await ask(client, response_format=wanted) for wanted in formats]
        return [json.loads(answer.choices[0].message.content) for answer in answers]

    counted, anything = with_openai(use, Endpoint())
    assert counted == {"count": 3}
    assert anything["finding"] == FINDING


@pytest.mark.parametrize(
    ("kind", "status", "error", "type_", "code"),
    [
        ("bad_request", 400, openai.BadRequestError, "invalid_request_error", None),
        ("authentication", 401, openai.AuthenticationError, "invalid_request_error", None),
        ("unknown_model", 404, openai.NotFoundError, "invalid_request_error", "model_not_found"),
        ("unknown_path", 404, openai.NotFoundError, "invalid_request_error", None),
        ("wrong_method", 405, openai.APIStatusError, "invalid_request_error", "method_not_supported"),
        ("too_slow", 408, openai.APIStatusError, "invalid_request_error", "request_timeout"),
        ("too_large", 413, openai.APIStatusError, "invalid_request_error", "request_too_large"),
        ("context_overflow", 400, openai.BadRequestError, "invalid_request_error", "context_length_exceeded"),
        ("rate_limit", 429, openai.RateLimitError, "tokens", "rate_limit_exceeded"),
        ("slow_down", 429, openai.RateLimitError, "rate_limit_error", "slow_down"),
        ("spend_limit", 429, openai.RateLimitError, "insufficient_quota", "organization_spend_limit_exceeded"),
        ("overloaded", 503, openai.InternalServerError, "service_unavailable_error", "server_is_overloaded"),
        ("server_error", 500, openai.InternalServerError, "server_error", None),
        ("timeout", 504, openai.InternalServerError, "server_error", "timeout"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_every_refusal_is_the_sdks_own_error(
    kind: RefusalKind, status: int, error: type[openai.APIStatusError], type_: str, code: str | None, stream: bool
) -> None:
    """Class, status, type, code, message and request id; with `retry-after` in whole seconds and in milliseconds."""

    async def use(client: AsyncOpenAI) -> openai.APIStatusError:
        with pytest.raises(error) as caught:
            await ask(client, stream=stream)
        return caught.value

    refused = Refused(kind, "No.", retry_after_s=1.2005, bucket="tokens")
    raised = with_openai(use, Endpoint(refused=refused))
    assert (raised.status_code, raised.type, raised.code) == (status, type_, code)
    assert "No." in raised.message
    assert raised.request_id == "req_" + "0" * 32
    told = [raised.response.headers.get(name) for name in ("retry-after", "retry-after-ms")]
    assert told == ([None, None] if kind == "spend_limit" else ["2", "1201"])


def test_a_status_of_its_own_goes_out_as_it_is() -> None:
    """A conflict and a request time-out are errors of the request, whatever they were drawn as."""
    chat = OpenAIChat()
    assert [chat.refusal(Refused("server_error", "no", status=status))[0] for status in (409, 502)] == [409, 502]
    body = msgspec.json.decode(chat.refusal(Refused("timeout", "no", status=409))[2])
    assert (body["error"]["type"], body["error"]["code"]) == ("invalid_request_error", "conflict")


def test_an_error_within_a_stream_is_raised() -> None:
    """At the point where it stands; it has the provider's code."""

    got: list[ChatCompletionChunk] = []

    async def use(client: AsyncOpenAI) -> None:
        async for chunk in await ask(client, stream=True):
            got.append(chunk)  # noqa: PERF401  what came before the error is wanted

    refused = Refused("overloaded", "Try later.")
    endpoint = Endpoint(sent=lambda dialect, stream: [stream.opening, *stream.chunks[:3], dialect.error_event(refused)])
    with pytest.raises(openai.APIError) as caught:
        with_openai(use, endpoint)
    assert (len(got), caught.value.message, caught.value.code) == (4, "Try later.", "server_is_overloaded")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 7}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "tool", "tool_call_id": "call_1", "content": "x"}]}, "messages[0].role"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": -(10**30)}, "max_completion_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 3.5}, "max_tokens"),
        ({"n": 2}, "n"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [REPORT], "tool_choice": "perhaps"}, "tool_choice"),
        ({"tools": [REPORT], "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ],
)
def test_a_wrong_request_is_refused_with_the_place(change: dict[str, Any], param: str) -> None:
    """As a bad request whose message names the parameter."""
    with pytest.raises(Refused) as caught:
        read({"model": MODEL, "messages": ASK, **change})
    assert (caught.value.kind, caught.value.param) == ("bad_request", param)
    assert param.split("[")[0].split(".")[0] in caught.value.message


@pytest.mark.parametrize("headers", [{}, {b"authorization": b"Bearer "}, {b"authorization": b"Basic abc"}])
def test_without_a_key_nothing_is_read(headers: dict[bytes, bytes]) -> None:
    """Before the body is looked at."""
    with pytest.raises(Refused) as caught:
        OpenAIChat().read(b"{", headers)
    assert caught.value.kind == "authentication"


def test_all_that_is_prompt_is_read() -> None:
    """Turns, parts and tool results; an image counts without being read; the SDK's retry header is the attempt."""
    parts = [{"type": "text", "text": str(CANARY)}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    call = {"id": "call_1", "type": "function", "function": {"name": "report", "arguments": '{"a": 1}'}}
    body = {
        "model": MODEL,
        "messages": [
            {"role": "user", "content": parts},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "done"},
        ],
        "tools": [REPORT],
        "tool_choice": {"type": "function", "function": {"name": "report"}},
        "surprise": [1, 2],
    }
    asked = OpenAIChat().read(msgspec.json.encode(body), {**KEY, b"x-stainless-retry-count": b"2"})
    assert asked.text == f'{CANARY}\n{{"a": 1}}\ndone'
    assert 765 < asked.input_tokens < 900
    assert (asked.canary, asked.attempt, asked.tool_choice, asked.after_tool) == (CANARY, 2, "report", True)
    again = OpenAIChat().read(msgspec.json.encode({**dict(reversed(body.items())), "user": "somebody"}), KEY)
    assert again.digest == asked.digest
    assert OpenAIChat().read(msgspec.json.encode({**body, "seed": 1}), KEY).digest != asked.digest
