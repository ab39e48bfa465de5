"""A plain script with the official SDKs, of which only `base_url` was changed: what people write with them works."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from tests.llm.conftest import Serve, Served

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city", "days"],
    "additionalProperties": False,
}


class Forecast(BaseModel):
    """What a structured answer is parsed into."""

    city: str
    days: int
    rain: bool


@pytest.fixture(scope="module")
def served(serve_all: Serve) -> Served:
    return serve_all()


@pytest.fixture
def by_openai(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="any")


@pytest.fixture
def by_anthropic(served: Served) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=served.url, api_key="any")


def test_chat(by_openai: openai.OpenAI) -> None:
    """An answer with its usage, and the same through the streaming helper."""
    asked: Any = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "Why is the cluster slow?"}]}
    plain = by_openai.chat.completions.create(**asked)
    assert plain.choices[0].finish_reason == "stop"
    assert plain.usage is not None
    assert plain.usage.total_tokens == plain.usage.prompt_tokens + plain.usage.completion_tokens
    with by_openai.chat.completions.stream(**asked) as stream:
        text = "".join(event.delta for event in stream if event.type == "content.delta")
        final = stream.get_final_completion()
    assert final.choices[0].message.content == text
    assert text


def test_chat_parses_into_a_type(by_openai: openai.OpenAI) -> None:
    """Structured output: the answer satisfies the schema that the SDK made of the type."""
    parsed = by_openai.chat.completions.parse(
        model="gpt-4.1-mini", messages=[{"role": "user", "content": "Tomorrow?"}], response_format=Forecast
    )
    assert isinstance(parsed.choices[0].message.parsed, Forecast)


def test_a_loop_of_tools_in_chat(by_openai: openai.OpenAI) -> None:
    """The model calls the tool, is told what it gave, and answers in words."""
    turns: list[Any] = [{"role": "user", "content": "The weather in Oslo?"}]
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
    called = by_openai.chat.completions.create(model="gpt-4.1-mini", messages=turns, tools=tools).choices[0]
    assert called.finish_reason == "tool_calls"
    [call] = called.message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments)["days"] >= 1
    turns += [called.message, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    answer = by_openai.chat.completions.create(model="gpt-4.1-mini", messages=turns, tools=tools).choices[0]
    assert answer.finish_reason == "stop"
    assert answer.message.content


def test_responses(by_openai: openai.OpenAI) -> None:
    """Plain, streamed by the helper, parsed into a type, and with a tool."""
    plain = by_openai.responses.create(model="gpt-4.1-mini", input="Why is the cluster slow?")
    assert plain.status == "completed"
    with by_openai.responses.stream(model="gpt-4.1-mini", input="Why is the cluster slow?") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert final.output_text
    assert final.usage is not None
    parsed = by_openai.responses.parse(model="gpt-4.1-mini", input="Tomorrow?", text_format=Forecast)
    assert isinstance(parsed.output_parsed, Forecast)
    tool: Any = {"type": "function", "name": "weather", "parameters": WEATHER, "strict": True}
    [called] = by_openai.responses.create(model="gpt-4.1-mini", input="The weather in Oslo?", tools=[tool]).output
    assert called.type == "function_call"
    assert set(json.loads(called.arguments)) == {"city", "days"}


def test_messages(by_anthropic: anthropic.Anthropic) -> None:
    """Plain, and streamed by the helper."""
    asked: Any = {
        "model": "claude-haiku-4-5", "max_tokens": 1000,
        "messages": [{"role": "user", "content": "Why is the cluster slow?"}],
    }  # fmt: skip
    plain = by_anthropic.messages.create(**asked)
    assert plain.stop_reason == "end_turn"
    with by_anthropic.messages.stream(**asked) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    [block] = final.content
    assert block.type == "text"
    assert block.text == text
    assert final.usage.output_tokens == -(-len(text) // 4)


def test_a_loop_of_tools_in_messages(by_anthropic: anthropic.Anthropic) -> None:
    """The model calls the tool, is told what it gave, and answers in words; streamed too."""
    turns: list[Any] = [{"role": "user", "content": "The weather in Oslo?"}]
    asked: Any = {
        "model": "claude-haiku-4-5", "max_tokens": 8000,
        "tools": [{"name": "weather", "input_schema": WEATHER}],
    }  # fmt: skip
    with by_anthropic.messages.stream(messages=turns, **asked) as stream:
        called = stream.get_final_message()
    assert called.stop_reason == "tool_use"
    [use] = called.content
    assert use.type == "tool_use"
    turns += [
        {"role": "assistant", "content": [use.model_dump()]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "rain"}]},
    ]
    answer = by_anthropic.messages.create(messages=turns, **asked)
    assert answer.stop_reason == "end_turn"


def test_both_list_their_models(by_openai: openai.OpenAI, by_anthropic: anthropic.Anthropic) -> None:
    """Each its own."""
    assert "gpt-4.1-mini" in {model.id for model in by_openai.models.list()}
    assert "claude-haiku-4-5" in {model.id for model in by_anthropic.models.list()}


def test_a_model_that_nobody_serves(by_openai: openai.OpenAI, by_anthropic: anthropic.Anthropic) -> None:
    """404 in each provider's shape."""
    with pytest.raises(openai.NotFoundError) as caught:
        by_openai.chat.completions.create(model="gpt-17", messages=[{"role": "user", "content": "x"}])
    assert caught.value.code == "model_not_found"
    with pytest.raises(anthropic.NotFoundError):
        by_anthropic.messages.create(model="claude-17", max_tokens=5, messages=[{"role": "user", "content": "x"}])
