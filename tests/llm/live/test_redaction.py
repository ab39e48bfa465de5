"""Secrets go out, wherever they lie; what is none stays."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.llm.live.redaction import Redaction

KEY = "a-key-of-no-known-form"
REDACTION = Redaction([KEY, KEY[:9], ""])
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLW9m"


@pytest.mark.parametrize(
    "secret",
    [
        KEY, "sk-proj-abcdefghijklmnop1234", "sk-ant-api03-abcdefghijklmnop", "sk-proj-********************wxyz", JWT,
        "Bearer abcdefghijklmnop", "AKIAIOSFODNN7EXAMPLE", "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    ],
)  # fmt: skip
def test_a_secret_is_removed(secret: str) -> None:
    """And nothing around it."""
    assert REDACTION.text(f"before {secret} after") == "before [removed] after"
    assert REDACTION.text(rf"before\n{secret}\nafter") == r"before\n[removed]\nafter"


@pytest.mark.parametrize(
    "text",
    ['{"api_key": "hunter-two-22"}', "API_KEY=hunter-two-22", r'{\"apiKey\": \"hunter-two-22\"}',
     "password: hunter-two-22", "'x-api-key': 'hunter-two-22'", "OPENAI_API_KEY=hunter-two-22",
     "AWS_SECRET_ACCESS_KEY=hunter-two-22"],
)  # fmt: skip
def test_what_a_name_says_is_secret_is_removed(text: str) -> None:
    """The name stays."""
    assert REDACTION.text(text) == text.replace("hunter-two-22", "[removed]")


@pytest.mark.parametrize(
    "text",
    ["a task-oriented summary of sk", '{"max_tokens": 100000}', "the password was changed", "risk-free", "[removed]"],
)
def test_ordinary_text_stays(text: str) -> None:
    """Words that merely look a little like it."""
    assert REDACTION.text(text) == text


@given(st.lists(st.integers(0, 80), max_size=10))
def test_a_secret_across_pieces_goes_out_of_all(cuts: list[int]) -> None:
    """However the text is cut: joined, the pieces are the text without it, and there are as many."""
    text = f"one {KEY} two sk-abcdefghijkl three"
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(places)]
    clean = REDACTION.pieces(pieces)
    assert len(clean) == len(pieces)
    assert "".join(clean) == "one [removed] two [removed] three"


def test_json_is_cleaned_in_values_names_and_behind_names() -> None:
    """At any depth; numbers and truths are left alone."""
    value = {"a": [f"x {KEY}", 1, None, True], KEY: 2, "password": "short", "deep": {"authorization": "any"}}
    clean = REDACTION.json(value)
    assert clean == {
        "a": ["x [removed]", 1, None, True],
        "[removed]": 2,
        "password": "[removed]",
        "deep": {"authorization": "[removed]"},
    }
    assert KEY not in json.dumps(clean)
