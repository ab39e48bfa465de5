"""Live mode, its own code path: a provider process that relays, in front of the simulator or a server of the test's."""

from __future__ import annotations

import asyncio
import gzip
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import msgspec
import openai
import pytest

from harness.errors import UsageError
from harness.llm.config import Caps
from harness.llm.prices import Price
from harness.scenario.models import Llm, LlmFault
from tests.llm.conftest import Serve, Served
from tests.llm.upstream import EVENTS, JSON, RESET, Play, upstream

OPENAI_KEY = "sk-test-openai-0123456789"
ANTHROPIC_KEY = "sk-ant-test-9876543210"
CLIENT_KEY = "sk-client-of-the-relay-000"
PRICES = {"gpt-4.1-mini": Price(0.4, 1.6), "claude-haiku-4-5": Price(1.0, 5.0)}
STREAMED = {
    "model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5, "stream": True,
}  # fmt: skip
CHAT_EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n'
CHAT_END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
CHAT_USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"
WHOLE = (
    b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":10,"completion_tokens":2}}'
)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider process gets them from its environment."""
    monkeypatch.setenv("OPENAI_API_KEY", OPENAI_KEY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", ANTHROPIC_KEY)


def live(serve: Serve, url: str, *, caps: Caps | None = None, **config: object) -> Served:
    """A relay to `url` for both providers."""
    given = {"mode": "live", "prices": PRICES, "caps": caps or Caps(cost_usd=1.0, concurrency=10)}
    return serve(**{**given, "upstream": {"openai": url, "anthropic": url}, **config})


def post(
    url: str, body: Mapping[str, Any] | None = None, path: str = "/v1/chat/completions", **more: Any
) -> httpx2.Response:
    """A request by hand, with both providers' headers and a key that is not to be passed on."""
    asked = {
        "model": "gpt-4.1-mini",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 50,
        **(body or {}),
    }
    headers = {"authorization": f"Bearer {CLIENT_KEY}", "x-api-key": CLIENT_KEY, "anthropic-version": "2023-06-01",
               "cookie": "a=b", "openai-organization": "org-client", "x-stainless-retry-count": "2"}  # fmt: skip
    return httpx2.post(
        url + path, content=msgspec.json.encode(asked), headers=headers, timeout=20, trust_env=False, **more
    )


def whole(status: int = 200, body: bytes = WHOLE, **headers: str) -> Play:
    """An answer in one piece."""
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Play([(0.0, body)], status=status, content_type=JSON, headers=named)


async def ask_both(url: str) -> list[str]:
    """All three endpoints by the real SDKs, streamed and not."""
    turn: Any = [{"role": "user", "content": "[harness workflow=w agent=a step=s tokens=12] say something"}]
    texts = []
    async with (
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=CLIENT_KEY, max_retries=0) as one,
        anthropic.AsyncAnthropic(base_url=url, api_key=CLIENT_KEY, max_retries=0) as other,
    ):
        chat = await one.chat.completions.create(model="gpt-4.1-mini", messages=turn, max_completion_tokens=50)
        texts.append(chat.choices[0].message.content or "")
        text = ""
        async for chunk in await one.chat.completions.create(
            model="gpt-4.1-mini", messages=turn, max_completion_tokens=50, stream=True,
            stream_options={"include_usage": True},
        ):  # fmt: skip
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
        texts.append(text)
        response = await one.responses.create(model="gpt-4.1-mini", input=turn, max_output_tokens=50)
        texts.append(response.output_text)
        async with one.responses.stream(model="gpt-4.1-mini", input=turn, max_output_tokens=50) as events:
            async for _ in events:
                pass
            texts.append((await events.get_final_response()).output_text)
        message = await other.messages.create(model="claude-haiku-4-5", messages=turn, max_tokens=50)
        texts.append(message.content[0].text)  # type: ignore[union-attr]
        async with other.messages.stream(model="claude-haiku-4-5", messages=turn, max_tokens=50) as stream:
            texts.append(await stream.get_final_text())
    return texts


def test_both_sdks_are_answered_through_it(serve: Serve) -> None:
    """All endpoints, streamed and not: the relay's log agrees with the simulator's about text, tokens and end."""
    simulator = serve(prices=PRICES)
    relay = live(serve, simulator.url)
    texts = asyncio.run(ask_both(relay.url))
    assert all(texts)
    ours, theirs = relay.calls(), simulator.calls()
    assert len(ours) == len(theirs) == 6
    for mine, truth in zip(ours, theirs, strict=True):
        assert (mine.api, mine.status, mine.complete, mine.stream) == (truth.api, 200, True, truth.stream)
        assert (mine.workflow, mine.agent, mine.step) == ("w", "a", "s")
        assert (mine.digest, mine.output_tokens, mine.input_tokens) == (
            truth.digest, truth.output_tokens, truth.input_tokens,
        )  # fmt: skip
        assert mine.cost_usd == pytest.approx(truth.cost_usd)
        assert (mine.ttft_s is not None) or not mine.stream
        assert mine.ended_s >= truth.ended_s - 0.002


def test_only_what_is_allowed_goes_out(serve: Serve) -> None:
    """The body byte by byte, the attempt and the real key; no header of the client's, and not its key."""
    with upstream(whole()) as provider:
        relay = live(serve, provider.url)
        post(relay.url, {"seed": 7, "x": "ü"})
        post(relay.url, {"model": "claude-haiku-4-5"}, path="/v1/messages")
    chat, messages = provider.heads
    assert chat.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert f"authorization: Bearer {OPENAI_KEY}\r\n".encode() in chat.lower().replace(b"bearer", b"Bearer")
    assert b"x-api-key" not in chat.lower()
    assert b"x-stainless-retry-count: 2\r\n" in chat.lower()
    assert f"x-api-key: {ANTHROPIC_KEY}\r\n".encode() in messages.lower()
    assert b"anthropic-version: 2023-06-01\r\n" in messages.lower()
    for head in provider.heads:
        for absent in (CLIENT_KEY.encode(), b"cookie", b"org-client"):
            assert absent not in head
    expected = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 50}
    assert provider.bodies[0] == msgspec.json.encode(expected | {"seed": 7, "x": "ü"})


def test_the_providers_answer_comes_back_unchanged(serve: Serve) -> None:
    """Status, body, rate limits and ids; what belongs to one connection alone does not."""
    refusal = b'{"error":{"message":"slow","type":"tokens","param":null,"code":"rate_limit_exceeded"}}'
    play = whole(429, refusal, retry_after="7", x_request_id="req_1", x_ratelimit_remaining_tokens="3", keep_alive="5")
    with upstream(play) as provider:
        relay = live(serve, provider.url)
        response = post(relay.url)
        [call] = relay.calls()
    assert (response.status_code, response.content) == (429, refusal)
    assert response.headers["retry-after"] == "7"
    assert response.headers["x-request-id"] == "req_1"
    assert response.headers["x-ratelimit-remaining-tokens"] == "3"
    assert "keep-alive" not in response.headers
    assert (call.status, call.error, call.retry_after_s, call.attempt) == (429, "rate_limit_exceeded", 7.0, 2)
    assert (call.cost_usd, call.complete) == (0.0, False)


def test_an_answer_that_is_packed_all_the_same_is_unpacked(serve: Serve) -> None:
    """It was asked for plainly; a client never sees a packed body without the header that says so."""
    with upstream(whole(body=gzip.compress(WHOLE), content_encoding="gzip")) as provider:
        relay = live(serve, provider.url)
        assert post(relay.url).content == WHOLE


def test_chunks_are_passed_on_as_they_come(serve: Serve) -> None:
    """The first is with the client while the provider still holds the last."""
    plays = Play([(0.0, CHAT_EVENT % b"a"), (0.5, CHAT_EVENT % b"b"), (0.0, CHAT_END + CHAT_USAGE + DONE)])
    with upstream(plays) as provider:
        relay = live(serve, provider.url)
        came: list[tuple[float, bytes]] = []
        with httpx2.stream(
            "POST", relay.url + "/v1/chat/completions", headers={"authorization": "Bearer x"}, trust_env=False,
            json=STREAMED,
        ) as response:  # fmt: skip
            came.extend((time.monotonic(), chunk) for chunk in response.iter_raw())
        [call] = relay.calls()
    assert b"".join(chunk for _, chunk in came) == b"".join(chunk for _, chunk in plays.chunks)
    assert came[0][1] == CHAT_EVENT % b"a"
    assert came[-1][0] - came[0][0] >= 0.45
    assert call.ttft_s is not None
    assert call.ended_s - call.ttft_s >= 0.45
    assert call.complete
    assert call.cost_usd == pytest.approx(PRICES["gpt-4.1-mini"].of(10, 2))


def test_a_client_that_hangs_up_ends_the_providers_call(serve: Serve) -> None:
    """Nobody goes on paying for it; what it may have cost counts."""
    with upstream(Play([(0.0, CHAT_EVENT % b"a"), (30.0, DONE)])) as provider:
        relay = live(serve, provider.url)
        with (
            httpx2.Client(trust_env=False) as client,
            client.stream(
                "POST", relay.url + "/v1/chat/completions", headers={"authorization": "Bearer x"}, json=STREAMED
            ) as response,
        ):
            next(response.iter_raw())
        assert provider.hung_up.wait(10.0)
        [call] = relay.calls_of("", 1)
    assert call.gone
    assert not call.complete
    assert 0 < call.cost_usd <= PRICES["gpt-4.1-mini"].of(1000, 5)


def test_a_broken_connection_breaks_the_clients_too(serve: Serve) -> None:
    """As it would without us: in the middle of a stream, and before any answer."""
    with upstream(Play([(0.0, CHAT_EVENT % b"a"), (0.05, RESET)]), Play([(0.0, RESET)])) as provider:
        relay = live(serve, provider.url)
        with pytest.raises(httpx2.TransportError):
            post(relay.url, {"stream": True})
        with pytest.raises(httpx2.TransportError):
            post(relay.url)
        during, before = relay.calls()
    assert (during.status, during.complete, before.status, before.complete) == (200, False, 0, False)
    assert during.error
    assert before.error
    assert not during.gone
    assert not before.gone
    assert during.cost_usd > 0  # nobody knows, so the most it can have been


def test_an_unreachable_api_is_a_502_in_the_providers_shape(serve: Serve) -> None:
    """It names the provider, and costs nothing."""
    with upstream(whole()) as provider:
        url = provider.url
    relay = live(serve, url)
    response = post(relay.url)
    assert response.status_code == 502
    assert "openai cannot be reached" in response.json()["error"]["message"]
    [call] = relay.calls()
    assert (call.status, call.cost_usd) == (502, 0.0)


def test_the_concurrency_cap_holds_and_waiting_is_told(serve: Serve) -> None:
    """Two at a time, in the order they came; what a call waited here is its queued time, not the provider's."""
    with upstream(Play([(0.1, WHOLE)], content_type=JSON)) as provider:
        relay = live(serve, provider.url, caps=Caps(cost_usd=1.0, concurrency=2))
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: post(relay.url).status_code, range(6)))
        calls = relay.calls()
    assert answers == [200] * 6
    assert provider.most_at_once == 2
    assert sum(call.queued_s > 0.05 for call in calls) == 4
    assert all(call.ended_s >= call.queued_s + 0.09 for call in calls)


def test_the_cost_cap_is_never_passed(serve: Serve) -> None:
    """Twenty calls at once: what the answered ones cost stays below it, the others are refused for good."""
    one_usd = PRICES["gpt-4.1-mini"].of(10, 2)
    with upstream(Play([(0.05, WHOLE)], content_type=JSON)) as provider:
        relay = live(serve, provider.url, caps=Caps(cost_usd=30 * one_usd, concurrency=20))
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: post(relay.url), range(20)))
        again = post(relay.url)
        deadline = time.monotonic() + 10
        while relay.provider.stopped is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        calls = relay.calls()
    refused = [answer for answer in answers if answer.status_code != 200]
    assert 0 < len(refused) < 20
    assert len(provider.heads) == 20 - len(refused)
    assert sum(call.cost_usd for call in calls) <= 30 * one_usd
    for answer in [*refused, again]:
        assert answer.status_code == 429
        assert "The cap of" in answer.json()["error"]["message"]
        assert answer.headers["x-should-retry"] == "false"
        assert "retry-after" not in answer.headers
    assert relay.provider.stopped[0] == "budget_spent"
    assert f"{30 * one_usd:g} USD" in relay.provider.stopped[1]


def test_what_cannot_be_priced_is_refused(serve: Serve) -> None:
    """Nothing goes out; the message names the way out."""
    with upstream(whole()) as provider:
        relay = live(serve, provider.url)
        response = post(relay.url, {"model": "gpt-unheard-of"})
        assert response.status_code == 400
        assert "--prices" in response.json()["error"]["message"]
        assert provider.heads == []


@pytest.mark.parametrize("mode", ["none", "needed", "strange"])
def test_missing_keys_are_told_at_the_start(serve: Serve, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """By the names of their variables, never by their values."""
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    if mode == "none":
        monkeypatch.delenv("OPENAI_API_KEY")
    if mode == "strange":
        monkeypatch.setenv("OPENAI_API_KEY", "sk-ünlikely\x01")
    with pytest.raises(UsageError, match="OPENAI" if mode != "needed" else "ANTHROPIC") as caught:
        live(serve, "http://127.0.0.1:1", providers=("anthropic",) if mode == "needed" else ())
    assert "sk-" not in str(caught.value)


def test_a_provider_without_a_key_is_a_401_at_use(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one works."""
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with upstream(whole()) as provider:
        relay = live(serve, provider.url)
        response = post(relay.url, {"model": "claude-haiku-4-5"}, path="/v1/messages")
        assert response.status_code == 401
        assert "ANTHROPIC_API_KEY is not set" in response.json()["error"]["message"]
        assert post(relay.url).status_code == 200


def test_faults_of_the_provider_come_through(serve: Serve) -> None:
    """A stream that is cut without a finish reason is a clean end here, too, and not complete."""
    simulator = serve(llm=Llm(fault=(LlmFault(fault="truncated"),)))
    relay = live(serve, simulator.url)
    response = post(
        relay.url, {"stream": True, "messages": [{"role": "user", "content": "[harness workflow=w tokens=20]"}]}
    )
    assert response.status_code == 200
    assert b"[DONE]" not in response.content
    [call] = relay.calls()
    assert (call.status, call.complete) == (200, False)
    assert call.cost_usd > 0


def test_no_key_is_in_any_file_or_message(serve: Serve, tmp_path: Path) -> None:
    """Log, standard error, recording, answers."""
    with upstream(whole(401, f'{{"error":{{"message":"bad key {OPENAI_KEY}"}}}}'.encode())) as provider:
        relay = live(serve, provider.url, record=str(tmp_path / "calls.rec"))
        post(relay.url)
        relay.calls()
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert written
    for key in (OPENAI_KEY, ANTHROPIC_KEY, CLIENT_KEY):
        assert key.encode() not in written


def _live_reason(name: str) -> str | None:
    if os.environ.get("HARNESS_LIVE_TESTS") != "1":
        return "SPENDS MONEY AT THE REAL API: set HARNESS_LIVE_TESTS=1 to run it"
    return None if os.environ.get(name) else f"THE REAL API IS NOT TESTED: {name} is not set"


@pytest.mark.parametrize(
    ("name", "model", "path"),
    [
        ("OPENAI_API_KEY", "gpt-4.1-mini", "/v1/chat/completions"),
        ("ANTHROPIC_API_KEY", "claude-haiku-4-5", "/v1/messages"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_the_real_api(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, name: str, model: str, path: str, stream: bool
) -> None:
    """A few tokens each, when a person asked for it."""
    reason = _REASONS[name]
    if reason is not None:
        pytest.skip(reason)
    for each, value in _REAL_KEYS.items():
        monkeypatch.setenv(each, value)
    relay = serve(mode="live", prices=PRICES, caps=Caps(cost_usd=0.01, concurrency=1), time_scale=1.0)
    body: dict[str, Any] = {"model": model, "max_tokens": 16, "stream": stream}
    if stream and name == "OPENAI_API_KEY":
        body["stream_options"] = {"include_usage": True}
    response = post(relay.url, body, path=path)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].encode().startswith(EVENTS[:17] if stream else JSON)
    [call] = relay.calls()
    assert call.complete
    assert 0 < call.cost_usd < 0.001


_REASONS = {name: _live_reason(name) for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")}
_REAL_KEYS = {name: value for name in _REASONS if (value := os.environ.get(name))}
