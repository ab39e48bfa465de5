"""A request is read or refused: nothing that can be sent makes a dialect raise anything else."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.llm.canary import Canary, find_canary
from harness.llm.dialect import DIALECTS
from harness.llm.dialect.reading import attempt_of, bearer
from harness.llm.models import SERVED
from harness.llm.script import script
from harness.llm.wire import Asked, Dialect, Refused

KEY = {b"authorization": b"Bearer none", b"anthropic-version": b"2023-06-01"}
ALL = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=[dialect.api for dialect in DIALECTS.values()])
WORDS = [
    "model",
    "messages",
    "role",
    "user",
    "assistant",
    "system",
    "tool",
    "content",
    "type",
    "text",
    "tools",
    "function",
    "name",
    "parameters",
    "input_schema",
    "tool_choice",
    "auto",
    "any",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "stream",
    "stream_options",
    "include_usage",
    "n",
    "response_format",
    "json_schema",
    "schema",
    "json_object",
    "format",
    "input",
    "instructions",
    "tool_result",
    "tool_use",
    "tool_use_id",
    "tool_call_id",
    "tool_calls",
    "id",
    "arguments",
    "function_call",
    "function_call_output",
    "call_id",
    "output",
    "output_config",
    "temperature",
    "claude-haiku-4-5",
    "enum",
    "$ref",
]
LEAF = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=9)
)
VALUE = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5)
)
NEARLY: dict[str, Any] = {
    "model": "claude-haiku-4-5",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "x"}],
    "input": "x",
}


def outcome(dialect: Dialect, body: bytes, headers: dict[bytes, bytes] = KEY) -> Asked | Refused:
    """What reading ends in; anything but these two is raised, and fails the test."""
    try:
        return dialect.read(body, headers)
    except Refused as refused:
        status, _, _ = dialect.refusal(refused)
        assert 400 <= status < 500
        return refused


@ALL
@given(body=st.binary())
def test_any_bytes_are_read_or_refused(dialect: Dialect, body: bytes) -> None:
    """With a status of the client's own fault."""
    outcome(dialect, body)


@ALL
@given(body=st.dictionaries(st.sampled_from(WORDS), VALUE, max_size=8), nearly=st.booleans())
def test_any_json_is_read_or_refused_and_what_is_read_is_answered(
    dialect: Dialect, body: dict[str, Any], nearly: bool
) -> None:
    """Bodies out of the words that mean something; of those that are read, the answer can be written in both ways."""
    raw = json.dumps(NEARLY | body if nearly else body).encode()
    asked = outcome(dialect, raw)
    if isinstance(asked, Asked):
        scripted = script(asked, seed=1, model=SERVED["claude-haiku-4-5"], created=1)
        json.loads(dialect.whole(asked, scripted))
        stream = dialect.stream(asked, scripted, scripted.pieces)
        assert len(stream.chunks) == len(scripted.pieces)


@ALL
@given(headers=st.dictionaries(st.sampled_from([*KEY, b"x-api-key", b"x-stainless-retry-count"]), st.binary()))
def test_any_headers_are_read_or_refused(dialect: Dialect, headers: dict[bytes, bytes]) -> None:
    """A key is asked for before anything else."""
    found = outcome(dialect, json.dumps(NEARLY).encode(), headers)
    assert isinstance(found, Asked | Refused)


@ALL
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"model"',
        b"[" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"model": "' + b"\xff\xfe" + b'"}',
        b'{"model": "\\ud800"}',
        b'{"model": "\xed\xa0\x80"}',
        b'{"max_tokens": 1e999}',
        b'{"max_tokens": ' + b"9" * 10_000 + b"}",
        b'{"max_tokens": NaN}',
        b"\xef\xbb\xbf{}",
    ],
    ids=range(13),
)
def test_what_is_not_json_is_a_bad_request(dialect: Dialect, body: bytes) -> None:
    """Deep nesting, numbers without bound, lone surrogates and broken UTF-8 among it."""
    found = outcome(dialect, body)
    assert isinstance(found, Refused)
    assert found.kind == "bad_request"


@ALL
def test_what_is_giant_is_refused_before_it_costs(dialect: Dialect) -> None:
    """Messages without end, objects without end, a name as long as a book: each with its reason."""
    turn = {"role": "user", "content": "x"}
    for change, reason in (
        ({"messages": [turn] * 100_001, "input": [turn] * 100_001}, "maximum length 100000"),
        ({"surprise": [{}] * 2_000_001}, "too many objects"),
        ({"model": "m" * 1000}, "maximum length 512"),
    ):
        found = outcome(dialect, json.dumps(NEARLY | change).encode())
        assert isinstance(found, Refused)
        assert reason in found.message
        assert len(found.message) < 300


@ALL
def test_what_could_be_read_can_be_written_again(dialect: Dialect) -> None:
    """A schema nested as deeply as can be read is echoed in Responses, also by who is further down the stack."""

    def deeper(frames: int, work: Callable[[], bytes]) -> bytes:
        return deeper(frames - 1, work) if frames else work()

    found = []
    for depth in range(700, 1000):
        schema = '{"a":' * depth + "1" + "}" * depth
        function = f'"name":"f","parameters":{schema}'
        kind = "custom" if dialect.api == "anthropic.messages" else "function"
        tool = f'{{"type":"{kind}",{function},"input_schema":{schema},"function":{{{function}}}}}'
        body = json.dumps(NEARLY)[:-1] + f',"tools":[{tool}]}}'
        asked = outcome(dialect, body.encode())
        found.append(isinstance(asked, Asked))
        if isinstance(asked, Asked):
            scripted = script(asked, seed=1, model=SERVED["claude-haiku-4-5"], created=1)
            assert deeper(40, partial(dialect.whole, asked, scripted))
    assert any(found)


def test_a_prompt_of_nothing_but_marks_is_given_up() -> None:
    """The last thousand of what looks like a canary are looked at, and no more."""
    canary = Canary(workflow="10-1")
    assert find_canary(f"{canary}" + "[harness x] " * 999) == canary
    assert find_canary(f"{canary}" + "[harness x] " * 1000) is None


@ALL
def test_a_count_beyond_all_models_is_still_a_count(dialect: Dialect) -> None:
    """It is bounded, so that arithmetic with it is."""
    body = NEARLY | {"max_tokens": 10**30, "max_completion_tokens": 10**30, "max_output_tokens": 10**30}
    found = outcome(dialect, json.dumps(body).encode())
    assert isinstance(found, Asked)
    assert found.max_tokens == 10**9


def test_the_headers_of_an_sdk_are_understood() -> None:
    """The attempt and the key; what cannot be read is as good as not said."""
    assert [attempt_of({b"x-stainless-retry-count": said}) for said in (b"2", b"-1", b"x", b"")] == [2, 0, 0, 0]
    keys = (b"Bearer k", b"bearer  k ", b"Basic k", b"Bearer", b"")
    assert [bearer({b"authorization": key}) for key in keys] == [b"k", b"k", b"", b"", b""]
