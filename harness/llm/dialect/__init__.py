"""The endpoints that a provider process serves, and whose form an error has where there is no endpoint."""

from __future__ import annotations

from collections.abc import Mapping

from harness.llm.dialect.anthropic_messages import AnthropicMessages
from harness.llm.dialect.openai_chat import OpenAIChat
from harness.llm.dialect.openai_responses import OpenAIResponses
from harness.llm.wire import Dialect

_CHAT = OpenAIChat()
_RESPONSES = OpenAIResponses()
_MESSAGES = AnthropicMessages()

DIALECTS: Mapping[str, Dialect] = {_CHAT.path: _CHAT, _RESPONSES.path: _RESPONSES, _MESSAGES.path: _MESSAGES}


def dialect_for(path: str, headers: Mapping[bytes, bytes]) -> Dialect:
    """The dialect at that path; where there is none, the one whose client seems to ask, for its form of errors."""
    anthropic = b"anthropic-version" in headers or b"x-api-key" in headers
    otherwise: Dialect = _MESSAGES if anthropic or path.startswith(_MESSAGES.path) else _CHAT
    return DIALECTS.get(path, otherwise)
