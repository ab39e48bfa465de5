"""A value that a JSON Schema allows: what a model would answer that was given one.

It reads what the providers let a caller use: object, array, string, number, integer, boolean, null, enum, const,
anyOf, oneOf, allOf and $ref into the schema itself. `pattern` is not read, nor is what compares several properties.
A schema is input from outside: nothing in it makes this raise, and size and depth are bounded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_DEPTH_MAX = 24
_VALUES_MAX = 10_000
_LENGTH_MAX = 10_000
_ITEMS_MAX = 100
_NUMBER_MAX = 1e15  # from there on not every integer is a float
_STEP_MIN = 1e-9
_FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "agent@example.org",
    "hostname": "example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def example(schema: Mapping[str, Any], named: Mapping[str, str]) -> Any:
    """A value of that schema. Properties called as in `named` get that text, if text can be theirs at all."""
    return _Writer(schema, named).value(schema, 0)


def is_free_text(schema: Any) -> bool:
    """Whether any string will do."""
    if not isinstance(schema, Mapping) or not _is_type(schema, "string"):
        return False
    return not schema.keys() & {"enum", "const", "format", "maxLength", "pattern"}


def _takes_text(schema: Any) -> bool:
    if not isinstance(schema, Mapping) or schema.keys() & {"enum", "const"}:
        return not isinstance(schema, Mapping)
    alternatives = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(alternatives, list):
        return any(_is_type(part, "string") for part in alternatives if isinstance(part, Mapping))
    return "type" not in schema or _is_type(schema, "string")


def _is_type(schema: Mapping[str, Any], kind: str) -> bool:
    said = schema.get("type")
    return said == kind or (isinstance(said, list) and kind in said)


class _Writer:
    """Writes one value. `left` bounds what references to references could blow up."""

    def __init__(self, root: Mapping[str, Any], named: Mapping[str, str]) -> None:
        self.root = root
        self.named = named
        self.left = _VALUES_MAX

    def value(self, schema: Any, depth: int) -> Any:
        """A value for a part of the schema."""
        self.left -= 1
        if not isinstance(schema, Mapping) or depth > _DEPTH_MAX or self.left < 0:
            return None
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return schema["enum"][0]
        if isinstance(schema.get("$ref"), str):
            return self.value(self._referred(schema["$ref"]), depth + 1)
        for alternatives in ("anyOf", "oneOf"):
            if isinstance(schema.get(alternatives), list) and schema[alternatives]:
                return self.value(schema[alternatives][0], depth + 1)
        if isinstance(schema.get("allOf"), list) and schema["allOf"]:
            return self.value(self._merged(schema), depth + 1)
        return self._typed(schema, depth)

    def _typed(self, schema: Mapping[str, Any], depth: int) -> Any:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((word for word in kind if word != "null"), "null")
        if kind == "object" or (kind is None and "properties" in schema):
            return self._object(schema, depth)
        if kind == "array" or (kind is None and "items" in schema):
            return self._array(schema, depth)
        if kind == "string":
            return _string(schema)
        if kind in ("integer", "number"):
            return _number(schema, whole=kind == "integer")
        return {"boolean": True, None: {}}.get(kind) if isinstance(kind, str | None) else None

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        if not isinstance(properties, Mapping):
            properties = {}
        required = schema.get("required")
        names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else properties
        wanted = dict.fromkeys([*names, *(name for name in properties if name in self.named)])
        found = {}
        for name in wanted:
            part = properties.get(name, {})
            if self.left < 0:
                break
            if name in self.named and _takes_text(part):
                found[name] = self.named[name]
            else:
                found[name] = self.value(part, depth + 1)
        return found

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        first = schema.get("prefixItems")
        parts = list(first[:_ITEMS_MAX]) if isinstance(first, list) else []
        least = schema.get("minItems", 0 if schema.get("maxItems") == 0 else 1)
        least = min(least, _ITEMS_MAX) if isinstance(least, int) else 1
        parts += [schema.get("items", {})] * (least - len(parts))
        return [self.value(part, depth + 1) for part in parts if self.left >= 0]

    def _referred(self, reference: str) -> Any:
        found: Any = self.root
        if not reference.startswith("#"):
            return None
        for part in filter(None, reference[1:].split("/")):
            if not isinstance(found, Mapping):
                return None
            found = found.get(part.replace("~1", "/").replace("~0", "~"))
        return found

    def _merged(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        merged: dict[str, Any] = {name: value for name, value in schema.items() if name != "allOf"}
        for part in schema["allOf"][:_ITEMS_MAX]:
            resolved = part
            for _ in range(_DEPTH_MAX):
                if not isinstance(resolved, Mapping) or not isinstance(resolved.get("$ref"), str):
                    break
                resolved = self._referred(resolved["$ref"])
            for name, value in resolved.items() if isinstance(resolved, Mapping) else ():
                if name == "properties" and isinstance(value, Mapping) and isinstance(merged.get(name), Mapping):
                    merged[name] = {**merged[name], **value}
                elif name == "required" and isinstance(value, list) and isinstance(merged.get(name), list):
                    merged[name] = [*merged[name], *value]
                else:
                    merged[name] = value
        return merged


def _string(schema: Mapping[str, Any]) -> str:
    said = schema.get("format")
    text = _FORMATS.get(said, "text") if isinstance(said, str) else "text"
    least, most = schema.get("minLength"), schema.get("maxLength")
    if isinstance(least, int):
        text = text.ljust(min(least, _LENGTH_MAX), "x")
    return text[: max(0, most)] if isinstance(most, int) else text


def _number(schema: Mapping[str, Any], *, whole: bool) -> int | float:
    """1 where that is allowed, else what is near to a bound; 1 too where nothing is."""
    least, over = _bound(schema, "minimum", -math.inf), _bound(schema, "exclusiveMinimum", -math.inf)
    most, under = _bound(schema, "maximum", math.inf), _bound(schema, "exclusiveMaximum", math.inf)
    step = max(0.0, _bound(schema, "multipleOf", 0.0)) or float(whole)
    low, high = max(least, over), min(most, under)
    near = [value for value in (1.0, low, high, (low + high) / 2, low + 1, high - 1) if math.isfinite(value)]
    if step > _STEP_MIN:
        near = [(round(value / step) + aside) * step for value in near for aside in (0, 1, -1)]
    found = next((value for value in near if least <= value <= most and over < value < under), 1.0)
    return int(found) if whole else found


def _bound(schema: Mapping[str, Any], name: str, without: float) -> float:
    value = schema.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _NUMBER_MAX:
        return without
    return value
