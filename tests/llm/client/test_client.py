"""Every way a provider fails, through the clients that agents ask with: a class of its own, and never a finding."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import product
from typing import get_args

import pytest

from harness.llm.client.client import LlmFailed, failed_by_status, retry_after_s
from harness.observation.llm import LlmCall
from harness.orchestrator.asking import Asking, open_asking
from harness.orchestrator.call import AgentFailed, Call
from harness.orchestrator.options import read_options
from harness.scenario.models import Api, Ask, Llm, LlmFault, LlmFaultKind
from harness.scenario.shapes import Step
from harness.target.target import WorkflowRequest
from tests.llm.conftest import Serve, Served

FINDING = b"0f" * 16
MODELS: dict[Api, str] = {
    "openai.chat": "gpt-4.1-mini", "openai.responses": "gpt-4.1-mini", "anthropic.messages": "claude-haiku-4-5"
}  # fmt: skip
STATUSES = {
    408: "llm_timeout", 409: "llm_overloaded", 429: "llm_rate_limited", 500: "llm_server_error",
    502: "llm_server_error", 503: "llm_overloaded", 504: "llm_timeout", 529: "llm_overloaded",
}  # fmt: skip
FAULTS = (
    *(LlmFault(fault=fault, agent=fault, delay=0.3) for fault in get_args(LlmFaultKind) if fault != "error"),
    *(LlmFault(fault="error", agent=f"error-{status}", status=status, retry_after=7.5) for status in STATUSES),
    LlmFault(fault="slow_first_token", agent="late", delay=1.0),
    LlmFault(fault="stall", agent="stuck", delay=1.0),
)
each_api = pytest.mark.parametrize("api", MODELS)
streamed_or_not = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


@pytest.fixture(scope="module")
def served(serve_all: Serve) -> Served:
    """A simulator that misbehaves towards agents that are named after a fault."""
    return serve_all(llm=Llm(fault=FAULTS))


@asynccontextmanager
async def opened(url: str, ask: Ask, **llm: object) -> AsyncIterator[Asking]:
    """What an orchestrator asks with. Afterwards nothing is in flight and no task is left."""
    work = {"llm": {"model": ask.model, "api": ask.api}}
    asking = open_asking(
        read_options({"workflow": [{"kind": "job", "shape": "sequential"}], "agent": {"data": {"work": work}}} | llm),
        url,
        clock=time.monotonic,
    )
    assert asking is not None
    try:
        yield asking
    finally:
        await asking.close()
    assert asking.use().in_flight == 0
    async with asyncio.timeout(5.0):  # generators that OpenAI's SDK leaves unfinished: asyncio closes each in a task
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})


def call_of(workflow: str, agent: str, attempt: int = 1) -> Call:
    call = Call(WorkflowRequest(workflow, "job", 7, 30.0), Step(name="data", agent=agent))
    call.attempt = attempt
    return call


def found(served: Served, ask: Ask, workflow: str, agent: str, attempt: int = 1) -> bytes:
    """The finding that one attempt brings."""

    async def main() -> bytes:
        async with opened(served.url, ask) as asking:
            return await asking.finding(ask, call_of(workflow, agent, attempt), FINDING)

    return asyncio.run(main())


End = bytes | AgentFailed
"""What an attempt brought: a finding, or how it failed."""


async def ends_of(url: str, asked: Iterable[tuple[Ask, str, str]], at_once: int) -> dict[str, End]:
    """The ends of attempts (ask, workflow, agent) that are made side by side, by their workflows."""
    turns = asyncio.Semaphore(at_once)

    async def end(asking: Asking, ask: Ask, workflow: str, agent: str) -> tuple[str, End]:
        async with turns:
            try:
                return workflow, await asking.finding(ask, call_of(workflow, agent), FINDING)
            except AgentFailed as failure:
                return workflow, failure

    async def of_api(api: Api) -> list[tuple[str, End]]:
        ask = Ask(model=MODELS[api], api=api)
        async with opened(url, ask) as asking:
            # An SDK imports and connects at its first call, which may take longer than the deadlines asked for here.
            assert isinstance((await end(asking, ask, f"first-{api}", "none"))[1], bytes)
            return await asyncio.gather(*(end(asking, *each) for each in asked if each[0].api == api))

    return dict([pair for api in MODELS for pair in await of_api(api)])


def failed(ends: dict[str, End], workflow: str) -> AgentFailed:
    """How one attempt failed."""
    failure = ends[workflow]
    assert isinstance(failure, AgentFailed)
    assert failure.error_class.startswith("llm_")
    return failure


def only_call(served: Served, workflow: str) -> LlmCall:
    """What the provider wrote down of the one attempt."""
    [call] = served.calls_of(workflow, 1)
    return call


def expected_class(fault: str, *, stream: bool) -> str:
    """As `LlmFailed` documents it. What shows in a stream as a missing end is half a JSON object without one."""
    match fault:
        case "truncated":
            return "llm_truncated" if stream else "llm_malformed"
        case "malformed_chunk":
            return "llm_malformed"
        case "error_event":
            return "llm_error_event" if stream else "llm_server_error"
        case "dropped" | "refused_connection":
            return "llm_connection"
        case "context_overflow":
            return "llm_context_overflow"
    return "llm_invalid_answer"


FAILING = sorted({*get_args(LlmFaultKind)} - {"slow_first_token", "stall", "garbage", "error"})
SLOW = ("none", "slow_first_token", "stall")
DEADLINES: tuple[tuple[str, dict[str, float], str], ...] = (
    ("late", {"first_token": 0.2}, "llm_first_token"),
    ("stuck", {"between_tokens": 0.2}, "llm_stalled"),
    ("stuck", {"timeout": 0.4}, "llm_timeout"),
)


@pytest.fixture(scope="module")
def faulty(served: Served) -> dict[str, End]:
    """How every attempt ended that met a fault or an error status, a few at a time."""
    both = (False, True)
    asked = [
        (Ask(model=MODELS[api], api=api, stream=stream, tool=tool), f"{fault}-{api}-{stream}-{tool}", fault)
        for api, stream, tool, fault in product(MODELS, both, both, FAILING)
    ]
    asked += [
        (Ask(model=MODELS[api], api=api, stream=stream), f"{status}-{api}-{stream}", f"error-{status}")
        for api, stream, status in product(MODELS, both, STATUSES)
    ]
    return asyncio.run(ends_of(served.url, asked, at_once=8))


@pytest.fixture(scope="module")
def waited_for(served: Served) -> dict[str, End]:
    """How every attempt ended that waits for something: they wait side by side."""
    asked = [
        (Ask(model=MODELS[api], api=api, stream=stream), f"{agent}-{api}-{stream}", agent)
        for api, stream, agent in product(MODELS, (False, True), SLOW)
    ]
    asked += [
        (Ask(model=MODELS[api], api=api, stream=True, **deadlines), f"{agent}-{api}-{error_class}", agent)
        for api, (agent, deadlines, error_class) in product(MODELS, DEADLINES)
    ]
    asked += [(Ask(model=MODELS[api], api=api, timeout=0.3), f"late-{api}", "late") for api in MODELS]
    return asyncio.run(ends_of(served.url, asked, at_once=len(asked)))


@each_api
@streamed_or_not
@pytest.mark.parametrize("tool", [False, True], ids=["text", "tool"])
@pytest.mark.parametrize("fault", FAILING)
def test_a_fault_is_a_failure_of_its_class(
    served: Served, faulty: dict[str, End], api: Api, stream: bool, tool: bool, fault: str
) -> None:
    """Never a finding; only what asking again cannot change is final."""
    workflow = f"{fault}-{api}-{stream}-{tool}"
    failure = failed(faulty, workflow)
    assert failure.error_class == expected_class(fault, stream=stream)
    assert failure.final == (fault == "context_overflow")
    assert failure.retry_after_s == 0.0
    assert not only_call(served, workflow).complete


@each_api
@streamed_or_not
@pytest.mark.parametrize("status", STATUSES)
def test_an_error_status_says_when_to_come_again(faulty: dict[str, End], api: Api, stream: bool, status: int) -> None:
    """OpenAI in milliseconds, Anthropic in whole seconds, rounded up; none of these is final."""
    failure = failed(faulty, f"{status}-{api}-{stream}")
    assert failure.error_class == STATUSES[status]
    assert failure.retry_after_s == (8.0 if api == "anthropic.messages" else 7.5)
    assert not failure.final


@each_api
@streamed_or_not
@pytest.mark.parametrize("agent", SLOW)
def test_what_is_only_slow_is_waited_for(waited_for: dict[str, End], api: Api, stream: bool, agent: str) -> None:
    """Below its deadlines an answer is an answer."""
    assert waited_for[f"{agent}-{api}-{stream}"] == FINDING


@each_api
@pytest.mark.parametrize(("agent", "error_class"), [(agent, error_class) for agent, _, error_class in DEADLINES])
def test_each_deadline_ends_the_stream(
    served: Served, waited_for: dict[str, End], api: Api, agent: str, error_class: str
) -> None:
    """And hangs up, so that the provider need not go on."""
    workflow = f"{agent}-{api}-{error_class}"
    failure = failed(waited_for, workflow)
    assert (failure.error_class, failure.final) == (error_class, False)
    assert only_call(served, workflow).gone


@each_api
def test_a_whole_answer_has_a_deadline_too(served: Served, waited_for: dict[str, End], api: Api) -> None:
    """Without a stream there is only the one."""
    assert failed(waited_for, f"late-{api}").error_class == "llm_timeout"
    assert only_call(served, f"late-{api}").gone


@each_api
def test_an_attempt_tells_its_number(served: Served, api: Api) -> None:
    """As the SDKs count them: from 0."""
    found(served, Ask(model=MODELS[api], api=api), f"third-{api}", "none", attempt=3)
    assert only_call(served, f"third-{api}").attempt == 2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:10 GMT"}, 10.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:10 GMT"}, 0.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, 0.0),
        ({"retry-after": "nan"}, 0.0),
        ({"retry-after": "inf"}, 0.0),
        ({}, 0.0),
    ],
)
def test_retry_after_in_all_its_forms(headers: dict[str, str], seconds: float) -> None:
    """Milliseconds before seconds before a date; what cannot be read says nothing."""
    assert retry_after_s(headers, now=60.0) == seconds


@pytest.mark.parametrize(
    ("status", "error", "error_class", "final"),
    [
        (429, {"code": "insufficient_quota"}, "llm_spend_limit", True),
        (429, {"details": {"error_code": "enforced_spend_limit_reached"}}, "llm_spend_limit", True),
        (429, {"code": "rate_limit_exceeded"}, "llm_rate_limited", False),
        (400, {"code": "context_length_exceeded"}, "llm_context_overflow", True),
        (401, {"code": "invalid_api_key"}, "llm_refused", True),
        (404, None, "llm_refused", True),
        (500, "not an object", "llm_server_error", False),
        (599, None, "llm_server_error", False),
    ],
)
def test_what_a_status_means(status: int, error: dict[str, object] | None, error_class: str, final: bool) -> None:
    """Money that is spent and requests that are wrong are final; everything else may pass."""
    failure = failed_by_status(status, {}, error, "words")
    assert isinstance(failure, LlmFailed)
    assert (failure.error_class, failure.final) == (error_class, final)
