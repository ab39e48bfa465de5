"""Request templates fill in the parts of a workflow and keep their JSON types."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import UsageError
from harness.target.target import WorkflowRequest
from harness.target.template import json_template, text_template, url_template

REQUEST = WorkflowRequest("10-3", "question", 42, 5.0, {"text": "why/how?", "depth": 2, "tags": ["a", "b"]})


@pytest.mark.parametrize(
    ("tree", "filled"),
    [
        ("{id}", "10-3"),
        ("{seed}", 42),
        ("{input}", {"text": "why/how?", "depth": 2, "tags": ["a", "b"]}),
        ("{input.depth}", 2),
        ("{input.tags}", ["a", "b"]),
        ("depth {input.depth} of {input.tags}", 'depth 2 of ["a","b"]'),
        ({"a": ["{kind}", 1, None, True]}, {"a": ["question", 1, None, True]}),
        ("plain {{braces}}", "plain {braces}"),
        ("{{id}}", "{id}"),
    ],
)
def test_fills_json(tree: Any, filled: Any) -> None:
    """One placeholder alone keeps its type; inside a text it is text."""
    assert json_template(tree)(REQUEST) == filled


def test_values_cannot_change_the_shape_of_a_url() -> None:
    """A slash or a question mark in a value is data."""
    assert url_template("http://h:1/a/{input.text}?q={id}")(REQUEST) == "http://h:1/a/why%2Fhow%3F?q=10-3"


def test_texts_are_always_text() -> None:
    """A header that is one placeholder is a string all the same."""
    assert text_template("{seed}")(REQUEST) == "42"


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ("{ids}", "placeholder 'ids' is unknown; did you mean 'id'"),
        ({"deep": ["{}"]}, "placeholder '' is unknown"),
        ("a { b", "a lone '{'; write '{{'"),
        ("a } b", "a lone '}'; write '}}'"),
    ],
)
def test_refuses_what_it_does_not_know(tree: Any, message: str) -> None:
    """When the template is compiled, long before any load."""
    with pytest.raises(UsageError, match=message):
        json_template(tree)


def test_names_the_workflow_whose_input_lacks_a_key() -> None:
    """The mistake is in one workflow of several."""
    with pytest.raises(UsageError, match="the input of workflow 'question' has no key 'nope'"):
        json_template("{input.nope}")(REQUEST)
