"""Anthropic's SDK is asked where and what the scenario says, whatever else is set on the machine."""

from __future__ import annotations

import asyncio
import os

import pytest

from harness.llm.client.anthropic_sdk import AnthropicModels
from harness.llm.client.client import LlmFailed, Prompt
from harness.scenario.models import Ask
from tests.llm.upstream import JSON, Play, upstream

PROMPT = Prompt("be brief", "hello", 100)
MESSAGES = Ask(model="claude-haiku-4-5", api="anthropic.messages")
ENVIRONMENT = {
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
    "ANTHROPIC_API_KEY": "from-outside",
    "ANTHROPIC_AUTH_TOKEN": "token-outside",
    "ANTHROPIC_PROFILE": "profile-outside",
    "ANTHROPIC_CUSTOM_HEADERS": "x-outside: 1",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "ALL_PROXY": "http://127.0.0.1:9",
}
WHOLE = (
    b'{"id":"1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hi"}],'
    b'"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}'
)


def asked(url: str, ask: Ask, *, sdk_retries: int = 0, attempt: int = 1) -> str:
    """The text of the answer."""

    async def main() -> str:
        models = AnthropicModels(url, key="none", sdk_retries=sdk_retries)
        try:
            return (await models.ask(ask, PROMPT, attempt)).text
        finally:
            await models.close()

    return asyncio.run(main())


def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where is asked, nor with which key, nor what else is told; and it is as it was afterwards."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with upstream(Play([(0.0, WHOLE)], content_type=JSON)) as served:
        assert asked(served.url, MESSAGES) == "hi"
    [head] = served.heads
    assert b"outside" not in head.lower()
    assert b"authorization: bearer none" in head.lower()
    assert head.startswith(b"POST /v1/messages ")
    assert {name: os.environ[name] for name in ENVIRONMENT} == ENVIRONMENT


def test_retries_of_the_sdk_count_themselves() -> None:
    """With them, the header is the SDK's own; without, it is the number of our attempt."""
    broken = Play([(0.0, b"{}")], status=500, content_type=JSON, headers=[(b"retry-after-ms", b"1")])
    with upstream(broken) as served, pytest.raises(LlmFailed) as caught:
        asked(served.url, MESSAGES, sdk_retries=2, attempt=2)
    assert caught.value.error_class == "llm_server_error"
    assert [number(head) for head in served.heads] == [0, 1, 2]
    with upstream(broken) as served, pytest.raises(LlmFailed):
        asked(served.url, MESSAGES, attempt=2)
    assert [number(head) for head in served.heads] == [1]


def number(head: bytes) -> int:
    """The attempt that a request says it is."""
    [line] = [line for line in head.lower().split(b"\r\n") if line.startswith(b"x-stainless-retry-count:")]
    return int(line.split(b":")[1])


@pytest.mark.parametrize("body", [b"{}", b'{"content":[]}', b"[]", b"null", b"7", b'"text"', b"<html>"])
def test_an_answer_of_no_form_is_a_failure(body: bytes) -> None:
    """The SDK checks nothing; an attempt that got anything else than an answer may be tried again."""
    with upstream(Play([(0.0, body)], content_type=JSON)) as served, pytest.raises(LlmFailed) as caught:
        asked(served.url, MESSAGES)
    assert caught.value.error_class in ("llm_malformed", "llm_truncated")
    assert not caught.value.final
