"""From a TOML document to a typed Scenario: the mistakes a schema can see, all of them in one pass.

What is wrong is replaced by a stand-in, so that the checks of meaning still run over everything else; the paths of
the stand-ins are handed on, and a mistake that was concluded from one is dropped.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from harness.scenario.mistakes import KeyPath, Mistake, nearest, unknown_key
from harness.scenario.scenario import Scenario
from harness.scenario.units import EXAMPLES, Unit

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

DEPTH_MAX = 32
UNKNOWN_KEY = "unexpected_keyword_argument"  # pydantic's word for it
INTEGERS = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Validated:
    """A typed scenario, whole even when the file is not: `broken` are the paths that hold stand-ins."""

    scenario: Scenario
    mistakes: tuple[Mistake, ...]
    broken: tuple[KeyPath, ...]


@cache
def scenario_adapter() -> TypeAdapter[tuple[Scenario]]:
    """Strict, closed validation of one scenario, wrapped in a list of one.

    Pydantic takes a configuration for standard-library dataclasses only from around them.
    """
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(tuple[Scenario], config=ConfigDict(strict=True, extra="forbid"))


def validate(document: dict[str, Any]) -> Validated:
    """The scenario that `document` stands for, with every mistake of form."""
    from pydantic import ValidationError

    mistakes = list(_unspeakable(document, ()))
    broken = [mistake.path for mistake in mistakes]
    draft = _replaced(document, broken)
    try:
        return Validated(_typed(draft), tuple(mistakes), tuple(broken))
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
    paths: list[KeyPath] = [detail["loc"][1:] for detail in details]
    mistakes += [_worded(path, detail) for path, detail in zip(paths, details, strict=True)]
    meant = [_meant_by(path) for path, detail in zip(paths, details, strict=True) if detail["type"] == UNKNOWN_KEY]
    return Validated(_typed(_replaced(draft, paths)), tuple(mistakes), (*broken, *paths, *filter(None, meant)))


def _typed(document: Any) -> Scenario:
    # By way of JSON, where pydantic's strictness takes a list for a tuple and a table for a dataclass.
    return scenario_adapter().validate_json(json.dumps([document]))[0]


def _unspeakable(value: Any, path: KeyPath) -> list[Mistake]:
    """TOML values that the run's files, which are JSON, cannot hold: dates, nan, huge integers, endless nesting."""
    if len(path) > DEPTH_MAX:
        return [Mistake(path[:DEPTH_MAX], f"nested more than {DEPTH_MAX} deep")]
    if isinstance(value, dict):
        return [mistake for key, item in value.items() for mistake in _unspeakable(item, (*path, key))]
    if isinstance(value, list):
        return [mistake for position, item in enumerate(value) for mistake in _unspeakable(item, (*path, position))]
    if isinstance(value, float) and not math.isfinite(value):
        return [Mistake(path, f"{value} is not a finite number")]
    if isinstance(value, int) and value not in INTEGERS:
        return [Mistake(path, "is not a 64-bit integer")]
    if not isinstance(value, (str, int, float)):
        return [Mistake(path, f"a date or time ({value}) has no place here; quote it if it is meant as text")]
    return []


def _worded(path: KeyPath, detail: ErrorDetails) -> Mistake:
    match detail["type"]:
        case _ if detail["type"] == UNKNOWN_KEY:
            return Mistake(path, unknown_key(str(path[-1]), _known_keys(path[:-1])))
        case "missing":
            return Mistake(path, "is required and missing")
        case "value_error":
            return Mistake(path, detail["msg"].removeprefix("Value error, "))
        case "dataclass_type" | "dict_type" | "mapping_type":
            return Mistake(path, f"should be a table, not {_shown(detail['input'])}")
        case _:
            text = detail["msg"].removeprefix("Input ").replace("valid array", "list")
            return Mistake(path, f"{text}, not {_shown(detail['input'])}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _meant_by(path: KeyPath) -> KeyPath | None:
    """The path an unknown key was probably meant for: its value is not known either."""
    meant = nearest(str(path[-1]), _known_keys(path[:-1]))
    return (*path[:-1], meant) if meant else None


def _replaced(document: dict[str, Any], broken: list[KeyPath]) -> dict[str, Any]:
    """A copy of `document` with a stand-in at each broken path; a key that its table does not have is left out."""
    copy: dict[str, Any] = _copied(document)
    for path in broken:
        parent: Any = copy
        for part in path[:-1]:
            parent = parent[part]
        table = _type_at(path[:-1])
        if isinstance(parent, dict) and _is_table(table) and path[-1] not in _hints(table):
            parent.pop(path[-1], None)
        else:
            parent[path[-1]] = _stand_in(_type_at(path))
    return copy


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _is_table(declared: Any) -> bool:
    return is_dataclass(declared)


@cache
def _hints(table: Any) -> Mapping[str, Any]:
    return get_type_hints(table, include_extras=True)


def _known_keys(path: KeyPath) -> list[str]:
    return [field.name for field in fields(_type_at(path))]


def _type_at(path: KeyPath) -> Any:
    """The declared type of the value at `path`; Any where the format is free."""
    declared: Any = Scenario
    for part in path:
        if _is_table(declared):
            declared = _hints(declared).get(str(part), Any)
        elif get_origin(declared) in (tuple, Mapping):
            declared = get_args(declared)[0 if isinstance(part, int) else 1]
        else:
            return Any
        declared = _without_none(declared)
    return declared


def _without_none(declared: Any) -> Any:
    if get_origin(declared) in (Union, types.UnionType):
        return next(option for option in get_args(declared) if option is not type(None))
    return declared


def _stand_in(declared: Any) -> Any:
    """The plainest JSON that `declared` accepts."""
    if _is_table(declared):
        required = (f for f in fields(declared) if f.default is MISSING and f.default_factory is MISSING)
        return {f.name: _stand_in(_without_none(_hints(declared)[f.name])) for f in required}
    origin = get_origin(declared)
    if origin is Annotated:
        return next(_example(unit) for unit in get_args(declared) if isinstance(unit, Unit))
    if origin is Literal:
        return get_args(declared)[0]
    if origin is not None:
        return [] if origin is tuple else {}
    return {bool: False, int: 1, float: 1.0}.get(declared, "?")


def _example(unit: Unit) -> str:
    return EXAMPLES[unit.kind].split('"')[1]
