"""What the simulated model answers, and how long it is: a function of what was asked and the seed.

With a canary that holds a finding the answer carries it back, so that whoever reads it can prove that it came
through: as JSON text, as the arguments of a tool that was offered, or in the schema that was given. JSON is filled up
to its length through `summary`. A piece is a token of about four characters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from harness.llm.draws import normal, uniforms
from harness.llm.models import Served
from harness.llm.schema import example, is_free_text
from harness.llm.wire import Asked, Scripted, Tool, ToolCall

ANSWER_LN_TOKENS = (5.02, 0.86)
"""Mean and sd of ln of an answer's tokens where nobody says how long it is to be: Azure's conversation trace, 2023."""

TOKEN_CHARACTERS = 4

_WORDS = (
    "the", "log", "cpu", "run", "job", "net", "row", "key", "low", "top", "few", "hit", "was", "and", "not", "api",
    "service", "latency", "request", "network", "timeout", "cluster", "traffic", "rollout", "restart", "healthy",
    "backlog", "storage", "gateway", "metrics", "version", "degrade",
)  # fmt: skip
_PROSE_WORDS = 4096
_SUMMARY = "summary"
_FINDING = "finding"
_FINDING_SCHEMA = {
    "type": "object",
    "properties": {_FINDING: {"type": "string"}, _SUMMARY: {"type": "string"}},
    "required": [_FINDING, _SUMMARY],
}
_ANY_OBJECT = {"type": "object", "properties": {_SUMMARY: {"type": "string"}}, "required": [_SUMMARY]}


def _prose() -> str:
    """Words of three or seven letters and a space each, so that a text from any fourth character on looks like one."""
    numbers = (number for block in range(_PROSE_WORDS // 8) for number in uniforms("prose", block))
    return "".join(f"{_WORDS[int(number * len(_WORDS))]} " for number in numbers)


_PROSE = _prose()


def script(asked: Asked, *, seed: int, model: Served, created: int, nth: int = 0) -> Scripted:
    """The answer to a request. `created` is s since 1970.

    `nth` tells the requests of a provider apart. Only the answer's id depends on it and on `created`: the same
    request asked twice without a canary gets the same words, but never the same id.
    """
    key = _key(asked)
    u = uniforms("answer", seed, *key)
    tokens = asked.canary.tokens if asked.canary is not None and asked.canary.tokens is not None else None
    if tokens is None:
        tokens = round(math.exp(ANSWER_LN_TOKENS[0] + ANSWER_LN_TOKENS[1] * normal(u[0], u[1])))
    tokens_max = min(asked.max_tokens or model.output_tokens_max, model.output_tokens_max)
    # Longer than what is allowed by more than a JSON answer's end, so that the cut is seen.
    characters = TOKEN_CHARACTERS * max(1, min(tokens, tokens_max + 8))
    tool = called_tool(asked)
    text = _text(asked, tool, characters, u[2])
    kept = text[: TOKEN_CHARACTERS * tokens_max]
    identity = blake2b(f"{seed}\x1f{key}\x1f{asked.digest}\x1f{created}\x1f{nth}".encode(), digest_size=16).hexdigest()
    return Scripted(
        id=identity,
        created=created,
        pieces=tuple([kept[at : at + TOKEN_CHARACTERS] for at in range(0, len(kept), TOKEN_CHARACTERS)]),
        tool=None if tool is None else ToolCall(id=identity[:24], name=tool.name, arguments=kept),
        finish="length" if len(kept) < len(text) else "stop" if tool is None else "tool",
        input_tokens=asked.input_tokens,
    )


def called_tool(asked: Asked) -> Tool | None:
    """The tool that the answer calls: the one that must be, else the first; none after a tool has answered."""
    if not asked.tools or asked.after_tool or asked.tool_choice == "none":
        return None
    return next((tool for tool in asked.tools if tool.name == asked.tool_choice), asked.tools[0])


def _key(asked: Asked) -> tuple[object, ...]:
    if asked.canary is None:
        return asked.digest, "", "", asked.attempt
    return asked.canary.workflow, asked.canary.agent, asked.canary.step, asked.attempt


def _text(asked: Asked, tool: Tool | None, characters: int, chance: float) -> str:
    """The answer: so many characters of words, or JSON filled up to as many."""
    finding = asked.canary.finding if asked.canary is not None else ""
    schema: Mapping[str, Any] | None = tool.parameters if tool is not None else asked.answer_schema
    if schema is None and finding:
        schema = _FINDING_SCHEMA
    if schema is None:
        return _words(characters, chance)[:-1] + "."
    if not schema and tool is None:
        schema = _FINDING_SCHEMA if finding else _ANY_OBJECT
    value = example(schema, {_FINDING: finding} if finding else {})
    if tool is not None and not isinstance(value, dict):
        value = {}
    return _filled_up(schema, value, characters, chance)


def _filled_up(schema: Mapping[str, Any], value: Any, characters: int, chance: float) -> str:
    """The value as JSON, its summary as long as makes the whole so many characters."""
    properties = schema.get("properties")
    summary = properties.get(_SUMMARY) if isinstance(properties, Mapping) else None
    if isinstance(value, dict) and summary is not None and is_free_text(summary):
        room = characters - len(_json(value | {_SUMMARY: ""}))
        least = summary.get("minLength")
        if not isinstance(least, int) or room >= least:
            value = value | {_SUMMARY: _words(room, chance)}
    return _json(value)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def prose(characters: int, number: int) -> str:
    """So many characters of words, from a place that `number` chooses; none when it is less than one."""
    return _words(characters, (number % 4093) / 4093)


def _words(characters: int, chance: float) -> str:
    """So many characters of prose, from a place that chance chooses."""
    if characters <= 0:
        return ""
    start = TOKEN_CHARACTERS * int(chance * (len(_PROSE) // TOKEN_CHARACTERS))
    if _PROSE[start - 1] != " ":
        start += TOKEN_CHARACTERS  # into the middle of a word of seven letters
    turns = 1 + (start + characters) // len(_PROSE)
    return (_PROSE * turns)[start : start + characters]
