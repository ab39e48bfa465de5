"""Which dialect answers where, and what all of them have in common."""

from __future__ import annotations

import pytest

from harness.llm.dialect import DIALECTS, dialect_for
from harness.llm.dialect.anthropic_messages import AnthropicMessages
from harness.llm.dialect.openai_chat import OpenAIChat
from harness.llm.dialect.openai_responses import OpenAIResponses
from harness.llm.dialect.openai_wire import span
from harness.llm.wire import Dialect


@pytest.mark.parametrize(
    ("path", "headers", "dialect"),
    [
        ("/v1/chat/completions", {}, OpenAIChat),
        ("/v1/chat/completions", {b"x-api-key": b"k"}, OpenAIChat),
        ("/v1/responses", {}, OpenAIResponses),
        ("/v1/messages", {}, AnthropicMessages),
        ("/v1/messages/count_tokens", {}, AnthropicMessages),
        ("/v1/embeddings", {}, OpenAIChat),
        ("/", {}, OpenAIChat),
        ("/v1/models", {b"anthropic-version": b"2023-06-01"}, AnthropicMessages),
        ("/v1/complete", {b"x-api-key": b"k"}, AnthropicMessages),
    ],
)
def test_where_there_is_no_endpoint_the_client_decides(
    path: str, headers: dict[bytes, bytes], dialect: type[Dialect]
) -> None:
    """Its headers tell which provider's errors it can read; a path of our own goes before them."""
    assert type(dialect_for(path, headers)) is dialect


def test_every_dialect_stands_at_its_own_path() -> None:
    """And every endpoint that a scenario can name has one."""
    assert {path: dialect.path for path, dialect in DIALECTS.items()} == {path: path for path in DIALECTS}
    assert {dialect.api for dialect in DIALECTS.values()} == {
        "openai.chat",
        "openai.responses",
        "anthropic.messages",
    }


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [(996.298, "16m36.298s"), (360, "6m0s"), (0.02, "20ms"), (1, "1s"), (0, "0ms"), (-1, "0ms"), (3661.5, "1h1m1.5s")],
)
def test_durations_are_written_as_openai_does(duration_s: float, text: str) -> None:
    """Rounded up to the millisecond: nothing is promised too early."""
    assert span(duration_s) == text
