"""Messages as Anthropic's SDK reads them."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import msgspec
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import Message

from harness.llm.dialect.anthropic_messages import AnthropicMessages
from harness.llm.wire import Asked, RefusalKind, Refused, Scripted, ToolCall
from tests.llm.endpoint import ALLOWANCES, CANARY, FINDING, Endpoint, with_anthropic

MODEL = "claude-haiku-4-5"
ASK: list[Any] = [{"role": "user", "content": f"Report. {CANARY}"}]
SCHEMA = {
    "type": "object",
    "properties": {"finding": {"type": "string"}, "summary": {"type": "string"}},
    "required": ["finding", "summary"],
}
REPORT: Any = {"name": "report", "input_schema": SCHEMA}
KEY = {b"x-api-key": b"none", b"anthropic-version": b"2023-06-01"}


def ask(client: AsyncAnthropic, **more: Any) -> Any:
    """A call of the SDK."""
    return client.messages.create(**{"model": MODEL, "max_tokens": 500, "messages": ASK, **more})


def read(body: dict[str, Any]) -> Asked:
    """What the dialect makes of a request."""
    return AnthropicMessages().read(msgspec.json.encode(body), KEY)


def test_a_whole_answer_is_typed_and_carries_the_finding() -> None:
    """Ids, usage and headers are where the SDK looks for them; the answer is as long as the canary asked."""

    async def use(client: AsyncAnthropic) -> tuple[Any, Message]:
        raw = await client.messages.with_raw_response.create(model=MODEL, max_tokens=500, messages=ASK)
        return raw, await raw.parse()

    raw, answer = with_anthropic(use, Endpoint())
    assert answer.stop_reason == "end_turn"
    assert json.loads(answer.content[0].text)["finding"] == FINDING  # type: ignore[union-attr]
    assert answer.id.startswith("msg_")
    assert (answer.usage.output_tokens, answer.usage.cache_read_input_tokens) == (60, 0)
    assert raw.headers["request-id"] == "req_" + "0" * 32
    assert raw.headers["anthropic-ratelimit-requests-remaining"] == "12"
    assert raw.headers["anthropic-ratelimit-tokens-remaining"] == "0"
    assert "anthropic-organization-id" in raw.headers


def test_a_bucket_is_full_at_a_time_of_day() -> None:
    """RFC 3339, rounded up to the second."""
    messages = AnthropicMessages(now=lambda: 1_790_000_000.5)
    found = dict(messages.headers(ALLOWANCES, "1", 0.0))
    assert found[b"anthropic-ratelimit-requests-reset"] == b"2026-09-21T14:29:57Z"


def test_a_streamed_answer_is_the_same_text_in_tokens() -> None:
    """The events come in the documented order, and the helper makes the same message of them as a whole answer is."""

    async def use(client: AsyncAnthropic) -> tuple[list[str], Message, Message]:
        raw = await ask(client, stream=True)
        kinds = [event.type async for event in raw]
        async with client.messages.stream(model=MODEL, max_tokens=500, messages=ASK) as stream:
            return kinds, await stream.get_final_message(), await ask(client)

    kinds, streamed, whole = with_anthropic(use, Endpoint())
    assert kinds == [
        "message_start", "content_block_start", *["content_block_delta"] * 60, "content_block_stop", "message_delta",
        "message_stop",
    ]  # fmt: skip
    assert streamed.content[0].text == whole.content[0].text  # type: ignore[union-attr]
    assert (streamed.stop_reason, streamed.usage.output_tokens) == ("end_turn", 60)
    assert streamed.usage.input_tokens == whole.usage.input_tokens


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_after_its_result_there_is_text(stream: bool) -> None:
    """The arguments hold the finding; the loop of an agent ends, because the second answer calls nothing."""

    async def use(client: AsyncAnthropic) -> tuple[Message, Message]:
        if stream:
            async with client.messages.stream(model=MODEL, max_tokens=500, messages=ASK, tools=[REPORT]) as helper:
                first = await helper.get_final_message()
        else:
            first = await ask(client, tools=[REPORT])
        result = {"type": "tool_result", "tool_use_id": first.content[0].id, "content": "done"}  # type: ignore[union-attr]
        turns = [*ASK, first.to_param(), {"role": "user", "content": [result]}]
        return first, await ask(client, messages=turns, tools=[REPORT])

    endpoint = Endpoint()
    first, second = with_anthropic(use, endpoint)
    block = first.content[0]
    assert block.type == "tool_use"
    assert (block.id[:6], block.name, block.input["finding"]) == ("toolu_", "report", FINDING)
    assert first.stop_reason == "tool_use"
    assert endpoint.asked[1].after_tool
    assert second.stop_reason == "end_turn"
    assert json.loads(second.content[0].text)["finding"] == FINDING  # type: ignore[union-attr]


def test_what_is_too_long_is_cut_with_its_stop_reason() -> None:
    """A limit below the answer's length cuts it there."""

    async def use(client: AsyncAnthropic) -> Message:
        return await ask(client, max_tokens=20)  # type: ignore[no-any-return]

    answer = with_anthropic(use, Endpoint())
    assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 20)


def test_a_schema_of_the_answer_is_kept_to() -> None:
    """As `output_config` gives it."""
    asked = read(
        {"model": MODEL, "max_tokens": 9, "messages": ASK,
         "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}
    )  # fmt: skip
    assert asked.answer_schema == SCHEMA


def test_arguments_that_are_no_object_are_an_empty_one_when_whole() -> None:
    """The form has no room for broken JSON; streamed, it goes out as it is."""
    asked = read({"model": MODEL, "max_tokens": 9, "messages": ASK})
    for arguments in ('{"finding": "', "[1]"):
        call = ToolCall(id="1", name="report", arguments=arguments)
        scripted = Scripted(id="1", created=1, pieces=(arguments,), tool=call, finish="tool")
        message = msgspec.json.decode(AnthropicMessages().whole(asked, scripted))
        assert message["content"][0]["input"] == {}
        assert msgspec.json.encode(arguments) in AnthropicMessages().stream(asked, scripted, [arguments]).chunks[0]


@pytest.mark.parametrize(
    ("kind", "status", "error", "type_"),
    [
        ("bad_request", 400, anthropic.BadRequestError, "invalid_request_error"),
        ("authentication", 401, anthropic.AuthenticationError, "authentication_error"),
        ("unknown_model", 404, anthropic.NotFoundError, "not_found_error"),
        ("unknown_path", 404, anthropic.NotFoundError, "not_found_error"),
        ("wrong_method", 405, anthropic.APIStatusError, "invalid_request_error"),
        ("too_slow", 408, anthropic.APIStatusError, "timeout_error"),
        ("too_large", 413, anthropic.APIStatusError, "request_too_large"),
        ("context_overflow", 400, anthropic.BadRequestError, "invalid_request_error"),
        ("rate_limit", 429, anthropic.RateLimitError, "rate_limit_error"),
        ("slow_down", 429, anthropic.RateLimitError, "rate_limit_error"),
        ("spend_limit", 429, anthropic.RateLimitError, "rate_limit_error"),
        ("overloaded", 529, anthropic.InternalServerError, "overloaded_error"),
        ("server_error", 500, anthropic.InternalServerError, "api_error"),
        ("timeout", 504, anthropic.InternalServerError, "timeout_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_every_refusal_is_the_sdks_own_error(
    kind: RefusalKind, status: int, error: type[anthropic.APIStatusError], type_: str, stream: bool
) -> None:
    """Class, status, type, message, request id in header and body, `retry-after`; a spend limit is final."""

    async def use(client: AsyncAnthropic) -> anthropic.APIStatusError:
        with pytest.raises(error) as caught:
            await ask(client, stream=stream)
        return caught.value

    raised = with_anthropic(use, Endpoint(refused=Refused(kind, "No.", retry_after_s=1.2005)))
    assert (raised.status_code, raised.type, raised.api_message) == (status, type_, "No.")
    assert raised.body["request_id"] == raised.request_id == "req_" + "0" * 32  # type: ignore[index]
    final = kind == "spend_limit"
    assert raised.response.headers.get("retry-after") == (None if final else "2")
    assert raised.error_code == ("enforced_spend_limit_reached" if final else None)
    again = None if final else str(status in (408, 429) or status >= 500).lower()
    assert raised.response.headers.get("x-should-retry") == again


def test_a_status_of_its_own_has_its_own_type() -> None:
    """A drawn 529 is an overload, a 409 a conflict."""
    messages = AnthropicMessages()
    found = [messages.refusal(Refused("server_error", "no", status=status)) for status in (409, 429, 502, 529)]
    kinds = [msgspec.json.decode(body)["error"]["type"] for _, _, body in found]
    assert kinds == ["conflict_error", "rate_limit_error", "api_error", "overloaded_error"]


def test_an_error_within_a_stream_is_raised() -> None:
    """As a plain status error, not as the class of its type: that is what the SDK does."""

    async def use(client: AsyncAnthropic) -> None:
        async for _ in await ask(client, stream=True):
            pass

    refused = Refused("overloaded", "Overloaded")
    endpoint = Endpoint(sent=lambda dialect, stream: [stream.opening, *stream.chunks[:3], dialect.error_event(refused)])
    with pytest.raises(anthropic.APIStatusError) as caught:
        with_anthropic(use, endpoint)
    assert not isinstance(caught.value, anthropic.InternalServerError)
    assert caught.value.type == "overloaded_error"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": None}, "model: Field required"),
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": 0}, "max_tokens: Input should be an integer >= 1, not 0"),
        ({"max_tokens": "9"}, "max_tokens: Input should be an integer, not a string"),
        ({"messages": None}, "messages: Field required"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": {}}, "messages: Input should be an array, not an object"),
        (
            {"messages": [{"role": "system", "content": "x"}]},
            "messages.0.role: Input should be one of 'user', 'assistant', not 'system'",
        ),
        ({"messages": [{"role": "user", "content": ""}]}, "messages.0: user messages must have non-empty content"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages.0.content.0.type: Field required"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]},
            "messages.0.content.0.tool_use_id: Field required",
        ),
        ({"system": 5}, "system: Input should be an array, not an integer"),
        ({"temperature": 1.5}, "temperature: Input should be a number between 0 and 1, not 1.5"),
        ({"tools": [{"name": "x"}]}, "tools.0.input_schema: Field required"),
        ({"tool_choice": {"type": "any"}}, "tool_choice may only be specified while providing tools"),
        ({"tools": [REPORT], "tool_choice": {"type": "tool", "name": "x"}}, "Tool 'x' not found in provided tools"),
        (
            {"tools": [REPORT], "tool_choice": "any"},
            "tool_choice: Input should be an object, not a string",
        ),
    ],
)
def test_a_wrong_request_is_refused_with_the_place(change: dict[str, Any], message: str) -> None:
    """As a bad request in the provider's words."""
    with pytest.raises(Refused) as caught:
        read({"model": MODEL, "max_tokens": 9, "messages": ASK, **change})
    assert (caught.value.kind, caught.value.message) == ("bad_request", message)


def test_who_asks_and_in_which_version_must_be_said() -> None:
    """Either form of a key will do."""
    for headers, kind in (
        ({}, "authentication"),
        ({b"x-api-key": b" ", b"anthropic-version": b"2023-06-01"}, "authentication"),
        ({b"x-api-key": b"k"}, "bad_request"),
        ({b"authorization": b"Bearer k"}, "bad_request"),
    ):
        with pytest.raises(Refused) as caught:
            AnthropicMessages().read(b"{}", headers)
        assert caught.value.kind == kind


def test_all_that_is_prompt_is_read() -> None:
    """System blocks, turns, tool use and results; an image counts without being read."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    use = {"type": "tool_use", "id": "toolu_1", "name": "report", "input": {"a": 1}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "done"}]}
    asked = read(
        {
            "model": MODEL,
            "max_tokens": 9,
            "system": [{"type": "text", "text": "Be brief."}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": str(CANARY)}, image]},
                {"role": "assistant", "content": [use]},
                {"role": "user", "content": [result]},
            ],
            "tools": [REPORT, {"type": "web_search_20250305", "name": "web_search"}],
            "tool_choice": {"type": "any"},
        }
    )
    assert asked.text == f'Be brief.\n{CANARY}\n{{"a":1}}\ndone'
    assert 765 < asked.input_tokens < 900
    assert (asked.canary, asked.tool_choice, asked.after_tool) == (CANARY, "required", True)
    assert [tool.name for tool in asked.tools] == ["report"]
