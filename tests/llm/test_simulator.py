"""What the simulator answers, when, and what it writes down of it: a process over real HTTP.

Nothing may come before its time; that it comes soon enough after it is measured by `tests/bench/llm.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import blake2b
from itertools import product
from typing import Any

import httpx2
import pytest

from harness.llm.latency import LOAD_SLOWDOWN, MODELS, Timing, timing
from harness.llm.prices import Price
from harness.observation.llm import LlmCall
from harness.scenario.models import Llm, LlmFault, LlmFaultKind, Quota
from tests.llm.conftest import Serve, Served
from tests.llm.wire import CHAT, FINDING, HEADERS, MESSAGES, RESPONSES, Wire, body, whole

SEED = 7
SCALE = 0.05
EARLY_S = 0.003  # timers of the event loop count milliseconds
PRICES = {"gpt-4.1-mini": Price(input_usd=0.4, output_usd=1.6)}
PATHS = (CHAT, RESPONSES, MESSAGES)
FAULTS: dict[str, LlmFaultKind] = {
    "slow": "slow_first_token",
    "still": "stall",
    "cut": "truncated",
    "claims": "cut_finished",
    "drop": "dropped",
    "away": "refused_connection",
    "malformed": "malformed_chunk",
    "event": "error_event",
    "tool": "wrong_tool",
    "broken": "broken_json",
    "long": "context_overflow",
    "wrong": "garbage",
    "error": "error",
}
DELAY_S = 0.25
each_path = pytest.mark.parametrize("path", PATHS)
streamed_or_not = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


@pytest.fixture(scope="module")
def served(serve_all: Serve) -> Served:
    """One for all tests that only look: each asks for workflows of its own name. Faults go by the model's name."""
    fault = tuple(LlmFault(fault=kind, model=f"model-{name}", delay=DELAY_S) for name, kind in FAULTS.items())
    further = {f"model-{name}": "haiku-4.5" for name in (*FAULTS, "mine")}
    return serve_all(seed=SEED, time_scale=SCALE, prices=PRICES, llm=Llm(models=further, fault=fault))


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(headers=HEADERS, timeout=30.0, trust_env=False) as client:
        yield client


def drawn(workflow: str, *, attempt: int = 0, tokens: int = 60, step: str = "data-1") -> Timing:
    """What the latency model says of a call, scaled."""
    return timing(
        MODELS["haiku-4.5"],
        seed=SEED,
        workflow=workflow,
        agent="data",
        call=step,
        attempt=attempt,
        output_tokens=tokens,
    ).scaled(SCALE)


def events(payload: bytes) -> list[Any]:
    """What a stream's events hold."""
    lines = [line[6:] for line in payload.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(line) for line in lines if line != b"[DONE]"]


def text_of(path: str, payload: bytes, *, stream: bool) -> str:
    """The answer's text."""
    if not stream:
        said = json.loads(payload)
        if path == CHAT:
            return str(said["choices"][0]["message"]["content"])
        return str((said["output"][0] if path == RESPONSES else said)["content"][0]["text"])
    texts = []
    for event in events(payload):
        if path == CHAT:
            texts += [choice["delta"].get("content") or "" for choice in event["choices"]]
        elif event["type"] == "response.output_text.delta":
            texts.append(event["delta"])
        elif event["type"] == "content_block_delta":
            texts.append(event["delta"]["text"])
    return "".join(texts)


def one_call(served: Served, workflow: str) -> LlmCall:
    [call] = served.calls_of(workflow, 1)
    return call


# When.


@each_path
@streamed_or_not
def test_a_call_takes_as_long_as_was_drawn(served: Served, client: httpx2.Client, path: str, stream: bool) -> None:
    """What is planned is the model's draw for this workflow, agent, step and attempt; nothing comes before it."""
    workflow = f"when-{PATHS.index(path)}-{stream}"
    first_s = None
    began = time.monotonic()
    with client.stream("POST", served.url + path, content=body(workflow, path, stream=stream)) as answer:
        payload = b""
        for part in answer.iter_raw():
            payload += part
            if first_s is None and b"data: " in payload:
                first_s = time.monotonic() - began
    took_s = time.monotonic() - began
    call, due = one_call(served, workflow), drawn(workflow)
    assert call.ended_planned_s == pytest.approx(due.total_s(60))
    assert took_s >= due.total_s(60) - EARLY_S
    assert call.ended_s >= due.total_s(60) - EARLY_S
    if stream:
        assert call.ttft_planned_s is not None
        assert call.ttft_s is not None
        assert first_s is not None
        assert due.at_s(1) <= call.ttft_planned_s <= due.at_s(4)
        assert call.ttft_s >= call.ttft_planned_s - EARLY_S
        assert first_s >= call.ttft_planned_s - EARLY_S
    else:
        assert (call.ttft_planned_s, call.ttft_s) == (None, None)


def test_no_chunk_comes_before_its_time(served: Served, client: httpx2.Client) -> None:
    """Not only the first and the last: each token is due when the model says."""
    seen: list[tuple[float, int]] = []
    began = time.monotonic()
    with client.stream("POST", served.url + CHAT, content=body("chunks", stream=True, tokens=400)) as answer:
        payload = b""
        for part in answer.iter_raw():
            payload += part
            # A token is four characters; an event may be cut by the end of what was read.
            done = payload[: payload.rfind(b"\n\n") + 2]
            seen.append((time.monotonic() - began, len(text_of(CHAT, done, stream=True)) // 4))
    due = drawn("chunks", tokens=400)
    assert len({tokens for _, tokens in seen}) > 20
    assert all(at_s >= due.at_s(tokens) - EARLY_S for at_s, tokens in seen if tokens)


def test_each_attempt_is_drawn_anew(served: Served, client: httpx2.Client) -> None:
    """By what the SDK says of it."""
    for attempt in range(3):
        client.post(served.url + CHAT, content=body("again"), headers={"x-stainless-retry-count": str(attempt)})
    calls = served.calls_of("again", 3)
    assert [call.attempt for call in calls] == [0, 1, 2]
    planned = [call.ended_planned_s for call in calls]
    assert planned == pytest.approx([drawn("again", attempt=attempt).total_s(60) for attempt in range(3)])
    assert len(set(planned)) == 3


def test_what_else_is_in_flight_slows_a_call(serve: Serve) -> None:
    """By up to a quarter with a hundred others, and only by that: its own draw does not change."""
    served = serve(seed=SEED, time_scale=0.5)
    with httpx2.Client(headers=HEADERS, timeout=30.0, trust_env=False) as client, ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda number: client.post(served.url + CHAT, content=body(f"10-{number}")), range(50)))
    factors = []
    for call in served.calls():
        assert call.ended_planned_s is not None
        factors.append(call.ended_planned_s / (drawn(call.workflow).total_s(60) / SCALE * 0.5))
    assert min(factors) >= 1.0 - 1e-9
    assert 1.0 + LOAD_SLOWDOWN * 0.2 < max(factors) <= 1.0 + LOAD_SLOWDOWN * 0.49 + 1e-9


def test_the_same_seed_gives_the_same_run(serve: Serve) -> None:
    """Whatever the order: the same answers, chunks and times for the same calls; another seed gives others."""

    def run(seed: int, order: list[int]) -> dict[str, tuple[str, float, bytes]]:
        served = serve(seed=seed, time_scale=1e-6)
        with httpx2.Client(headers=HEADERS, trust_env=False) as client:
            streams = {
                f"10-{number}": client.post(served.url + CHAT, content=body(f"10-{number}", stream=True)).content
                for number in order
            }
        return {
            call.workflow: (
                call.digest,
                call.ended_planned_s or 0.0,
                b"|".join(event["choices"][0]["delta"].get("content", "").encode() for event in events(payload)),
            )
            for call in served.calls()
            for payload in [streams[call.workflow]]
        }

    first = run(1, list(range(10)))
    assert run(1, list(range(10))[::-1]) == first
    other = run(2, list(range(10)))
    assert all(other[workflow] != first[workflow] for workflow in first)


# What.


@each_path
@streamed_or_not
def test_the_line_of_a_call(served: Served, client: httpx2.Client, path: str, stream: bool) -> None:
    """Everything that was asked and handed over, and a digest that anybody can compute from the answer."""
    workflow = f"line-{PATHS.index(path)}-{stream}"
    answer = client.post(served.url + path, content=body(workflow, path, stream=stream))
    text = text_of(path, answer.content, stream=stream)
    assert json.loads(text)["finding"] == FINDING
    call = one_call(served, workflow)
    assert (call.agent, call.step, call.attempt, call.stream) == ("data", "data-1", 0, stream)
    assert call.api == {CHAT: "openai.chat", RESPONSES: "openai.responses", MESSAGES: "anthropic.messages"}[path]
    assert (call.status, call.error, call.fault, call.complete, call.gone) == (200, "", "", True, False)
    assert (call.output_tokens, call.unread_tokens) == (60, 0)
    assert call.digest == blake2b(text.encode(), digest_size=16).hexdigest()
    assert call.input_tokens > 10


def test_what_a_call_costs(served: Served, client: httpx2.Client) -> None:
    """By the price of its model, dated or not; unknown where there is no price."""
    for number, model in enumerate(("gpt-4.1-mini", "gpt-4.1-mini-2025-04-14", "model-mine")):
        client.post(served.url + CHAT, content=body(f"cost-{number}", model=model))
    priced, dated, unpriced = (one_call(served, f"cost-{number}") for number in range(3))
    assert priced.cost_usd == pytest.approx((0.4 * priced.input_tokens + 1.6 * 60) / 1e6)
    assert dated.cost_usd == priced.cost_usd
    assert unpriced.cost_usd is None


def test_answers_carry_the_providers_headers(served: Served, client: httpx2.Client) -> None:
    """A request id of its own each, and how long it took."""
    ids = set()
    for path, name in ((CHAT, "x-request-id"), (MESSAGES, "request-id"), (CHAT, "x-request-id")):
        answer = client.post(served.url + path, content=body("headers", path))
        ids.add(answer.headers[name])
        assert answer.headers["content-type"] == "application/json"
        assert int(answer.headers["content-length"]) == len(answer.content)
    assert len(ids) == 3
    planned_ms = 1000 * drawn("headers").total_s(60)
    assert int(answer.headers["openai-processing-ms"]) >= planned_ms - 1000 * EARLY_S


@pytest.mark.parametrize(
    ("path", "model"),
    [(CHAT, "gpt-9"), (CHAT, "claude-haiku-4-5"), (RESPONSES, "claude-haiku-4-5"), (MESSAGES, "gpt-4.1-mini")],
)
def test_a_model_that_is_not_served(served: Served, client: httpx2.Client, path: str, model: str) -> None:
    """404, with the names that are; another provider's model is not served either."""
    workflow = f"unknown-{PATHS.index(path)}-{model}"
    answer = client.post(served.url + path, content=body(workflow, path, model=model))
    assert answer.status_code == 404
    assert ("claude-opus-4-5" if path == MESSAGES else "gpt-4.1") in answer.json()["error"]["message"]
    call = one_call(served, workflow)
    assert (call.status, call.error, call.complete) == (404, "unknown_model", False)
    assert (call.input_tokens, call.cost_usd) == (0, 0)


def test_a_scenarios_own_model_is_served_everywhere(served: Served, client: httpx2.Client) -> None:
    """Under every endpoint."""
    for path in PATHS:
        answer = client.post(served.url + path, content=body("mine", path, model="model-mine"))
        assert answer.status_code == 200
        assert answer.json()["model"] == "model-mine"


def test_a_prompt_beyond_the_window(served: Served, client: httpx2.Client) -> None:
    """Input and `max_tokens` together; a hair less is answered."""
    near = 200_000 - 40
    for workflow, limit, status in (("fits", near, 200), ("overflows", 200_000, 400)):
        answer = client.post(served.url + MESSAGES, content=body(workflow, MESSAGES, max_tokens=limit))
        assert answer.status_code == status
        assert one_call(served, workflow).status == status
    assert "prompt is too long" in answer.json()["error"]["message"]
    assert one_call(served, "overflows").error == "context_overflow"


# Quotas.


def test_a_quota_over_the_wire(serve: Serve, client: httpx2.Client) -> None:
    """Every answer tells of it; one too many gets 429 and the seconds to wait, as whole ones and as milliseconds."""
    served = serve(llm=Llm(quota={"gpt-4.1-mini": Quota(requests=0.05, burst=60.0)}))
    left = []
    for number in range(3):
        answer = client.post(served.url + CHAT, content=body(f"10-{number}"))
        assert answer.status_code == 200
        left.append(int(answer.headers["x-ratelimit-remaining-requests"]))
    assert left == [2, 1, 0]
    refused = client.post(served.url + CHAT, content=body("10-3"))
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    wait_s = int(refused.headers["retry-after-ms"]) / 1000
    assert 5 < wait_s <= 20
    assert int(refused.headers["retry-after"]) == pytest.approx(wait_s, abs=1.0)
    call = served.calls()[-1]
    assert (call.status, call.error, call.fault) == (429, "rate_limit", "")
    assert call.retry_after_s == pytest.approx(wait_s, abs=0.001)


def test_all_workflows_share_a_quota(serve: Serve) -> None:
    """However many ask at once, so many are admitted."""
    served = serve(llm=Llm(quota={"gpt-4.1-mini": Quota(requests=0.001, burst=20_000.0)}))
    with httpx2.Client(headers=HEADERS, trust_env=False) as client, ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda n: client.post(served.url + CHAT, content=body(f"10-{n}")), range(60)))
    assert [answer.status_code for answer in answers].count(200) == 20
    assert {answer.status_code for answer in answers} == {200, 429}


@streamed_or_not
def test_output_is_charged_however_it_is_read(serve: Serve, client: httpx2.Client, stream: bool) -> None:
    """As much for a stream as for a whole answer, and also for one that is cut."""
    quota = Quota(output_tokens=3.0, burst=60.0)
    fault = LlmFault(fault="truncated", model="claude-haiku-4-5-20251001")
    served = serve(llm=Llm(quota={"claude-haiku-4-5": quota}, fault=(fault,)))
    left = []
    for number, model in enumerate(("claude-haiku-4-5", "claude-haiku-4-5-20251001", "claude-haiku-4-5")):
        asked = body(f"10-{number}", MESSAGES, stream=stream, model=model)
        answer = client.post(served.url + MESSAGES, content=asked)
        assert answer.status_code == 200
        left.append(int(answer.headers["anthropic-ratelimit-output-tokens-remaining"]))
    assert left[0] in (179, 180)
    assert [left[0] - left[1], left[0] - left[2]] == pytest.approx([60, 120], abs=5)  # some refill while we ask


def test_what_a_fault_refuses_charges_no_quota(serve: Serve, client: httpx2.Client) -> None:
    """It comes first: a provider that is down counts nothing."""
    quota = {"gpt-4.1-mini": Quota(requests=0.001, burst=1000.0)}
    served = serve(llm=Llm(quota=quota, fault=(LlmFault(fault="error", first=1),)))
    for attempt, status in enumerate((500, 200, 429)):
        answer = client.post(served.url + CHAT, content=body("10-1"), headers={"x-stainless-retry-count": str(attempt)})
        assert answer.status_code == status


# Faults.


@pytest.fixture(scope="module")
def faulty(served: Served) -> dict[tuple[str, bool], Future[httpx2.Response]]:
    """What came of a call that met a fault, by the fault's name and whether it was a stream: asked side by side."""

    def ask(name: str, stream: bool) -> httpx2.Response:
        asked = body(f"fault-{name}-{stream}", model=f"model-{name}", stream=stream)
        return httpx2.post(served.url + CHAT, content=asked, headers=HEADERS, timeout=30.0, trust_env=False)

    with ThreadPoolExecutor(8) as pool:
        return {each: pool.submit(ask, *each) for each in product(FAULTS, (True, False))}


@pytest.mark.parametrize("name", FAULTS)
@streamed_or_not
def test_a_fault_is_written_down(
    served: Served, faulty: dict[tuple[str, bool], Future[httpx2.Response]], name: str, stream: bool
) -> None:
    """Which; and whether the answer is whole in spite of it: only when it was merely late."""
    workflow = f"fault-{name}-{stream}"
    try:
        answer = faulty[name, stream].result()
    except httpx2.HTTPError:
        assert name in ("away", "drop")
    call = one_call(served, workflow)
    assert call.fault == FAULTS[name]
    assert call.complete == (name in ("slow", "still"))
    assert call.gone is False
    if name in ("long", "error") or (name == "event" and not stream):
        assert (call.status, call.output_tokens, call.unread_tokens) == (answer.status_code, 0, 0)
    elif name == "away":
        assert (call.status, call.output_tokens, call.unread_tokens) == (0, 0, 0)
    elif name == "claims":
        assert (call.status, call.output_tokens, call.unread_tokens) == (200, 30, 0)
    else:
        assert call.status == 200
        assert call.output_tokens + call.unread_tokens in (60, 61)  # broken JSON may have a token more
        half = name in ("cut", "drop", "event") or (name == "malformed" and not stream)
        assert (call.unread_tokens > 0) == half
        assert (call.output_tokens > 0) == (not half or stream)


@pytest.mark.parametrize("name", ["slow", "still"])
@streamed_or_not
def test_a_delay_is_added_and_not_scaled(served: Served, client: httpx2.Client, name: str, stream: bool) -> None:
    """Before the first token or half-way; the plan has it, so that it is not taken for somebody else's slowness."""
    workflow = f"delay-{name}-{stream}"
    client.post(served.url + CHAT, content=body(workflow, model=f"model-{name}", stream=stream))
    call, due = one_call(served, workflow), drawn(workflow)
    assert call.ended_planned_s == pytest.approx(due.total_s(60) + DELAY_S)
    assert call.ended_s >= due.total_s(60) + DELAY_S - EARLY_S
    if stream:
        assert call.ttft_planned_s is not None
        late_s = DELAY_S if name == "slow" else 0.0
        assert due.at_s(1) + late_s <= call.ttft_planned_s <= due.at_s(4) + late_s


# Clients that leave.


def test_a_client_that_leaves_a_stream(serve: Serve) -> None:
    """The model goes on: what it generated for nobody is counted, and paid. The call ended when the client left."""
    served = serve(seed=SEED, time_scale=SCALE, prices=PRICES, llm=Llm(fault=(LlmFault(fault="stall", delay=600.0),)))
    with Wire(served.url) as wire:
        wire.send(whole(body("10-1", stream=True)))
        wire.read(b'"delta":{"content":"{')
    with httpx2.Client(trust_env=False) as client:
        client.get(served.url + "/health")
    [call] = served.calls()
    assert (call.status, call.gone, call.complete) == (200, True, False)
    assert 0 < call.output_tokens < 60
    assert call.output_tokens + call.unread_tokens == 60
    assert call.cost_usd == pytest.approx((0.4 * call.input_tokens + 1.6 * 60) / 1e6)
    assert call.ended_s < 10.0
    assert call.ttft_s is not None
    assert call.ended_s >= call.ttft_s


def test_a_client_that_leaves_before_an_answer(serve: Serve) -> None:
    """Nothing was handed over, all of it generated."""
    served = serve(llm=Llm(fault=(LlmFault(fault="slow_first_token", delay=600.0),)))
    with Wire(served.url) as wire:
        wire.send(whole(body("10-1")))
        with httpx2.Client(trust_env=False) as client:
            assert client.get(served.url + "/health").status_code == 200
    with httpx2.Client(trust_env=False) as client:
        assert client.get(served.url + "/health").status_code == 200
    [call] = served.calls()
    assert (call.gone, call.complete, call.output_tokens, call.unread_tokens) == (True, False, 0, 60)
    assert call.digest == ""


def test_who_leaves_after_the_answer_has_not_left_it(served: Served) -> None:
    """Whole answers end before their connections do."""
    with Wire(served.url) as wire:
        wire.send(whole(body("after", stream=True), connection="close"))
        assert wire.ended() == "closed"
    call = one_call(served, "after")
    assert (call.complete, call.gone, call.unread_tokens) == (True, False, 0)
