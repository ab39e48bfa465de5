"""Whatever is done to a scenario file, it loads or its mistakes are listed: never another exception."""

from __future__ import annotations

import datetime
import json
import re
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.scenario.loading import Known, load_scenario
from harness.scenario.mistakes import dotted
from harness.scenario.scenario import Scenario

KNOWN = Known(targets={"embedded", "http"}, models={"haiku-4.5"})
SHIPPED = sorted((Path(__file__).parents[2] / "scenarios").glob("*.toml"))
HTTP = """\
name = "x"
description = "A service that is asked until it is done."
target = "http"
load = { open = ["6/s"], arrivals = "steps", step_shares = ["50 %", "100 %"] }
workflow = [{ kind = "question", input = { text = "Why?" } }]
watch = { port = 8000 }
[http]
submit = { url = "http://127.0.0.1:8000/jobs", headers = { x-id = "{id}" }, json = { q = "{input.text}" } }
poll = { url = "http://localhost/{id}", until = { "/status" = ["done", "failed"] }, ok = { "/status" = "done" } }
expect = { "/output" = "exists", "/id" = { equals = "{id}" }, "" = { python = "rules:whole" } }
"""
MISTAKE = re.compile(r"\S+/x\.toml(:\d+)?: (?P<path>.+?): .+", re.DOTALL)

documents = st.sampled_from([tomllib.loads(HTTP), *(tomllib.loads(path.read_text()) for path in SHIPPED)])
scalars = st.one_of(
    st.text(max_size=20),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.dates(),
    st.datetimes(),
    st.sampled_from(
        ["5 s", "1 MiB", "50 %", "6/s", "embedded", "python:a:b", "sequential", "{input.x}", "http://[", "/a"]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
)


def toml_value(value: Any) -> str:
    """`value` as an inline TOML value."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_value(str(key))} = {toml_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (bool, int)):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value) if repr(value) in ("nan", "inf", "-inf") else f"{value:.17e}"
    assert isinstance(value, datetime.date)
    return value.isoformat()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path of a document, its top excepted."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


@st.composite
def mutated_documents(draw: st.DrawFn) -> dict[str, Any]:
    """A sound document after one to three changes: a value replaced or removed, a key added or renamed."""
    document: dict[str, Any] = json.loads(json.dumps(draw(documents))) | {"name": "x"}
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(document))))
        parent: Any = document
        for key in path[:-1]:
            parent = parent[key]
        change = draw(st.sampled_from(["replace", "remove", "add", "rename"]))
        if change == "replace":
            parent[path[-1]] = draw(values)
        elif change == "remove" and len(document) > 1:
            del parent[path[-1]]
        elif change == "add" and isinstance(parent, dict):
            parent[draw(st.text(max_size=8))] = draw(values)
        elif change == "rename" and isinstance(parent, dict):
            parent[path[-1] + draw(st.sampled_from("sx"))] = parent.pop(path[-1])
    return document


def load(text: str) -> Scenario:
    """The scenario that `text` describes as the file x.toml."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.toml")
        path.write_bytes(text.encode())
        return load_scenario(path, known=KNOWN)


def mistakes_in(text: str) -> tuple[str, ...]:
    """What the loader complains about; empty when the text loads. Any other exception goes on to the test."""
    try:
        load(text)
    except UsageError as error:
        return error.mistakes or ("a UsageError without a mistake",)
    return ()


@given(mutated_documents())
def test_a_changed_scenario_loads_or_its_mistakes_name_their_key_paths(document: dict[str, Any]) -> None:
    """Every mistake names the file and a key path that begins with a key of the document or of the format."""
    text = "".join(f"{toml_value(key)} = {toml_value(value)}\n" for key, value in document.items())
    assert tomllib.loads(text).keys() == document.keys()
    known = {*document, *Scenario.__dataclass_fields__}
    for mistake in mistakes_in(text):
        match = MISTAKE.fullmatch(mistake)
        assert match, mistake
        assert any(match["path"].startswith(dotted((key,))) for key in known), mistake


@given(st.sampled_from([HTTP, *(path.read_text() for path in SHIPPED)]), st.data())
def test_a_damaged_text_loads_or_is_refused(text: str, data: st.DataObject) -> None:
    """Cutting a piece out of the file, or writing anything into it, ends in a scenario or in a UsageError."""
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 40, len(text))))
    damaged = text[:start] + data.draw(st.text(st.characters(codec="utf-8"), max_size=10)) + text[end:]
    assert all("x.toml" in mistake for mistake in mistakes_in(damaged))


@given(st.integers(-10, 10**6), st.sampled_from(["us", "ms", "s", "min", "h"]))
@example(0, "s")
@example(168, "h")
@example(169, "h")
def test_a_duration_is_taken_exactly_when_it_is_above_zero_and_within_a_week(amount: int, unit: str) -> None:
    """The `measure` of a scenario accepts every such duration in every unit, and no other."""
    text = HTTP.replace('open = ["6/s"]', f'open = ["6/s"], measure = "{amount} {unit}"')
    if 0 < amount * {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600}[unit] <= 7 * 24 * 3600:
        assert load(text).load.measure > 0
    else:
        with pytest.raises(UsageError, match=r"load\.measure: "):
            load(text)
