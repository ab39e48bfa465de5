"""OpenAI's Responses: `POST /v1/responses`. Nothing is stored, so no response can be continued by its id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from harness.llm.canary import find_canary
from harness.llm.dialect.openai_wire import VOICE, OpenAIWire, check_key, error_of, read_choice, read_format
from harness.llm.dialect.reading import Fields, Prompt, attempt_of, read_body
from harness.llm.wire import Asked, Refused, Scripted, Stream, Tool
from harness.scenario.models import Api

_ROLES = ("user", "assistant", "system", "developer")

encode = msgspec.json.encode


class OpenAIResponses(OpenAIWire):
    """The dialect. Unknown fields are ignored; `previous_response_id`, `conversation` and `background` are refused."""

    api: Api = "openai.responses"
    path = "/v1/responses"

    def read(self, body: bytes, headers: Mapping[bytes, bytes]) -> Asked:
        """The request. Raises `Refused`."""
        check_key(headers)
        fields, digest = read_body(body, VOICE)
        model = fields.name("model")
        _refuse_state(fields)
        prompt = Prompt()
        prompt.add(fields.string("instructions"))
        after_tool = _read_input(fields, prompt)
        tools = tuple(_read_tools(fields))
        fields.check_number("temperature", 0, 2)
        wanted = fields.child("text")
        text = prompt.text()
        return Asked(
            api=self.api,
            model=model,
            text=text,
            input_tokens=prompt.tokens(text, tools),
            max_tokens=fields.count("max_output_tokens"),
            stream=fields.flag("stream"),
            tools=tools,
            tool_choice=read_choice(fields, tools, None),
            answer_schema=read_format(wanted.child("format") if wanted is not None else None, None),
            after_tool=after_tool,
            canary=find_canary(text),
            attempt=attempt_of(headers),
            digest=digest,
        )

    def whole(self, asked: Asked, scripted: Scripted) -> bytes:
        """A `response`."""
        return encode(_response(asked, scripted, [_item(scripted, _text(scripted), _ended(scripted))]))

    def stream(self, asked: Asked, scripted: Scripted, chunks: Sequence[str]) -> Stream:
        """Named events with a sequence number. The last, with the whole response in it, is what closes the stream."""
        whole = "".join(chunks)
        item = _item(scripted, whole, _ended(scripted))
        started = _response(asked, scripted, None)
        numbered = _Numbered()
        place = {"item_id": item["id"], "output_index": 0}
        opening = numbered.event("response.created", {"response": started})
        opening += numbered.event("response.in_progress", {"response": started})
        added = _item(scripted, None, "in_progress")
        opening += numbered.event("response.output_item.added", {"output_index": 0, "item": added})
        if scripted.tool is None:
            place["content_index"] = 0
            opening += numbered.event("response.content_part.added", place | {"part": _part("")})
            deltas = numbered.deltas("response.output_text.delta", place | {"logprobs": []}, chunks)
            finishing = numbered.event("response.output_text.done", place | {"text": whole, "logprobs": []})
            finishing += numbered.event("response.content_part.done", place | {"part": _part(whole)})
        else:
            deltas = numbered.deltas("response.function_call_arguments.delta", place, chunks)
            done = {"name": scripted.tool.name, "arguments": whole}
            finishing = numbered.event("response.function_call_arguments.done", place | done)
        finishing += numbered.event("response.output_item.done", {"output_index": 0, "item": item})
        ended = _response(asked, scripted, [item])
        closing = numbered.event(f"response.{ended['status']}", {"response": ended})
        return Stream(opening=opening, chunks=deltas, finishing=finishing, closing=closing)

    def error_event(self, refused: Refused, request_id: str = "") -> bytes:
        """`event: error`, flat as the API's documentation has it. Which number it has in its stream is not known."""
        error = error_of(refused)
        fields = {"code": error["code"] or error["type"], "message": error["message"], "param": error["param"]}
        return b"event: error\ndata: " + encode({"type": "error", **fields, "sequence_number": 0}) + b"\n\n"


class _Numbered:
    """Writes events one after the other."""

    def __init__(self) -> None:
        self.next = 0

    def event(self, kind: str, fields: Mapping[str, Any]) -> bytes:
        """The next one."""
        payload = encode({"type": kind, "sequence_number": self.next, **fields})
        self.next += 1
        return b"event: " + kind.encode() + b"\ndata: " + payload + b"\n\n"

    def deltas(self, kind: str, fields: Mapping[str, Any], chunks: Sequence[str]) -> tuple[bytes, ...]:
        """An event for each chunk. All but the text and the number is written once."""
        first, self.next = self.next, self.next + len(chunks)
        before = b"event: " + kind.encode() + b"\ndata: " + encode({"type": kind, **fields})[:-1] + b',"delta":'
        return tuple([b'%b%b,"sequence_number":%d}\n\n' % (before, encode(c), n) for n, c in enumerate(chunks, first)])


def _ended(scripted: Scripted) -> str:
    return "incomplete" if scripted.finish == "length" else "completed"


def _text(scripted: Scripted) -> str:
    return scripted.text if scripted.tool is None else scripted.tool.arguments


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _item(scripted: Scripted, text: str | None, status: str) -> dict[str, Any]:
    """The one item of the output; without a text it has just begun."""
    tool = scripted.tool
    if tool is None:
        content = [] if text is None else [_part(text)]
        return {
            "id": f"msg_{scripted.id}", "type": "message", "status": status, "role": "assistant", "content": content,
        }  # fmt: skip
    return {
        "id": f"fc_{scripted.id}", "type": "function_call", "status": status, "call_id": f"call_{tool.id}",
        "name": tool.name, "arguments": text or "",
    }  # fmt: skip


def _response(asked: Asked, scripted: Scripted, output: list[dict[str, Any]] | None) -> dict[str, Any]:
    """The response; without an output it is in progress. What the request said that changes nothing is not echoed."""
    status = "in_progress" if output is None else _ended(scripted)
    output_tokens = len(scripted.pieces)
    usage = {
        "input_tokens": scripted.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": scripted.input_tokens + output_tokens,
    }
    return {
        "id": f"resp_{scripted.id}",
        "object": "response",
        "created_at": scripted.created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": None,
        "max_output_tokens": asked.max_tokens,
        "max_tool_calls": None,
        "model": asked.model,
        "output": output or [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "text": {"format": _format(asked), "verbosity": "medium"},
        "tool_choice": _choice(asked),
        "tools": [
            {"type": "function", "name": tool.name, "parameters": tool.parameters, "strict": True, "description": None}
            for tool in asked.tools
        ],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None if output is None else usage,
        "user": None,
        "metadata": {},
    }


def _format(asked: Asked) -> dict[str, Any]:
    if asked.answer_schema is None:
        return {"type": "text"}
    if not asked.answer_schema:
        return {"type": "json_object"}
    return {"type": "json_schema", "name": "answer", "schema": asked.answer_schema, "strict": True}


def _choice(asked: Asked) -> Any:
    if asked.tool_choice in ("auto", "none", "required"):
        return asked.tool_choice
    return {"type": "function", "name": asked.tool_choice}


def _refuse_state(fields: Fields) -> None:
    previous = fields.string("previous_response_id")
    if previous is not None:
        raise Refused(
            "bad_request",
            f"Previous response with id '{previous[:100]}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    if fields.flag("background"):
        raise Refused("bad_request", "Background responses are not given here.", param="background")
    if fields.values.get("conversation") is not None:
        raise Refused("bad_request", "Conversations are not kept here.", param="conversation")


def _read_input(fields: Fields, prompt: Prompt) -> bool:
    """Adds the input to the prompt; whether its last item is a tool's result."""
    if isinstance(fields.needed("input"), str):
        prompt.turns += 1
        prompt.add(fields.string("input"))
        return False
    kind = ""
    for item in fields.children("input"):
        kind = item.string("type") or "message"
        prompt.turns += 1
        if kind == "message":
            item.one_of("role", _ROLES)
            item.content("content", prompt)
        elif kind == "function_call":
            item.name("call_id")
            prompt.add(item.string("arguments"))
        elif kind == "function_call_output":
            item.name("call_id")
            item.content("output", prompt)
    if not kind:
        raise VOICE.wrong("input", "an array with minimum length 1", "an empty array")
    return kind == "function_call_output"


def _read_tools(fields: Fields) -> list[Tool]:
    """The functions among the tools; other kinds are not played."""
    tools = []
    for tool in fields.children("tools"):
        if tool.name("type") == "function":
            parameters = tool.child("parameters")
            tools.append(Tool(tool.name("name"), parameters.values if parameters is not None else {}))
    return tools
