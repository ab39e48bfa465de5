"""Responses as OpenAI's SDK reads them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response
from pydantic import BaseModel

from harness.llm.dialect.openai_responses import OpenAIResponses
from harness.llm.wire import Asked, Refused
from tests.llm.endpoint import CANARY, FINDING, Endpoint, with_openai

MODEL = "gpt-5-mini"
ASK = f"Report. {CANARY}"
KEY = {b"authorization": b"Bearer none"}
REPORT: Any = {
    "type": "function",
    "name": "report",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"finding": {"type": "string"}, "summary": {"type": "string"}},
        "required": ["finding", "summary"],
        "additionalProperties": False,
    },
}


class Report(BaseModel):
    """What an agent is to answer."""

    finding: str
    summary: str


def read(body: dict[str, Any]) -> Asked:
    """What the dialect makes of a request."""
    return OpenAIResponses().read(msgspec.json.encode(body), KEY)


def test_a_whole_answer_is_typed_and_carries_the_finding() -> None:
    """The SDK's own `output_text` finds it; `parse` makes the object that was asked for."""

    async def use(client: AsyncOpenAI) -> tuple[Response, Any]:
        plain = await client.responses.create(model=MODEL, input=ASK, instructions="Be brief.")
        return plain, await client.responses.parse(model=MODEL, input=ASK, text_format=Report)

    plain, parsed = with_openai(use, Endpoint())
    assert (plain.status, plain.id[:5], plain.output[0].id[:4]) == ("completed", "resp_", "msg_")  # type: ignore[index]
    assert json.loads(plain.output_text)["finding"] == FINDING
    assert plain.usage is not None
    assert (plain.usage.output_tokens, plain.usage.total_tokens) == (60, 60 + plain.usage.input_tokens)
    assert parsed.output_parsed.finding == FINDING


def test_a_streamed_answer_is_the_same_text_in_tokens() -> None:
    """Named events, numbered without a gap; the last one holds the whole response; the helper agrees."""

    async def use(client: AsyncOpenAI) -> tuple[list[Any], Any]:
        events = [event async for event in await client.responses.create(model=MODEL, input=ASK, stream=True)]
        async with client.responses.stream(model=MODEL, input=ASK, text_format=Report) as stream:
            async for _ in stream:
                pass
            return events, await stream.get_final_response()

    events, final = with_openai(use, Endpoint())
    assert [event.type for event in events] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        *["response.output_text.delta"] * 60,
        "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert [event.sequence_number for event in events] == list(range(len(events)))
    joined = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert joined == events[-1].response.output_text
    assert events[0].response.usage is None
    assert events[-1].response.usage.output_tokens == 60
    assert final.output_parsed.finding == FINDING


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_after_its_result_there_is_text(stream: bool) -> None:
    """The arguments hold the finding; the loop of an agent ends, because the second answer calls nothing."""

    async def use(client: AsyncOpenAI) -> tuple[Any, Response]:
        first: Any
        if stream:
            async with client.responses.stream(model=MODEL, input=ASK, tools=[REPORT]) as helper:
                kinds = [event.type async for event in helper]
                first = await helper.get_final_response()
            assert {kind for kind in kinds if "function_call" in kind} == {
                "response.function_call_arguments.delta",
                "response.function_call_arguments.done",
            }
        else:
            first = await client.responses.create(model=MODEL, input=ASK, tools=[REPORT])
        call = first.output[0]
        turns: Any = [
            {"role": "user", "content": ASK},
            {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
            {"type": "function_call_output", "call_id": call.call_id, "output": "done"},
        ]
        return first, await client.responses.create(model=MODEL, input=turns, tools=[REPORT], tool_choice="auto")

    endpoint = Endpoint()
    first, second = with_openai(use, endpoint)
    call = first.output[0]
    assert (call.type, call.id[:3], call.call_id[:5], call.name) == ("function_call", "fc_", "call_", "report")
    assert json.loads(call.arguments)["finding"] == FINDING
    assert endpoint.asked[1].after_tool
    assert json.loads(second.output_text)["finding"] == FINDING


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_too_long_is_incomplete(stream: bool) -> None:
    """With the reason, and `response.incomplete` as the last event."""

    async def use(client: AsyncOpenAI) -> Response:
        if not stream:
            return await client.responses.create(model=MODEL, input=ASK, max_output_tokens=20)
        events = await client.responses.create(model=MODEL, input=ASK, max_output_tokens=20, stream=True)
        last = [event async for event in events][-1]
        assert last.type == "response.incomplete"
        return last.response

    answer = with_openai(use, Endpoint())
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.usage is not None
    assert answer.usage.output_tokens == 20


def test_errors_are_those_of_chat() -> None:
    """One provider, one form."""

    async def use(client: AsyncOpenAI) -> openai.APIStatusError:
        with pytest.raises(openai.RateLimitError) as caught:
            await client.responses.create(model=MODEL, input=ASK)
        return caught.value

    raised = with_openai(use, Endpoint(refused=Refused("rate_limit", "No.", retry_after_s=0.424, bucket="requests")))
    assert (raised.type, raised.code) == ("requests", "rate_limit_exceeded")
    assert (raised.response.headers["retry-after"], raised.response.headers["retry-after-ms"]) == ("1", "424")


def test_an_error_within_a_stream_is_an_event() -> None:
    """The SDK hands it on as an event of its own and raises nothing."""

    async def use(client: AsyncOpenAI) -> list[Any]:
        return [event async for event in await client.responses.create(model=MODEL, input=ASK, stream=True)]

    refused = Refused("overloaded", "Try later.")
    endpoint = Endpoint(sent=lambda dialect, stream: [stream.opening, *stream.chunks[:3], dialect.error_event(refused)])
    last = with_openai(use, endpoint)[-1]
    assert (last.type, last.code, last.message) == ("error", "server_is_overloaded", "Try later.")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"input": None}, "input"),
        ({"input": 5}, "input"),
        ({"input": []}, "input"),
        ({"input": [5]}, "input[0]"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": None}]}, "input[0].content"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"instructions": 5}, "instructions"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [REPORT], "tool_choice": {"type": "function", "name": "other"}}, "tool_choice"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
    ],
)
def test_a_wrong_request_is_refused_with_the_place(change: dict[str, Any], param: str) -> None:
    """As a bad request; so is what would need memory of earlier responses."""
    with pytest.raises(Refused) as caught:
        read({"model": MODEL, "input": ASK, **change})
    assert (caught.value.kind, caught.value.param) == ("bad_request", param)


def test_all_that_is_prompt_is_read() -> None:
    """Instructions, parts, calls and their results; what is not text counts without being read."""
    parts = [{"type": "input_text", "text": str(CANARY)}, {"type": "input_image", "image_url": "data:,"}]
    asked = read(
        {
            "model": MODEL,
            "instructions": "Be brief.",
            "input": [
                {"role": "user", "content": parts},
                {"type": "reasoning", "id": "rs_1", "summary": []},
                {"type": "function_call", "call_id": "call_1", "name": "report", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "ok"}]},
            ],
            "tools": [REPORT, {"type": "web_search"}],
            "tool_choice": {"type": "function", "name": "report"},
            "text": {"format": {"type": "json_object"}},
        }
    )
    assert asked.text == f"Be brief.\n{CANARY}\n{{}}\nok"
    assert 765 < asked.input_tokens < 900
    assert (asked.canary, asked.tool_choice, asked.after_tool, asked.answer_schema) == (CANARY, "report", True, {})
