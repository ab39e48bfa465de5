"""Request templates: a JSON tree or a text in which `{id}`, `{kind}`, `{seed}`, `{input}` and `{input.KEY}` stand for
parts of the workflow that is asked for. `{{` and `}}` are plain braces.

A text that is nothing but one placeholder becomes that value with its JSON type; inside a longer text it becomes text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec

from harness.errors import UsageError, unknown_name
from harness.target.target import WorkflowRequest

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_FIELDS: dict[str, Callable[[WorkflowRequest], Any]] = {
    "id": lambda request: request.id,
    "kind": lambda request: request.kind,
    "seed": lambda request: request.seed,
    "input": lambda request: request.input,
}
_Part = str | Callable[[WorkflowRequest], Any]


def _input_key(key: str) -> Callable[[WorkflowRequest], Any]:
    def read(request: WorkflowRequest) -> Any:
        if not isinstance(request.input, dict) or key not in request.input:
            raise UsageError(f"placeholder {{input.{key}}}: the input of workflow {request.kind!r} has no key {key!r}")
        return request.input[key]

    return read


def _field(name: str, text: str) -> Callable[[WorkflowRequest], Any]:
    if name.startswith("input."):
        return _input_key(name.removeprefix("input."))
    if name not in _FIELDS:
        raise UsageError(f"template {text!r}: {unknown_name('placeholder', name, [*_FIELDS, 'input.KEY'])}")
    return _FIELDS[name]


def _parts(text: str) -> list[_Part]:
    parts: list[_Part] = []
    end = 0
    for match in _TOKEN.finditer(text):
        parts.append(text[end : match.start()])
        end = match.end()
        if match[0] in ("{", "}"):
            raise UsageError(f"template {text!r}: a lone {match[0]!r}; write {match[0] * 2!r} for a plain brace")
        parts.append(match[0][0] if match[0] in ("{{", "}}") else _field(match[1], text))
    parts.append(text[end:])
    return [part for part in parts if part != ""]


def as_text(value: Any) -> str:
    """A value inside a longer text: strings as they are, everything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def text_template(text: str, written: Callable[[str], str] = str) -> Callable[[WorkflowRequest], str]:
    """A template that always gives text; each value passes through `written` (an escape) first."""
    parts = _parts(text)

    def fill(request: WorkflowRequest) -> str:
        return "".join(part if isinstance(part, str) else written(as_text(part(request))) for part in parts)

    return fill


def url_template(text: str) -> Callable[[WorkflowRequest], str]:
    """A template of a URL: values are percent-encoded, so that none can change the URL's shape."""
    return text_template(text, lambda value: quote(value, safe=""))


def json_template(tree: Any) -> Callable[[WorkflowRequest], Any]:
    """A template of a JSON value; keys are taken as written. Raises UsageError for an unknown placeholder."""
    if isinstance(tree, dict):
        members = {key: json_template(value) for key, value in tree.items()}
        return lambda request: {key: fill(request) for key, fill in members.items()}
    if isinstance(tree, list | tuple):
        items = [json_template(value) for value in tree]
        return lambda request: [fill(request) for fill in items]
    if isinstance(tree, str):
        parts = _parts(tree)
        if len(parts) == 1 and not isinstance(parts[0], str):
            return parts[0]
        return text_template(tree)
    return lambda request: tree
