"""What was recorded comes again: the same bytes to both SDKs, at the same times."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from harness.errors import UsageError
from harness.llm.live.recording import Recorded, Recorder, read_recording
from tests.llm.conftest import Serve
from tests.llm.live.test_relay import (
    CHAT_END,
    CHAT_EVENT,
    CHAT_USAGE,
    CLIENT_KEY,
    DONE,
    PRICES,
    STREAMED,
    ask_both,
    keys,
    live,
    post,
    whole,
)  # fmt: skip
from tests.llm.upstream import RESET, Play, upstream

__all__ = ["keys"]  # a fixture of this module as well

EARLY_S, LATE_S = 0.002, 0.05


def stream(url: str, body: dict[str, Any] = STREAMED) -> tuple[list[tuple[float, bytes]], httpx2.Response]:
    """Every chunk of an answer, with the seconds since it was asked for."""
    came = []
    headers = {"authorization": f"Bearer {CLIENT_KEY}"}
    with (
        httpx2.Client(trust_env=False, timeout=20) as client,
        client.stream("POST", url + "/v1/chat/completions", headers=headers, json=body) as response,
    ):
        asked = time.monotonic()
        came.extend((time.monotonic() - asked, chunk) for chunk in response.iter_raw())
    return came, response


def test_both_sdks_get_the_same_answers_again(serve: Serve, tmp_path: Path) -> None:
    """From the simulator through the relay into a file, and out of it: texts, digests and tokens are the same."""
    path = tmp_path / "calls.rec"
    relay = live(serve, serve().url, record=str(path))
    texts = asyncio.run(ask_both(relay.url))
    recorded = relay.calls()
    replayed = serve(mode="replay", replay=str(path), prices=PRICES)
    assert asyncio.run(ask_both(replayed.url)) == texts
    for first, again in zip(recorded, replayed.calls(), strict=True):
        assert again.complete
        assert (again.digest, again.output_tokens, again.input_tokens, again.workflow) == (
            first.digest, first.output_tokens, first.input_tokens, "w",
        )  # fmt: skip
        assert again.cost_usd == pytest.approx(first.cost_usd)


def test_it_keeps_the_times_of_the_recording(serve: Serve, tmp_path: Path) -> None:
    """The first token and each chunk after it: as the provider's log has them, and as a client sees them."""
    path = tmp_path / "calls.rec"
    simulator = serve(time_scale=0.3)
    relay = live(serve, simulator.url, record=str(path))
    body = STREAMED | {"messages": [{"role": "user", "content": "[harness workflow=w tokens=40]"}], "max_tokens": 60}
    stream(relay.url, body)
    relay.calls()
    [recorded] = read_recording(path)
    assert len(recorded.chunks) > 5
    replayed = serve(mode="replay", replay=str(path), time_scale=1.0)
    came, _ = stream(replayed.url, body)
    [call] = replayed.calls()
    assert b"".join(chunk for _, chunk in came) == b"".join(chunk for _, chunk in recorded.payloads())
    assert call.ttft_s is not None
    assert call.ttft_planned_s is not None
    assert call.ended_planned_s == pytest.approx(recorded.chunks[-1][0])
    for was, planned in ((call.ttft_s, call.ttft_planned_s), (call.ended_s, call.ended_planned_s)):
        assert planned - EARLY_S <= was <= planned + LATE_S
    # The client's own clock starts a little earlier or later than the server's: gaps, from the first chunk on.
    sent, seen = [at for at, _ in recorded.chunks], [at for at, _ in came]
    assert seen[-1] - seen[0] == pytest.approx(sent[-1] - sent[0], abs=LATE_S)


def test_times_are_scaled(serve: Serve, tmp_path: Path) -> None:
    """A recording of seconds runs in a test of milliseconds."""
    path = tmp_path / "calls.rec"
    with upstream(Play([(0.0, CHAT_EVENT % b"a"), (0.8, CHAT_END + CHAT_USAGE + DONE)])) as provider:
        relay = live(serve, provider.url, record=str(path))
        stream(relay.url)
        relay.calls()
    replayed = serve(mode="replay", replay=str(path), time_scale=0.25)
    came, _ = stream(replayed.url)
    [call] = replayed.calls()
    assert call.ended_planned_s == pytest.approx(0.2, abs=0.05)
    assert 0.2 - EARLY_S <= call.ended_s <= 0.7
    assert came[-1][1] == CHAT_END + CHAT_USAGE + DONE


def test_several_answers_to_one_request_come_in_their_order(serve: Serve, tmp_path: Path) -> None:
    """A refusal and then success, as it was; from then on success. Headers that the client obeys are there."""
    path = tmp_path / "calls.rec"
    busy = b'{"error":{"message":"slow","type":"tokens","param":null,"code":"rate_limit_exceeded"}}'
    with upstream(whole(429, busy, retry_after="1"), whole()) as provider:
        relay = live(serve, provider.url, record=str(path))
        assert [post(relay.url).status_code for _ in range(2)] == [429, 200]
        relay.calls()
    replayed = serve(mode="replay", replay=str(path))
    answers = [post(replayed.url) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 200, 200]
    assert answers[0].content == busy
    assert answers[0].headers["retry-after"] == "1"
    refused, *_ = replayed.calls()
    assert (refused.status, refused.error, refused.retry_after_s) == (429, "rate_limit_exceeded", 1.0)


def test_broken_connections_break_again(serve: Serve, tmp_path: Path) -> None:
    """In the middle of a stream, after the same chunks."""
    path = tmp_path / "calls.rec"
    with upstream(Play([(0.0, CHAT_EVENT % b"a"), (0.1, RESET)])) as provider:
        relay = live(serve, provider.url, record=str(path))
        with pytest.raises(httpx2.TransportError):
            stream(relay.url)
        relay.calls()
    replayed = serve(mode="replay", replay=str(path), time_scale=1.0)
    with pytest.raises(httpx2.TransportError):
        stream(replayed.url)
    [call] = replayed.calls()
    assert (call.status, call.complete, call.gone) == (200, False, False)
    assert call.ttft_s is not None


def test_an_unknown_request_is_told_how_near_it_came(serve: Serve, tmp_path: Path) -> None:
    """404 in the provider's shape: another endpoint, another model, another body."""
    path = tmp_path / "calls.rec"
    call = Recorded(path="/v1/chat/completions", digest="d", api="openai.chat", model="gpt-4.1-mini")
    recorder = Recorder(path, [])
    recorder.add(call, b"{}", [], [(0.0, b"{}")])
    recorder.close()
    replayed = serve(mode="replay", replay=str(path))
    body = post(replayed.url)
    model = post(replayed.url, {"model": "gpt-4o"})
    endpoint = post(replayed.url, {"model": "claude-haiku-4-5"}, path="/v1/messages")
    assert [answer.status_code for answer in (body, model, endpoint)] == [404, 404, 404]
    assert "1 calls of model 'gpt-4.1-mini'" in body.json()["error"]["message"]
    assert "no call of model 'gpt-4o' at /v1/chat/completions: only of gpt-4.1-mini" in model.json()["error"]["message"]
    assert endpoint.json()["type"] == "error"
    assert "no call of /v1/messages: only of /v1/chat/completions" in endpoint.json()["error"]["message"]
    assert {call.error for call in replayed.calls()} == {"not_recorded"}


def test_a_file_that_is_no_recording_is_told_at_the_start(serve: Serve, tmp_path: Path) -> None:
    """With its path, as a mistake of the person who asked."""
    path = tmp_path / "calls.rec"
    path.write_text("something else")
    with pytest.raises(UsageError, match="is not a recording of calls"):
        serve(mode="replay", replay=str(path))
