"""Reading an answer as it goes by: in every form, however the network cut it."""

from __future__ import annotations

from hashlib import blake2b
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.llm.dialect import DIALECTS
from harness.llm.live.answers import AnswerReader
from harness.llm.prices import Price
from harness.llm.wire import Asked, Dialect, Refused, Scripted, ToolCall

PIECES = ("The ", "dïsk", ' is "full"\n', "€")
TEXT = "".join(PIECES)
TOOL = ToolCall(id="1", name="report", arguments='{"finding":"0f"}')
ALL = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=[dialect.api for dialect in DIALECTS.values()])


def asked_of(dialect: Dialect, *, stream: bool) -> Asked:
    """A request for an answer."""
    return Asked(api=dialect.api, model="m", text="", input_tokens=7, stream=stream, include_usage=True)


def scripted(pieces: tuple[str, ...] = PIECES, tool: ToolCall | None = None) -> Scripted:
    """An answer."""
    return Scripted(
        id="1", created=1, pieces=pieces, tool=tool, finish="tool" if tool is not None else "stop", input_tokens=7
    )


def streamed(dialect: Dialect, answer: Scripted) -> list[bytes]:
    """Its events."""
    stream = dialect.stream(asked_of(dialect, stream=True), answer, answer.pieces)
    return [stream.opening, *stream.chunks, stream.finishing, stream.closing]


def read(dialect: Dialect, parts: list[bytes], *, stream: bool) -> AnswerReader:
    """What a reader makes of it."""
    reader = AnswerReader(dialect.api, stream=stream)
    for part in parts:
        reader.feed(part)
    reader.end()
    return reader


@ALL
@given(cuts=st.lists(st.integers(0, 3000), max_size=12))
def test_a_stream_is_read_wherever_it_is_cut(dialect: Dialect, cuts: list[int]) -> None:
    """Text, tokens, end and digest come out, even when characters are cut in two."""
    whole = b"".join(streamed(dialect, scripted()))
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    reader = read(dialect, [whole[a:b] for a, b in pairwise(places)], stream=True)
    assert reader.text == TEXT
    assert (reader.input_tokens, reader.output_tokens, reader.finished) == (7, 4, True)
    assert reader.digest == blake2b(TEXT.encode(), digest_size=16).hexdigest()
    assert reader.cost_usd(Price(1.0, 10.0)) == pytest.approx(47e-6)


@ALL
def test_an_answer_in_one_piece_is_read(dialect: Dialect) -> None:
    """As a stream is."""
    body = dialect.whole(asked_of(dialect, stream=False), scripted())
    reader = read(dialect, [body[:20], body[20:]], stream=False)
    assert (reader.text, reader.input_tokens, reader.output_tokens, reader.finished) == (TEXT, 7, 4, True)


@ALL
@pytest.mark.parametrize("stream", [True, False])
def test_the_arguments_of_a_tool_are_the_text(dialect: Dialect, stream: bool) -> None:
    """They carry the finding where a tool is called."""
    answer = scripted(('{"finding"', ':"0f"}'), TOOL)
    parts = streamed(dialect, answer) if stream else [dialect.whole(asked_of(dialect, stream=False), answer)]
    reader = read(dialect, parts, stream=stream)
    assert msgspec.json.decode(reader.text) == {"finding": "0f"}
    assert reader.finished


@ALL
def test_a_stream_that_breaks_off_has_neither_end_nor_price(dialect: Dialect) -> None:
    """What came is counted piece by piece, at least."""
    reader = read(dialect, streamed(dialect, scripted())[:3], stream=True)
    assert reader.began
    assert not reader.finished
    assert reader.text == "".join(PIECES[:2])
    assert reader.cost_usd(Price(1.0, 1.0)) is None


@ALL
def test_the_token_is_there_with_the_first_text_and_not_before(dialect: Dialect) -> None:
    """A stream's opening holds none."""
    opening, first, *_ = streamed(dialect, scripted())
    reader = AnswerReader(dialect.api, stream=True)
    reader.feed(opening)
    assert not reader.began
    reader.feed(first)
    assert reader.began


@ALL
def test_the_providers_word_for_an_error_is_found(dialect: Dialect) -> None:
    """In a refusal, and in the middle of a stream."""
    overloaded = Refused("overloaded", "too many")
    _, _, body = dialect.refusal(overloaded)
    whole = read(dialect, [body], stream=False)
    within = read(dialect, [*streamed(dialect, scripted())[:2], dialect.error_event(overloaded)], stream=True)
    assert "overloaded" in whole.error
    assert "overloaded" in within.error
    assert not within.finished


@ALL
@given(junk=st.binary(max_size=200), stream=st.booleans())
def test_junk_is_passed_over(dialect: Dialect, junk: bytes, stream: bool) -> None:
    """Whatever a proxy in between may send: it is no answer, and no error of ours."""
    assert not read(dialect, [junk, b"\ndata: ", junk, b"\n"], stream=stream).finished


def test_what_went_into_the_cache_costs_more() -> None:
    """Five minutes a quarter more, an hour twice; what was read from it counts in full."""
    usage = {
        "input_tokens": 10, "cache_creation_input_tokens": 300, "cache_read_input_tokens": 50, "output_tokens": 1,
        "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
    }  # fmt: skip
    reader = AnswerReader("anthropic.messages", stream=False)
    said = {"type": "message", "content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn", "usage": usage}
    reader.feed(msgspec.json.encode(said))
    reader.end()
    assert reader.input_tokens == 360
    assert reader.cost_usd(Price(1e6, 0.0)) == pytest.approx(10 + 50 + 125 + 400)
