"""Anthropic's Messages: `POST /v1/messages`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from harness.llm.canary import find_canary
from harness.llm.dialect.anthropic_wire import VOICE, AnthropicWire, event
from harness.llm.dialect.reading import Fields, Prompt, attempt_of, bearer, read_body
from harness.llm.wire import Asked, Refused, Scripted, Stream, Tool
from harness.scenario.models import Api

_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_PING = b'event: ping\ndata: {"type":"ping"}\n\n'
encode = msgspec.json.encode


class AnthropicMessages(AnthropicWire):
    """The dialect. Unknown fields are ignored."""

    api: Api = "anthropic.messages"
    path = "/v1/messages"

    def read(self, body: bytes, headers: Mapping[bytes, bytes]) -> Asked:
        """The request. Raises `Refused`."""
        if not (headers.get(b"x-api-key", b"").strip() or bearer(headers)):
            raise Refused("authentication", "x-api-key header is required")
        if not headers.get(b"anthropic-version", b"").strip():
            raise Refused("bad_request", "anthropic-version: header is required", param="anthropic-version")
        fields, digest = read_body(body, VOICE)
        model = fields.name("model")
        fields.needed("max_tokens")
        prompt = Prompt()
        fields.content("system", prompt, nullable=True)
        after_tool = _read_messages(fields, prompt)
        tools = tuple(_read_tools(fields))
        fields.check_number("temperature", 0, 1)
        text = prompt.text()
        return Asked(
            api=self.api,
            model=model,
            text=text,
            input_tokens=prompt.tokens(text, tools),
            max_tokens=fields.count("max_tokens"),
            stream=fields.flag("stream"),
            tools=tools,
            tool_choice=_read_choice(fields, tools),
            answer_schema=_read_format(fields),
            after_tool=after_tool,
            canary=find_canary(text),
            attempt=attempt_of(headers),
            digest=digest,
        )

    def whole(self, asked: Asked, scripted: Scripted) -> bytes:
        """A `message`. Arguments that are no JSON object are sent as an empty one: this form has no room for others."""
        tool = scripted.tool
        block: dict[str, Any] = {"type": "text", "text": scripted.text}
        if tool is not None:
            block = _tool_block(scripted, _object_of(tool.arguments))
        return encode(_message(asked, scripted, [block], _stop_reason(scripted), len(scripted.pieces)))

    def stream(self, asked: Asked, scripted: Scripted, chunks: Sequence[str]) -> Stream:
        """Named events: the message begins, its one block, its stop reason and usage, its end."""
        block: dict[str, Any] = {"type": "text", "text": ""}
        delta = b'{"type":"text_delta","text":'
        if scripted.tool is not None:
            block = _tool_block(scripted, {})
            delta = b'{"type":"input_json_delta","partial_json":'
        start = {"type": "content_block_start", "index": 0, "content_block": block}
        opening = event("message_start", {"type": "message_start", "message": _message(asked, scripted, [], None, 1)})
        opening += event("content_block_start", start) + _PING
        before = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":' + delta
        ended = {
            "type": "message_delta",
            "delta": {"stop_reason": _stop_reason(scripted), "stop_sequence": None},
            "usage": {
                "input_tokens": scripted.input_tokens,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": len(scripted.pieces),
            },
        }
        finishing = event("content_block_stop", {"type": "content_block_stop", "index": 0})
        finishing += event("message_delta", ended)
        return Stream(
            opening=opening,
            chunks=tuple([before + encode(text) + b"}}\n\n" for text in chunks]),
            finishing=finishing,
            closing=_STOP,
        )


def _message(
    asked: Asked, scripted: Scripted, content: list[dict[str, Any]], stop_reason: str | None, output_tokens: int
) -> dict[str, Any]:
    return {
        "id": f"msg_{scripted.id}",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {
            "input_tokens": scripted.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": output_tokens,
            "service_tier": "standard",
        },
    }


def _stop_reason(scripted: Scripted) -> str:
    if scripted.finish == "length":
        return "max_tokens"
    return "end_turn" if scripted.tool is None else "tool_use"


def _tool_block(scripted: Scripted, arguments: dict[str, Any]) -> dict[str, Any]:
    tool = scripted.tool
    assert tool is not None
    return {"type": "tool_use", "id": f"toolu_{tool.id}", "name": tool.name, "input": arguments}


def _object_of(arguments: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(arguments)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _read_messages(fields: Fields, prompt: Prompt) -> bool:
    """Adds all turns to the prompt; whether the last one brings a tool's result."""
    fields.needed("messages")
    after_tool = False
    for message in fields.children("messages"):
        role = message.one_of("role", ("user", "assistant"))
        prompt.turns += 1
        after_tool = False
        if not message.needed("content") and role == "user":
            raise Refused(
                "bad_request",
                f"{message.at}: user messages must have non-empty content",
                param=message.place("content"),
            )
        if isinstance(message.values["content"], str):
            prompt.add(message.string("content"))
            continue
        for block in message.children("content"):
            after_tool |= _read_block(block, prompt) and role == "user"
    if not prompt.turns:
        raise Refused("bad_request", "messages: at least one message is required", param="messages")
    return after_tool


def _read_block(block: Fields, prompt: Prompt) -> bool:
    """Adds a block to the prompt; whether it is a tool's result."""
    kind = block.name("type")
    if kind == "text":
        block.needed("text")
        prompt.add(block.string("text"))
    elif kind == "tool_use":
        block.name("id")
        arguments = block.child("input")
        prompt.add(encode(arguments.values).decode() if arguments is not None else None)
    elif kind == "tool_result":
        block.name("tool_use_id")
        block.content("content", prompt, nullable=True)
    elif kind in ("thinking", "redacted_thinking"):
        pass  # the model's own, which is not counted as input
    else:
        prompt.unread += 1
    return kind == "tool_result"


def _read_tools(fields: Fields) -> list[Tool]:
    """The client's own tools; those that the provider runs are not played."""
    tools = []
    for tool in fields.children("tools"):
        if (tool.string("type") or "custom") == "custom":
            name = tool.name("name")
            tool.needed("input_schema")
            schema = tool.child("input_schema")
            tools.append(Tool(name, schema.values if schema is not None else {}))
    return tools


def _read_choice(fields: Fields, tools: Sequence[Tool]) -> str:
    choice = fields.child("tool_choice")
    if choice is None:
        return "auto"
    kind = choice.one_of("type", ("auto", "any", "tool", "none"))
    if not fields.values.get("tools"):
        raise Refused("bad_request", "tool_choice may only be specified while providing tools", param="tool_choice")
    if kind != "tool":
        return "required" if kind == "any" else kind
    name = choice.name("name")
    if name not in {tool.name for tool in tools}:
        raise Refused("bad_request", f"Tool '{name[:100]}' not found in provided tools", param="tool_choice")
    return name


def _read_format(fields: Fields) -> Mapping[str, Any] | None:
    config = fields.child("output_config")
    format_ = (config.child("format") if config is not None else None) or fields.child("output_format")
    if format_ is None or format_.one_of("type", ("json_schema",)) != "json_schema":
        return None
    format_.needed("schema")
    schema = format_.child("schema")
    return schema.values if schema is not None else None
