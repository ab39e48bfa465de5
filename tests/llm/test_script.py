"""What the simulated model answers: pure, as long as asked, and with the finding in the right place."""

from __future__ import annotations

import json
import math
import statistics
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.llm.canary import Canary
from harness.llm.models import SERVED
from harness.llm.script import ANSWER_LN_TOKENS, TOKEN_CHARACTERS, script
from harness.llm.wire import Asked, Scripted, Tool

MODEL = SERVED["gpt-4o-mini"]
FINDING = "0123456789abcdef0123456789abcdef"
CANARY = Canary(workflow="10-17", agent="data", step="data-1", finding=FINDING, tokens=60)
ASKED = Asked(api="openai.chat", model="gpt-4o-mini", text="", input_tokens=300, canary=CANARY, digest="d")
SCHEMA = {
    "type": "object",
    "properties": {"finding": {"type": "string"}, "summary": {"type": "string"}, "sure": {"type": "boolean"}},
    "required": ["finding", "summary", "sure"],
}


FORMS = st.sampled_from(["text", "json", "tool"])


def answer(**changed: Any) -> Scripted:
    """The answer to a request that differs in this."""
    return script(msgspec.structs.replace(ASKED, **changed), seed=1, model=MODEL, created=7)


def long(tokens: int, finding: str) -> Canary:
    """A canary that asks for so many tokens."""
    return Canary(workflow="10-17", agent="data", step="data-1", finding=finding, tokens=tokens)


@given(tokens=st.integers(0, 300), max_tokens=st.none() | st.integers(1, 200), form=FORMS)
def test_an_answer_has_the_length_that_was_asked_for(tokens: int, max_tokens: int | None, form: str) -> None:
    """To the token; JSON is never shorter than it can be, and nothing is longer than its limit, which cuts it."""
    least = 1 if form == "text" else 13 if form == "json" else 18
    asked: dict[str, Any] = {"canary": long(tokens, "" if form == "text" else FINDING)}
    if form == "tool":
        asked["tools"] = (Tool("report", SCHEMA),)
    scripted = answer(**asked, max_tokens=max_tokens)
    limit = max_tokens or MODEL.output_tokens_max
    shortest = len(answer(**asked | {"canary": long(1, asked["canary"].finding)}).pieces)
    assert least <= shortest <= 20
    assert len(scripted.pieces) == min(max(tokens, shortest), limit)
    assert (scripted.finish == "length") == (max(tokens, shortest) > limit)
    assert all(len(piece) == TOKEN_CHARACTERS for piece in scripted.pieces[:-1])
    if form != "text" and scripted.finish != "length":
        assert json.loads(scripted.text)["finding"] == FINDING


def test_it_is_a_function_of_seed_and_call() -> None:
    """The same again for the same; other words for another seed, step or attempt; the order of calls is nothing."""
    same = answer()
    assert answer() == same
    others = [
        script(ASKED, seed=2, model=MODEL, created=7),
        answer(attempt=1),
        answer(canary=Canary(workflow="10-17", agent="data", step="data-2", finding=FINDING, tokens=60)),
    ]
    assert len({same.text, *(other.text for other in others)}) == 4
    assert len({same.id, *(other.id for other in others)}) == 4


def test_two_requests_never_share_an_id() -> None:
    """Not even the same prompt asked twice, nor the two calls of a tool loop, which have one canary."""
    again = script(ASKED, seed=1, model=MODEL, created=7, nth=1)
    later = script(ASKED, seed=1, model=MODEL, created=8)
    assert again.text == later.text == answer().text
    assert len({answer().id, again.id, later.id, answer(digest="e").id}) == 4


def test_a_tool_that_was_offered_is_called_with_the_finding() -> None:
    """The first one, or the one that was chosen; its arguments follow its schema and fill up the length."""
    tools = (Tool("other", {"type": "object", "properties": {"n": {"type": "integer"}}}), Tool("report", SCHEMA))
    first, chosen = answer(tools=tools), answer(tools=tools, tool_choice="report")
    assert first.tool is not None
    assert (first.tool.name, json.loads(first.tool.arguments)) == ("other", {"n": 1})
    assert chosen.tool is not None
    assert (chosen.tool.name, chosen.finish, chosen.tool.arguments) == ("report", "tool", chosen.text)
    arguments = json.loads(chosen.text)
    assert (arguments["finding"], arguments["sure"], len(chosen.pieces)) == (FINDING, True, 60)


def test_no_tool_is_called_when_none_may_be_or_one_has_answered() -> None:
    """So that a loop ends, whatever else is said; the text then carries the finding."""
    tools = (Tool("report", SCHEMA),)
    for changed in ({"tool_choice": "none"}, {"after_tool": True}, {"after_tool": True, "tool_choice": "required"}):
        scripted = answer(tools=tools, **changed)
        assert scripted.tool is None
        assert json.loads(scripted.text)["finding"] == FINDING


def test_an_answers_schema_is_followed() -> None:
    """With the finding where it has a place for it; without a canary too; `{}` is any object."""
    assert json.loads(answer(answer_schema=SCHEMA).text)["finding"] == FINDING
    assert json.loads(answer(answer_schema=SCHEMA, canary=None).text)["sure"] is True
    assert json.loads(answer(answer_schema={}).text)["finding"] == FINDING
    assert list(json.loads(answer(answer_schema={}, canary=None).text)) == ["summary"]
    bounded = {"type": "object", "properties": {"summary": {"type": "string", "minLength": 8}}}
    assert len(json.loads(answer(answer_schema=bounded, canary=long(1, "")).text)["summary"]) >= 8


def test_a_finding_of_any_text_comes_through() -> None:
    """Quotes and characters beyond ASCII included."""
    odd = 'ä"\\\n\u2028😀'
    scripted = answer(canary=long(60, odd))
    assert json.loads("".join(scripted.pieces))["finding"] == odd


def test_lengths_that_nobody_says_follow_the_trace() -> None:
    """Median and spread of ln tokens of the conversation trace, over 4,000 answers to different prompts."""
    lengths = [math.log(len(answer(canary=None, digest=str(number)).pieces)) for number in range(4000)]
    mean, sd = ANSWER_LN_TOKENS
    assert statistics.fmean(lengths) == pytest.approx(mean, abs=0.06)  # 4 standard errors
    assert statistics.stdev(lengths) == pytest.approx(sd, abs=0.04)


def test_a_giant_length_costs_no_more_than_its_limit() -> None:
    """A canary may ask for millions; the model's own maximum holds."""
    scripted = answer(canary=long(99_999_999, ""))
    assert (len(scripted.pieces), scripted.finish) == (MODEL.output_tokens_max, "length")
