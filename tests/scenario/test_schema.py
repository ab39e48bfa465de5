"""The JSON Schema that editors read."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from harness.scenario.loading import scenario_schema
from harness.scenario.scenario import Load, Scenario

SHIPPED = sorted((Path(__file__).parents[2] / "scenarios").glob("*.toml"))


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return scenario_schema()


def test_the_top_is_a_scenario(schema: dict[str, Any]) -> None:
    """Every key is there, the needed ones are required, and the whole is plain JSON."""
    assert schema["title"] == "Scenario"
    assert set(schema["properties"]) == {field.name for field in fields(Scenario)}
    assert set(schema["required"]) == {"name", "description", "load", "workflow"}
    assert json.loads(json.dumps(schema, allow_nan=False)) == schema


def test_tables_are_closed_and_described(schema: dict[str, Any]) -> None:
    """An editor can mark an unknown key, and tell what a table is for."""
    for definition in (schema, *schema["$defs"].values()):
        assert definition["additionalProperties"] is False
        assert definition["description"]


def test_fields_carry_their_comments_and_defaults_as_written(schema: dict[str, Any]) -> None:
    """Hovering over a key shows its comment; completing it inserts a value that the loader takes."""
    load = schema["$defs"][Load.__name__]["properties"]
    assert load["until_ok"]["description"] == "end `measure` early once this many workflows of it were ok"
    assert load["drain"]["default"] == "30 s"
    assert load["step_shares"]["default"] == ["25 %", "50 %", "75 %", "100 %"]


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(item)


def test_every_reference_leads_somewhere_and_every_default_fits_its_pattern(schema: dict[str, Any]) -> None:
    """No dangling $ref after the top was taken out of the definitions, and no default that the schema refuses."""
    for node in nodes(schema):
        if reference := node.get("$ref"):
            assert reference.removeprefix("#/$defs/") in schema["$defs"]
        if "pattern" in node and "default" in node:
            assert re.search(node["pattern"], node["default"]), node


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_scenarios_use_only_keys_of_the_schema(schema: dict[str, Any], path: Path) -> None:
    """The schema and the files agree on keys, table by table."""

    def walk(value: Any, declared: dict[str, Any]) -> None:
        if reference := declared.get("$ref") or next((o["$ref"] for o in declared.get("anyOf", ()) if "$ref" in o), ""):
            declared = schema["$defs"][reference.removeprefix("#/$defs/")]
        if isinstance(value, dict):
            for key, item in value.items():
                inner = declared.get("properties", {}).get(key, declared.get("additionalProperties"))
                assert inner, f"{key} is not in the schema"
                walk(item, inner)
        elif isinstance(value, list):
            for item in value:
                walk(item, declared["items"])
        elif "pattern" in declared:
            assert re.search(declared["pattern"], value)

    walk(tomllib.loads(path.read_text()), schema)
