"""Values that a JSON Schema allows, and schemas that nobody should have written."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from harness.llm.schema import example, is_free_text

KEYWORDS = st.sampled_from(
    [
        "type",
        "properties",
        "required",
        "items",
        "enum",
        "const",
        "anyOf",
        "oneOf",
        "allOf",
        "$ref",
        "$defs",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minItems",
        "maxItems",
        "prefixItems",
        "minLength",
        "maxLength",
        "format",
        "a",
        "finding",
    ]
) | st.text(max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYWORDS, inner, max_size=6),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "text"),
        ({"type": "string", "minLength": 6}, "textxx"),
        ({"type": "string", "maxLength": 2}, "te"),
        ({"type": "string", "format": "date-time"}, "2026-01-01T00:00:00Z"),
        ({"type": "string", "format": "unheard-of"}, "text"),
        ({"enum": ["red", "green"]}, "red"),
        ({"const": 5}, 5),
        ({"type": "integer"}, 1),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "maximum": -5}, -5),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "integer", "exclusiveMaximum": 0}, -1),
        ({"type": "integer", "multipleOf": 7, "minimum": 8}, 14),
        ({"type": "number", "minimum": 0.25, "maximum": 0.5}, 0.25),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.0001}, 0.00005),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["null", "integer"]}, 1),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"type": "array", "maxItems": 0}, []),
        ({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}]}, [1, 2]),
        ({"type": "object"}, {}),
        ({"properties": {"a": {"type": "integer"}}}, {"a": 1}),
        ({"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}}, "required": ["b"]}, {"b": 2}),
        ({"anyOf": [{"const": 1}, {"const": 2}]}, 1),
        ({"oneOf": [{"const": 1}, {"const": 2}]}, 1),
        ({"$defs": {"a": {"const": 1}}, "type": "object", "properties": {"x": {"$ref": "#/$defs/a"}}}, {"x": 1}),
        ({"definitions": {"a/b": {"const": 1}}, "$ref": "#/definitions/a~1b"}, 1),
        (
            {"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}], "properties": {"b": {"const": 2}},
             "required": ["b"]},
            {"a": 1, "b": 2},
        ),
    ],
)  # fmt: skip
def test_each_keyword_is_obeyed(schema: dict[str, Any], value: Any) -> None:
    """With the simplest value that it allows."""
    found = example(schema, {})
    assert found == pytest.approx(value) if isinstance(value, float) else found == value
    assert type(found) is type(value)


class Part(BaseModel):
    """A part of what follows."""

    name: str = Field(min_length=3)
    weight: float = Field(gt=0, le=1)


class Order(BaseModel):
    """What a caller could ask for: its schema has references, alternatives and bounds."""

    finding: str | None
    parts: list[Part] = Field(min_length=2)
    by_name: dict[str, int]
    note: str | None = None


def test_pydantic_takes_what_its_own_schema_asked_for() -> None:
    """The finding stands where the schema has a place for it, also where it could be null."""
    order = Order.model_validate(example(Order.model_json_schema(), {"finding": "abc"}))
    assert (order.finding, len(order.parts)) == ("abc", 2)


def test_a_finding_goes_only_where_text_can_be() -> None:
    """A property of that name with a type, a word or a constant of its own keeps to it; an optional one is given."""
    for part, value in (({"type": "integer"}, 1), ({"enum": ["x"]}, "x"), ({"const": 2}, 2), ({"type": "string"}, "f")):
        assert example({"type": "object", "properties": {"finding": part}, "required": []}, {"finding": "f"}) == {
            "finding": value
        }


def test_a_schema_without_an_end_ends() -> None:
    """References to themselves, and references that double with each step, stay small."""
    endless = {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}
    assert example(endless, {}) is None
    names = [f"p{number}" for number in range(10)]
    levels = {
        f"l{depth}": {"type": "object", "properties": {name: {"$ref": f"#/$defs/l{depth + 1}"} for name in names}}
        for depth in range(12)
    }
    found = example({"$defs": levels, "$ref": "#/$defs/l0"}, {})
    assert len(msgspec.json.encode(found)) < 1_000_000
    assert len(example({"type": "string", "minLength": 10**12}, {})) == 10_000
    assert len(example({"type": "array", "minItems": 10**12}, {})) == 100


@given(JSON)
def test_no_schema_makes_it_raise(schema: Any) -> None:
    """Whatever stands in it, the value can be written as JSON."""
    root = schema if isinstance(schema, dict) else {"type": "object", "properties": {"a": schema}}
    msgspec.json.encode(example(root, {"finding": "f"}))


def test_free_text_is_a_string_without_conditions() -> None:
    """What is filled up must not break a rule."""
    assert is_free_text({"type": "string", "description": "any"})
    for schema in ({"type": "string", "maxLength": 5}, {"type": "string", "enum": ["a"]}, {"type": "integer"}, "x"):
        assert not is_free_text(schema)
