"""OpenAI's SDK is asked where and what the scenario says, whatever else is set on the machine."""

from __future__ import annotations

import asyncio
import os

import pytest

from harness.llm.client.client import LlmFailed, Prompt
from harness.llm.client.openai_sdk import OpenAIModels
from harness.scenario.models import Ask
from tests.llm.upstream import JSON, Play, upstream

PROMPT = Prompt("be brief", "hello", 100)
CHAT = Ask(model="gpt-4.1-mini")
RESPONSES = Ask(model="gpt-4.1-mini", api="openai.responses")
ENVIRONMENT = {
    "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
    "OPENAI_API_KEY": "from-outside",
    "OPENAI_ORG_ID": "org-outside",
    "OPENAI_PROJECT_ID": "project-outside",
    "OPENAI_CUSTOM_HEADERS": "x-outside: 1",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "ALL_PROXY": "http://127.0.0.1:9",
}
WHOLE = (
    b'{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop",'
    b'"message":{"role":"assistant","content":"hi"}}]}'
)


def asked(url: str, ask: Ask, *, sdk_retries: int = 0, attempt: int = 1) -> str:
    """The text of the answer."""

    async def main() -> str:
        models = OpenAIModels(url, key="none", sdk_retries=sdk_retries)
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
        assert asked(served.url, CHAT) == "hi"
    [head] = served.heads
    assert b"outside" not in head.lower()
    assert b"bearer none" in head.lower()
    assert head.startswith(b"POST /v1/chat/completions ")
    assert {name: os.environ[name] for name in ENVIRONMENT} == ENVIRONMENT


def test_retries_of_the_sdk_count_themselves() -> None:
    """With them, the header is the SDK's own; without, it is the number of our attempt."""
    broken = Play([(0.0, b"{}")], status=500, content_type=JSON, headers=[(b"retry-after-ms", b"1")])
    with upstream(broken) as served, pytest.raises(LlmFailed) as caught:
        asked(served.url, CHAT, sdk_retries=2, attempt=2)
    assert caught.value.error_class == "llm_server_error"
    assert [number(head) for head in served.heads] == [0, 1, 2]
    with upstream(broken) as served, pytest.raises(LlmFailed):
        asked(served.url, CHAT, attempt=2)
    assert [number(head) for head in served.heads] == [1]


def number(head: bytes) -> int:
    """The attempt that a request says it is."""
    [line] = [line for line in head.lower().split(b"\r\n") if line.startswith(b"x-stainless-retry-count:")]
    return int(line.split(b":")[1])


@pytest.mark.parametrize("body", [b"{}", b'{"choices":[]}', b"[]", b"null", b"7", b'"text"', b"<html>"])
@pytest.mark.parametrize("ask", [CHAT, RESPONSES], ids=["chat", "responses"])
def test_an_answer_of_no_form_is_a_failure(body: bytes, ask: Ask) -> None:
    """The SDK checks nothing; an attempt that got anything else than an answer may be tried again."""
    with upstream(Play([(0.0, body)], content_type=JSON)) as served, pytest.raises(LlmFailed) as caught:
        asked(served.url, ask)
    assert caught.value.error_class in ("llm_malformed", "llm_truncated")
    assert not caught.value.final


def test_a_response_that_failed_is_an_error_in_the_answer() -> None:
    """Status 200 was sent before it was known."""
    body = b'{"id":"1","object":"response","status":"failed","output":[],"error":{"code":"server_error","message":"x"}}'
    with upstream(Play([(0.0, body)], content_type=JSON)) as served, pytest.raises(LlmFailed) as caught:
        asked(served.url, RESPONSES)
    assert caught.value.error_class == "llm_error_event"


def test_a_redirect_is_not_followed() -> None:
    """It would take the prompt, and in live mode money, somewhere else."""
    with upstream(Play([(0.0, WHOLE)], content_type=JSON)) as elsewhere:
        away = Play([(0.0, b"{}")], status=307, content_type=JSON, headers=[(b"location", elsewhere.url.encode())])
        with upstream(away) as served, pytest.raises(LlmFailed):
            asked(served.url, CHAT)
    assert elsewhere.heads == []
