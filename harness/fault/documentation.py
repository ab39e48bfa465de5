"""What a person reads about a kind of fault, from its own type."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from harness.scenario.faults import SERVICE, fault_type
from harness.scenario.units import EXAMPLES, Unit, render

_FIELD_COMMENT = re.compile(r"^    (\w+): .*?  # (.+)$", re.MULTILINE)
WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def summary(kind: str, kinds: Mapping[str, str]) -> str:
    """One line: what is broken."""
    return " ".join(_paragraphs(kind, kinds)[0].split()).partition(": ")[0].rstrip(".")


def described(kind: str, kinds: Mapping[str, str]) -> Iterator[str]:
    """All that is known of it, a line each: what it does, its parameters, what it needs, and how it is written."""
    declared = fault_type(kind, kinds)
    yield kind
    for paragraph in _paragraphs(kind, kinds):
        yield ""
        yield " ".join(paragraph.split())
    yield ""
    yield "[[fault]]"
    yield f'kind = "{kind}"'
    yield 'at = "5 s"          # after the measure phase began'
    yield 'for = "10 s"'
    comments = dict(_FIELD_COMMENT.findall(inspect.getsource(declared)))
    hints = get_type_hints(declared, include_extras=True)
    for field in fields(declared):
        if field.name == SERVICE:
            continue
        example = _written(hints[field.name], field.default)
        told = [_form(hints[field.name]), *([comments[field.name]] if field.name in comments else [])]
        told.append("required" if field.default is MISSING else f"{example} when left out")
        yield f"{field.name} = {example}".ljust(19) + f" # {'; '.join(told)}"


def _paragraphs(kind: str, kinds: Mapping[str, str]) -> list[str]:
    return (inspect.getdoc(fault_type(kind, kinds)) or "").split("\n\n")


def _form(hint: Any) -> str:
    """What may be written there."""
    if get_origin(hint) is Literal:
        return " | ".join(map(str, get_args(hint)))
    unit = next((each for each in get_args(hint) if isinstance(each, Unit)), None)
    return f"a {unit.kind}" if unit is not None else WORDS.get(hint, str(hint))


def _written(hint: Any, default: Any) -> str:
    """A default as a file has it, or an example."""
    unit = next((each for each in get_args(hint) if isinstance(each, Unit)), None)
    if default is MISSING:
        return EXAMPLES[unit.kind].partition(" or ")[0] if unit is not None else '"…"' if hint is str else "1"
    if unit is not None:
        return f'"{render(default, unit.kind)}"'
    return f'"{default}"' if isinstance(default, str) else str(default).lower()
