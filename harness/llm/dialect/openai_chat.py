"""OpenAI's Chat Completions: `POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from harness.llm.canary import find_canary
from harness.llm.dialect.openai_wire import VOICE, OpenAIWire, check_key, error_of, read_choice, read_format
from harness.llm.dialect.reading import Fields, Prompt, attempt_of, read_body
from harness.llm.wire import Asked, Refused, Scripted, Stream, Tool
from harness.scenario.models import Api

_ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_DONE = b"data: [DONE]\n\n"
FINGERPRINT = "fp_harness"

encode = msgspec.json.encode


class OpenAIChat(OpenAIWire):
    """The dialect. Unknown fields are ignored; more than one choice (`n`) is refused."""

    api: Api = "openai.chat"
    path = "/v1/chat/completions"

    def read(self, body: bytes, headers: Mapping[bytes, bytes]) -> Asked:
        """The request. Raises `Refused`."""
        check_key(headers)
        fields, digest = read_body(body, VOICE)
        model = fields.name("model")
        prompt = Prompt()
        last = _read_messages(fields, prompt)
        tools = tuple(_read_tools(fields))
        stream = fields.flag("stream")
        options = fields.child("stream_options")
        if options is not None and not stream:
            raise Refused(
                "bad_request",
                "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
                param="stream_options",
            )
        if (fields.count("n") or 1) > 1:
            raise Refused("bad_request", "Only one choice is given here: 'n' must be 1.", param="n")
        fields.check_number("temperature", 0, 2)
        limit = fields.count("max_completion_tokens")
        text = prompt.text()
        return Asked(
            api=self.api,
            model=model,
            text=text,
            input_tokens=prompt.tokens(text, tools),
            max_tokens=limit if limit is not None else fields.count("max_tokens"),
            stream=stream,
            include_usage=options is not None and options.flag("include_usage"),
            tools=tools,
            tool_choice=read_choice(fields, tools, "function"),
            answer_schema=read_format(fields.child("response_format"), "json_schema"),
            after_tool=last in ("tool", "function"),
            canary=find_canary(text),
            attempt=attempt_of(headers),
            digest=digest,
        )

    def whole(self, asked: Asked, scripted: Scripted) -> bytes:
        """A `chat.completion`."""
        message: dict[str, Any] = {"role": "assistant", "content": scripted.text, "refusal": None, "annotations": []}
        if scripted.tool is not None:
            message["content"] = None
            message["tool_calls"] = [_call(scripted, scripted.tool.arguments)]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(scripted)}
        return encode(_head(asked, scripted, "chat.completion") | {"choices": [choice], "usage": _usage(scripted)})

    def stream(self, asked: Asked, scripted: Scripted, chunks: Sequence[str]) -> Stream:
        """`chat.completion.chunk`s: the role (with a call's name), the chunks, the finish reason, usage, [DONE]."""
        before, after = _frame(asked, scripted)
        tool = scripted.tool is not None
        first: dict[str, Any] = {"role": "assistant", "content": None if tool else "", "refusal": None}
        if tool:
            first["tool_calls"] = [{"index": 0, **_call(scripted, "")}]
        last = b'{"index":0,"delta":{},"logprobs":null,"finish_reason":' + encode(_finish(scripted)) + b"}"
        rest = b',"logprobs":null,"finish_reason":null}' + after
        opening = before + b'{"index":0,"delta":' + encode(first) + rest
        if tool:
            before_text = before + b'{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":'
            after_text = b"}}]}" + rest
        else:
            before_text = before + b'{"index":0,"delta":{"content":'
            after_text = b"}" + rest
        closing = _DONE
        if asked.include_usage:
            head = _head(asked, scripted, "chat.completion.chunk")
            closing = b"data: " + encode(head | {"choices": [], "usage": _usage(scripted)}) + b"\n\n" + _DONE
        return Stream(
            opening=opening,
            chunks=tuple([before_text + encode(text) + after_text for text in chunks]),
            finishing=before + last + after,
            closing=closing,
        )

    def error_event(self, refused: Refused, request_id: str = "") -> bytes:
        """`data: {"error": …}`, at which the SDK raises `APIError`."""
        return b"data: " + encode({"error": error_of(refused)}) + b"\n\n"


def _head(asked: Asked, scripted: Scripted, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{scripted.id}",
        "object": kind,
        "created": scripted.created,
        "model": asked.model,
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }


def _frame(asked: Asked, scripted: Scripted) -> tuple[bytes, bytes]:
    """What stands before and after the one choice of a chunk."""
    head = encode(_head(asked, scripted, "chat.completion.chunk"))
    usage = b',"usage":null' if asked.include_usage else b""
    return b"data: " + head[:-1] + b',"choices":[', b"]" + usage + b"}\n\n"


def _finish(scripted: Scripted) -> str:
    if scripted.finish == "length":
        return "length"
    return "stop" if scripted.tool is None else "tool_calls"


def _call(scripted: Scripted, arguments: str) -> dict[str, Any]:
    tool = scripted.tool
    assert tool is not None
    return {"id": f"call_{tool.id}", "type": "function", "function": {"name": tool.name, "arguments": arguments}}


def _usage(scripted: Scripted) -> dict[str, Any]:
    output_tokens = len(scripted.pieces)
    return {
        "prompt_tokens": scripted.input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": scripted.input_tokens + output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _read_messages(fields: Fields, prompt: Prompt) -> str:
    """Adds all turns to the prompt; the role of the last one."""
    fields.needed("messages")
    role, called = "", set[str]()
    for message in fields.children("messages"):
        role = message.one_of("role", _ROLES)
        prompt.turns += 1
        message.content("content", prompt, nullable=role == "assistant")
        if role == "assistant":
            for call in message.children("tool_calls"):
                called.add(call.name("id"))
                function = call.child("function")
                if function is not None:
                    prompt.add(function.string("arguments"))
        elif role == "tool" and message.name("tool_call_id") not in called:
            raise Refused(
                "bad_request",
                "Invalid parameter: messages with role 'tool' must be a response to a preceding message with "
                "'tool_calls'.",
                param=message.place("role"),
            )
    if not role:
        raise VOICE.wrong("messages", "an array with minimum length 1", "an empty array")
    return role


def _read_tools(fields: Fields) -> list[Tool]:
    """The functions among the tools; other kinds are not played."""
    tools = []
    for tool in fields.children("tools"):
        if tool.name("type") != "function":
            continue
        function = tool.child("function")
        if function is None:
            raise VOICE.missing(tool.place("function"))
        parameters = function.child("parameters")
        tools.append(Tool(function.name("name"), parameters.values if parameters is not None else {}))
    return tools
