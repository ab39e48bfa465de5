"""The JSON Schema of a scenario file, made from the types, so that editors complete and check while one types."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_args, get_type_hints

from harness.scenario import fleet, models, scenario, shapes
from harness.scenario.scenario import Scenario
from harness.scenario.units import Unit, render
from harness.scenario.validation import scenario_adapter

_FIELD_COMMENT = re.compile(r"^    (\w+): .*?  # (.+)$", re.MULTILINE)


def scenario_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a scenario file. Fields are described by their comments in the source."""
    wrapped = scenario_adapter().json_schema()
    definitions: dict[str, Any] = wrapped["$defs"]
    for name, definition in definitions.items():
        _describe(
            definition, next(vars(module)[name] for module in (scenario, models, shapes, fleet) if name in vars(module))
        )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **definitions.pop(Scenario.__name__),
        "$defs": definitions,
    }


def _describe(definition: dict[str, Any], declared: Any) -> None:
    """Add comments as descriptions, and write defaults the way a file must: `"30 s"`, not 30.0."""
    assert is_dataclass(declared), f"{declared} is in the schema but is not a dataclass"
    comments = dict(_FIELD_COMMENT.findall(inspect.getsource(declared)))  # type: ignore[arg-type]
    hints = get_type_hints(declared, include_extras=True)
    for field in fields(declared):
        told = definition["properties"][field.name]
        if comment := comments.get(field.name):
            form = told.get("description")
            told["description"] = f"{comment} ({form})" if form else comment
        unit = _unit(hints[field.name])
        if unit is not None and field.default is not MISSING and field.default is not None:
            default = field.default
            told["default"] = (
                [render(value, unit.kind) for value in default]
                if isinstance(default, tuple)
                else render(default, unit.kind)
            )


def _unit(hint: Any) -> Unit | None:
    """The unit of a field, or of the items of a list."""
    for argument in get_args(hint):
        if isinstance(argument, Unit):
            return argument
        if (unit := _unit(argument)) is not None:
            return unit
    return None
