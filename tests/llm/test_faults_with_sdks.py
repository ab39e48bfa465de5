"""What the two SDKs make of every way a provider misbehaves. These are facts about them, which systems are built on.

Both take a stream that merely ends for a whole answer, and retry nothing once a stream began: only who looks at the
finish reason, and at what is in the answer, knows that half of it is missing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any, get_args

import anthropic
import httpx2
import openai
import pytest

from harness.llm.canary import Canary
from harness.observation.llm import LlmCall
from harness.scenario.models import Llm, LlmFault, LlmFaultKind
from tests.llm.conftest import Serve, Served

FINDING = "0123456789abcdef0123456789abcdef"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"finding": {"type": "string"}, "summary": {"type": "string"}},
    "required": ["finding", "summary"],
}


@dataclass
class Got:
    """What came out of an SDK. `finish` None: it never said that the answer is whole."""

    text: str
    finish: str | None
    tool: str | None = None


Call = Callable[[str, str, bool, bool, int], Awaitable[Got]]


async def chat(url: str, prompt: str, stream: bool, tool: bool, retries: int) -> Got:
    """OpenAI's Chat Completions."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=retries) as client:
        asked: dict[str, Any] = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": prompt}]}
        if tool:
            asked["tools"] = [{"type": "function", "function": {"name": "report", "parameters": SCHEMA}}]
        if not stream:
            choice = (await client.chat.completions.create(**asked)).choices[0]
            if choice.message.tool_calls:
                function = choice.message.tool_calls[0].function
                return Got(function.arguments, choice.finish_reason, function.name)
            return Got(choice.message.content or "", choice.finish_reason)
        got = Got("", None)
        async for chunk in await client.chat.completions.create(stream=True, **asked):
            for part in chunk.choices:
                got.text += part.delta.content or ""
                for called in part.delta.tool_calls or ():
                    got.text += called.function.arguments or ""
                    got.tool = called.function.name or got.tool
                got.finish = part.finish_reason or got.finish
        return got


async def responses(url: str, prompt: str, stream: bool, tool: bool, retries: int) -> Got:
    """OpenAI's Responses."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=retries) as client:
        asked: dict[str, Any] = {"model": "gpt-4.1-mini", "input": prompt}
        if tool:
            asked["tools"] = [{"type": "function", "name": "report", "parameters": SCHEMA, "strict": False}]
        if not stream:
            response = await client.responses.create(**asked)
            for item in response.output:
                if item.type == "function_call":
                    return Got(item.arguments, response.status, item.name)
            return Got(response.output_text, response.status)
        got = Got("", None)
        async for event in await client.responses.create(stream=True, **asked):
            if event.type in ("response.output_text.delta", "response.function_call_arguments.delta"):
                got.text += event.delta
            elif event.type == "response.output_item.added" and event.item.type == "function_call":
                got.tool = event.item.name
            elif event.type in ("response.completed", "response.incomplete", "response.failed"):
                got.finish = event.response.status
        return got


async def messages(url: str, prompt: str, stream: bool, tool: bool, retries: int) -> Got:
    """Anthropic's Messages."""
    async with anthropic.AsyncAnthropic(base_url=url, api_key="any", max_retries=retries) as client:
        asked: dict[str, Any] = {
            "model": "claude-haiku-4-5", "max_tokens": 500, "messages": [{"role": "user", "content": prompt}]
        }  # fmt: skip
        if tool:
            asked["tools"] = [{"name": "report", "input_schema": SCHEMA}]
        if not stream:
            message = await client.messages.create(**asked)
            block = message.content[0]
            if block.type == "tool_use":
                return Got(json.dumps(block.input), message.stop_reason, block.name)
            assert block.type == "text"
            return Got(block.text, message.stop_reason)
        got = Got("", None)
        async for event in await client.messages.create(stream=True, **asked):
            if event.type == "content_block_start" and event.content_block.type == "tool_use":
                got.tool = event.content_block.name
            elif event.type == "content_block_delta":
                got.text += getattr(event.delta, "text", "") or getattr(event.delta, "partial_json", "")
            elif event.type == "message_delta":
                got.finish = event.delta.stop_reason
        return got


APIS: dict[str, Call] = {"chat": chat, "responses": responses, "messages": messages}
WHOLE = {"chat": "stop", "responses": "completed", "messages": "end_turn"}
each_api = pytest.mark.parametrize("api", APIS)
streamed_or_not = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


ERRORS: dict[int, tuple[str, str]] = {  # status -> the exception of OpenAI's SDK, of Anthropic's
    408: ("APIStatusError", "RequestTimeoutError"),
    409: ("ConflictError", "ConflictError"),
    429: ("RateLimitError", "RateLimitError"),
    500: ("InternalServerError", "InternalServerError"),
    502: ("InternalServerError", "InternalServerError"),
    503: ("InternalServerError", "ServiceUnavailableError"),
    504: ("InternalServerError", "GatewayTimeoutError"),
    529: ("InternalServerError", "OverloadedError"),
}
FAULTS = (
    *(LlmFault(fault=fault, agent=fault, delay=0.3) for fault in get_args(LlmFaultKind) if fault != "error"),
    *(LlmFault(fault="error", agent=f"error-{status}", status=status, retry_after=0.01) for status in ERRORS),
    LlmFault(fault="error", agent="twice", status=503, first=2, retry_after=0.01),
    LlmFault(fault="error", agent="sometimes", share=0.3),
)


@pytest.fixture(scope="module")
def served(serve_all: Serve) -> Served:
    """A simulator that misbehaves towards agents that are named after a fault."""
    return serve_all(llm=Llm(fault=FAULTS))


@dataclass
class Asking:
    """One call by an SDK, and what the provider wrote down of it."""

    served: Served
    api: str
    workflow: str

    def ask(self, agent: str, *, stream: bool, tool: bool = False, retries: int = 0) -> Got:
        """As that agent."""
        canary = Canary(workflow=self.workflow, agent=agent, step="data", finding=FINDING, tokens=40)
        return asyncio.run(APIS[self.api](self.served.url, f"{canary} go on", stream, tool, retries))

    def calls(self) -> list[LlmCall]:
        """All its attempts: what ended before a later call is written down before it."""
        later = Asking(self.served, self.api, f"{self.workflow}-later")
        later.ask("none", stream=False)
        self.served.calls_of(later.workflow, 1)
        return self.served.calls_of(self.workflow, 1)


@pytest.fixture
def asking(served: Served, api: str, request: pytest.FixtureRequest) -> Asking:
    """A call of its own for every test."""
    return Asking(served, api, request.node.name)


Waited = dict[tuple[str, str, bool], Future[Got]]
RETRIED = {"slow_first_token": 0, "refused_connection": 1, "twice": 2} | {f"error-{status}": 2 for status in ERRORS}
"""Agents whose calls wait for something, and how often an SDK may try them again."""


@pytest.fixture(scope="module")
def waited(served: Served) -> Waited:
    """What came of calls that wait, by agent, endpoint and whether it was a stream: they wait side by side."""
    both = [each for each in RETRIED if not each.startswith("error-")]
    wanted = [*product(both, APIS, (True, False)), *product(set(RETRIED) - set(both), APIS, (False,))]
    with ThreadPoolExecutor(8) as pool:
        return {
            (agent, api, stream): pool.submit(
                Asking(served, api, f"{agent}-{api}-{stream}").ask, agent, stream=stream, retries=RETRIED[agent]
            )
            for agent, api, stream in wanted
        }


@dataclass
class WaitedFor:
    """One of those calls."""

    asking: Asking
    came: Future[Got]

    def calls(self) -> list[LlmCall]:
        """All its attempts."""
        return self.asking.calls()


Look = Callable[[str, bool], WaitedFor]


@pytest.fixture
def look(served: Served, waited: Waited, api: str) -> Look:
    """`look(agent, stream)`: what came of that agent's call."""
    return lambda agent, stream: WaitedFor(Asking(served, api, f"{agent}-{api}-{stream}"), waited[agent, api, stream])


@each_api
@streamed_or_not
@pytest.mark.parametrize("tool", [False, True], ids=["text", "tool"])
def test_without_a_fault_the_finding_comes_back(asking: Asking, stream: bool, tool: bool) -> None:
    """Plain and streamed, as text and as a tool call; and the provider says that it was all."""
    got = asking.ask("none", stream=stream, tool=tool)
    assert json.loads(got.text)["finding"] == FINDING
    assert got.finish is not None
    assert got.tool == ("report" if tool else None)
    [call] = asking.calls()
    assert (call.workflow, call.step, call.complete, call.output_tokens) == (asking.workflow, "data", True, 40)


@each_api
@streamed_or_not
def test_a_slow_first_token_is_waited_for(look: Look, api: str, stream: bool) -> None:
    """The SDKs wait up to ten minutes."""
    seen = look("slow_first_token", stream)
    assert seen.came.result().finish == WHOLE[api]
    [call] = seen.calls()
    assert call.complete
    assert call.ended_s >= 0.3
    if stream:
        assert call.ttft_s is not None
        assert call.ttft_s >= 0.3


@each_api
def test_a_stall_is_waited_for(asking: Asking) -> None:
    """Nothing is said while the stream stands still, and all comes in the end."""
    got = asking.ask("stall", stream=True)
    assert json.loads(got.text)["finding"] == FINDING
    [call] = asking.calls()
    assert call.complete
    assert call.ttft_s is not None
    assert call.ended_s - call.ttft_s >= 0.29


@each_api
def test_a_truncated_stream_passes_for_an_answer(asking: Asking) -> None:
    """No exception: the text is half, and only the missing finish reason tells."""
    got = asking.ask("truncated", stream=True, retries=2)
    assert got.finish is None
    with pytest.raises(json.JSONDecodeError):
        json.loads(got.text)
    [call] = asking.calls()
    assert (call.complete, call.fault, call.status) == (False, "truncated", 200)


@each_api
@streamed_or_not
def test_half_an_answer_that_says_it_is_whole(asking: Asking, stream: bool) -> None:
    """The finish reason is as it should be; only who reads the answer notices."""
    got = asking.ask("cut_finished", stream=stream)
    assert got.finish == WHOLE[asking.api]
    with pytest.raises(json.JSONDecodeError):
        json.loads(got.text)
    assert not asking.calls()[0].complete


@each_api
def test_a_dropped_socket(asking: Asking) -> None:
    """OpenAI's SDK wraps the error; Anthropic's lets the HTTP library's own through, which `except anthropic.APIError`
    misses. Neither tries again, although retries are allowed: a stream had begun."""
    expected = httpx2.HTTPError if asking.api == "messages" else openai.APIConnectionError
    with pytest.raises(expected) as caught:
        asking.ask("dropped", stream=True, retries=2)
    assert not isinstance(caught.value, anthropic.APIError)
    assert len(asking.calls()) == 1


@each_api
@streamed_or_not
def test_a_provider_that_is_away(look: Look, stream: bool) -> None:
    """A connection that is reset before any answer is tried again, as often as the SDK is allowed to."""
    seen = look("refused_connection", stream)
    with pytest.raises((openai.APIConnectionError, anthropic.APIConnectionError)):
        seen.came.result()
    calls = seen.calls()
    assert [call.attempt for call in calls] == [0, 1]
    assert {call.status for call in calls} == {0}


@each_api
def test_a_malformed_chunk(asking: Asking) -> None:
    """A bare JSONDecodeError comes out of both SDKs."""
    with pytest.raises(json.JSONDecodeError):
        asking.ask("malformed_chunk", stream=True)
    assert not asking.calls()[0].complete


@pytest.mark.parametrize("api", ["responses"])
def test_an_error_event_of_responses_raises_nothing(asking: Asking) -> None:
    """It is an event like any other: who does not look for it takes what came before it for all."""
    assert asking.ask("error_event", stream=True, retries=2).finish is None
    assert len(asking.calls()) == 1


@pytest.mark.parametrize("api", ["chat", "messages"])
def test_an_error_inside_a_stream(asking: Asking) -> None:
    """Status 200 was sent, so it is no error of a status: OpenAI's is a plain APIError, Anthropic's an APIStatusError
    that says 200."""
    with pytest.raises((openai.APIError, anthropic.APIStatusError)) as caught:
        asking.ask("error_event", stream=True, retries=2)
    assert type(caught.value) is (anthropic.APIStatusError if asking.api == "messages" else openai.APIError)
    assert len(asking.calls()) == 1


@each_api
@streamed_or_not
def test_a_tool_that_nobody_offered(asking: Asking, stream: bool) -> None:
    """The SDKs hand on whatever name the model wrote."""
    assert asking.ask("wrong_tool", stream=stream, tool=True).tool not in (None, "report")
    assert not asking.calls()[0].complete


@pytest.mark.parametrize("api", ["chat", "responses"])
@streamed_or_not
def test_broken_arguments_of_a_tool(asking: Asking, stream: bool) -> None:
    """OpenAI's SDK hands the text on, unread."""
    got = asking.ask("broken_json", stream=stream, tool=True)
    with pytest.raises(json.JSONDecodeError):
        json.loads(got.text)


@each_api
@streamed_or_not
def test_broken_json_as_text(asking: Asking, stream: bool) -> None:
    """An answer that was to be JSON and is none."""
    got = asking.ask("broken_json", stream=stream)
    with pytest.raises(json.JSONDecodeError):
        json.loads(got.text)


@each_api
@streamed_or_not
def test_a_prompt_that_is_too_long(asking: Asking, stream: bool) -> None:
    """400, in each provider's own words; not tried again."""
    with pytest.raises((openai.BadRequestError, anthropic.BadRequestError)) as caught:
        asking.ask("context_overflow", stream=stream, retries=2)
    words = str(caught.value)
    if asking.api == "messages":
        assert "prompt is too long" in words
    else:
        assert isinstance(caught.value, openai.BadRequestError)
        assert caught.value.code == "context_length_exceeded"
    assert len(asking.calls()) == 1


@each_api
@streamed_or_not
def test_garbage_of_the_right_form(asking: Asking, stream: bool) -> None:
    """Nothing in the answer tells: this is what the run's final digest is for."""
    got = asking.ask("garbage", stream=stream)
    found = json.loads(got.text)["finding"]
    assert found != FINDING
    assert len(found) == 32
    assert got.finish == WHOLE[asking.api]


@each_api
@pytest.mark.parametrize("status", ERRORS)
def test_an_error_status(look: Look, api: str, status: int) -> None:
    """All of these are tried again; `retry-after` is obeyed (here: a few milliseconds)."""
    by_openai, by_anthropic = ERRORS[status]
    seen = look(f"error-{status}", False)
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as caught:
        seen.came.result()
    assert type(caught.value).__name__ == (by_anthropic if api == "messages" else by_openai)
    assert caught.value.status_code == status
    calls = seen.calls()
    assert [call.attempt for call in calls] == [0, 1, 2]
    assert {call.status for call in calls} == {status}


@each_api
@streamed_or_not
def test_fail_twice_and_succeed(look: Look, api: str, stream: bool) -> None:
    """The third attempt of the SDK's own is answered, and its caller never hears of the others."""
    seen = look("twice", stream)
    assert seen.came.result().finish == WHOLE[api]
    assert [(call.attempt, call.status) for call in seen.calls()] == [(0, 503), (1, 503), (2, 200)]


def test_a_share_of_requests(served: Served) -> None:
    """Drawn for each call by its name, so that the same calls fail whenever they are made."""

    async def many() -> list[bool]:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="any", max_retries=0) as client:

            async def one(number: int) -> bool:
                content = str(Canary(workflow=f"10-{number}", agent="sometimes", step="data", finding=FINDING))
                try:
                    await client.chat.completions.create(
                        model="gpt-4.1-mini", messages=[{"role": "user", "content": content}]
                    )
                except openai.InternalServerError:
                    return False
                return True

            return list(await asyncio.gather(*(one(number) for number in range(200))))

    first, again = asyncio.run(many()), asyncio.run(many())
    assert first == again
    assert 35 <= first.count(False) <= 90  # 60, and its standard deviation is 6.5
