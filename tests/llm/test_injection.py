"""Which requests a fault concerns, and what it makes of an answer. What SDKs make of it is `test_faults_with_sdks`."""

from __future__ import annotations

import json
import re
from itertools import accumulate, pairwise
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.llm import injection
from harness.llm.canary import Canary
from harness.llm.dialect import DIALECTS
from harness.llm.injection import Faults, altered, refusal_of
from harness.llm.models import SERVED
from harness.llm.script import script
from harness.llm.wire import Asked, Scripted, Tool
from harness.scenario.models import LlmFault, LlmFaultKind

FINDING = "0123456789abcdef0123456789abcdef"
NOW = 1000.0
SCHEMA = {"type": "object", "properties": {"finding": {"type": "string"}}, "required": ["finding"]}


def asked(workflow: str = "10-1", agent: str = "data", step: str = "data-1", attempt: int = 0, **other: Any) -> Asked:
    canary = Canary(workflow=workflow, agent=agent, step=step, finding=FINDING, tokens=60)
    given = {"api": "openai.chat", "model": "gpt-4o", "text": "", "input_tokens": 10, "canary": canary} | other
    return Asked(attempt=attempt, **given)


def concerns(fault: LlmFault, request: Asked, now: float = NOW, began: float | None = None) -> bool:
    return Faults((fault,), seed=1).concerning(request, now, began) is fault


def answer(**other: Any) -> Scripted:
    return script(asked(**other), seed=1, model=SERVED["gpt-4o"], created=0)


def test_every_kind_has_its_meaning_written_down() -> None:
    """For streams and for whole answers, in the table on top of the module."""
    told = [line.split("|")[1:4] for line in (injection.__doc__ or "").splitlines() if line.startswith("|")][2:]
    assert [kind.strip() for kind, _, _ in told] == list(get_args(LlmFaultKind))
    assert all(streamed.strip() and whole.strip() for _, streamed, whole in told)


# Which requests.


def test_a_fault_concerns_everybody_unless_it_says_otherwise() -> None:
    """With and without a canary, whatever the attempt, before and after the measure phase begins."""
    fault = LlmFault(fault="garbage")
    assert concerns(fault, asked())
    assert concerns(fault, asked(attempt=7), began=NOW)
    assert concerns(fault, asked(canary=None))


def test_an_agents_fault_concerns_its_calls_only() -> None:
    """Nobody knows whose a call without a canary is."""
    fault = LlmFault(fault="garbage", agent="data")
    assert concerns(fault, asked(agent="data"))
    assert not concerns(fault, asked(agent="triage"))
    assert not concerns(fault, asked(canary=None))


def test_a_models_fault_concerns_its_snapshots_too() -> None:
    """But a snapshot's does not concern the others."""
    fault = LlmFault(fault="garbage", model="gpt-4o")
    assert concerns(fault, asked(model="gpt-4o"))
    assert concerns(fault, asked(model="gpt-4o-2024-08-06"))
    assert not concerns(fault, asked(model="gpt-4o-mini"))
    dated = LlmFault(fault="garbage", model="gpt-4o-2024-08-06")
    assert concerns(dated, asked(model="gpt-4o-2024-08-06"))
    assert not concerns(dated, asked(model="gpt-4o"))


def test_the_first_attempts_of_each_call_fail() -> None:
    """And the next one succeeds, as the SDK counts them."""
    fault = LlmFault(fault="error", first=2)
    for step in ("data-1", "data-2"):
        assert [concerns(fault, asked(step=step, attempt=attempt)) for attempt in range(4)] == [
            True,
            True,
            False,
            False,
        ]


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_a_share_of_the_requests(share: float) -> None:
    """Within four standard deviations of so many, drawn anew for each attempt."""
    fault = LlmFault(fault="error", share=share)
    for attempt in (0, 1):
        hits = sum(concerns(fault, asked(workflow=f"10-{number}", attempt=attempt)) for number in range(2000))
        assert abs(hits - 2000 * share) <= 4 * (2000 * share * (1 - share)) ** 0.5
    both = sum(
        concerns(fault, asked(workflow=f"10-{number}")) and concerns(fault, asked(workflow=f"10-{number}", attempt=1))
        for number in range(2000)
    )
    assert abs(both - 2000 * share**2) <= 4 * (2000 * share**2) ** 0.5 + 1


def test_chance_is_the_calls_own() -> None:
    """Neither order nor what else is asked changes it; seed and the fault's place in the list do."""
    requests = [asked(workflow=f"10-{number}") for number in range(300)]

    def hits(faults: Faults, order: list[Asked]) -> set[str]:
        return {
            request.canary.workflow
            for request in order
            if request.canary and faults.concerning(request, NOW, None) is not None
        }

    fault = LlmFault(fault="error", share=0.3)
    never = LlmFault(fault="garbage", agent="nobody")
    first = hits(Faults((fault,), seed=1), requests)
    assert hits(Faults((fault,), seed=1), requests[::-1]) == first
    assert hits(Faults((fault,), seed=2), requests) != first
    assert hits(Faults((never, fault), seed=1), requests) != first


def test_without_a_canary_chance_is_of_the_body() -> None:
    """The same body meets the same fate, another another."""
    fault = LlmFault(fault="error", share=0.5)
    fates = [concerns(fault, asked(canary=None, digest=f"{number:032x}")) for number in range(100)]
    assert fates == [concerns(fault, asked(canary=None, digest=f"{number:032x}")) for number in range(100)]
    assert 25 < sum(fates) < 75


def test_the_first_of_the_list_is_what_happens() -> None:
    """Only the first that concerns a request."""
    one, other = LlmFault(fault="dropped", agent="data"), LlmFault(fault="garbage")
    faults = Faults((one, other), seed=1)
    assert faults.concerning(asked(agent="data"), NOW, None) is one
    assert faults.concerning(asked(agent="triage"), NOW, None) is other
    assert Faults((), seed=1).concerning(asked(), NOW, None) is None


@pytest.mark.parametrize(
    ("fault", "inside", "outside"),
    [
        (LlmFault(fault="error", at=5.0), (5.0, 6.0, 1e6), (-1.0, 0.0, 4.9)),
        (LlmFault(fault="error", at=5.0, lasts=2.0), (5.0, 6.9), (4.9, 7.0, 1e6)),
        (LlmFault(fault="error", at=5.0, lasts=2.0, every=10.0), (5.0, 6.9, 15.0, 16.9, 105.5), (4.9, 7.0, 14.9, 17.0)),
    ],
    ids=["from then on", "once", "in bursts"],
)
def test_when_it_happens(fault: LlmFault, inside: tuple[float, ...], outside: tuple[float, ...]) -> None:
    """Counted from the start of the measure phase; before that, never."""
    began = 200.0
    assert all(concerns(fault, asked(), now=began + at, began=began) for at in inside)
    assert not any(concerns(fault, asked(), now=began + at, began=began) for at in outside)
    assert not any(concerns(fault, asked(), now=began + at, began=None) for at in inside)


# What it does.


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (408, "timeout"),
        (409, "timeout"),
        (429, "rate_limit"),
        (500, "server_error"),
        (502, "server_error"),
        (503, "overloaded"),
        (504, "timeout"),
        (529, "overloaded"),
    ],
)
def test_an_error_has_its_status_and_wait(status: Any, kind: str) -> None:
    """Streamed or not: it comes instead of an answer."""
    fault = LlmFault(fault="error", status=status, retry_after=3.5)
    for stream in (True, False):
        no = refusal_of(fault, stream=stream)
        assert no is not None
        assert (no.kind, no.status, no.retry_after_s) == (kind, status, 3.5)


def test_what_is_refused_and_what_is_answered() -> None:
    """An error event needs a stream to stand in; without one it is an error."""
    refused = {
        (kind, stream): refusal_of(LlmFault(fault=kind), stream=stream)
        for kind in get_args(LlmFaultKind)
        for stream in (True, False)
    }
    instead = {key: (no.kind, no.status) for key, no in refused.items() if no is not None}
    assert instead == {
        ("error", True): ("server_error", 500),
        ("error", False): ("server_error", 500),
        ("error_event", False): ("server_error", 500),
        ("context_overflow", True): ("context_overflow", None),
        ("context_overflow", False): ("context_overflow", None),
    }


def test_garbage_is_another_finding_of_the_same_form() -> None:
    """Same length, same tokens, valid JSON: only who knows the right one can tell."""
    right = answer()
    wrong = altered(LlmFault(fault="garbage"), right)
    before, after = json.loads(right.text), json.loads(wrong.text)
    assert before["finding"] == FINDING
    assert after["finding"] != FINDING
    assert len(after["finding"]) == 32
    assert int(after["finding"], 16) >= 0
    assert after["summary"] == before["summary"]
    assert [len(piece) for piece in wrong.pieces] == [len(piece) for piece in right.pieces]
    assert altered(LlmFault(fault="garbage"), right) == wrong


def test_garbage_in_a_tools_arguments() -> None:
    """In the call itself and in its pieces alike."""
    wrong = altered(LlmFault(fault="garbage"), answer(tools=(Tool("report", SCHEMA),)))
    assert wrong.tool is not None
    assert wrong.tool.arguments == wrong.text
    assert json.loads(wrong.text)["finding"] != FINDING


@pytest.mark.parametrize("spaces", ["", " ", "\n  "])
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_garbage_whatever_the_spacing_and_the_pieces(spaces: str, sizes: list[int]) -> None:
    """The finding is found though no piece holds it whole; nothing else of the answer changes."""
    text = f'{{"summary":{spaces}"finding",{spaces}"finding"{spaces}:{spaces}"{FINDING}"{spaces}}}'
    cuts = [cut for cut in accumulate(sizes, initial=0) if cut < len(text)]
    pieces = tuple(text[start:end] for start, end in pairwise([*cuts, len(text)]))
    right = answer(tools=(Tool("report", SCHEMA),))
    assert right.tool is not None
    right = msgspec.structs.replace(right, pieces=pieces, tool=msgspec.structs.replace(right.tool, arguments=text))
    wrong = altered(LlmFault(fault="garbage"), right)
    before, after = text.split(FINDING)
    assert wrong.text.startswith(before)
    assert wrong.text.endswith(after)
    assert re.fullmatch("[0-9a-f]{32}", wrong.text[len(before) : len(text) - len(after)])
    assert FINDING not in wrong.text
    assert wrong.tool is not None
    assert wrong.tool.arguments == wrong.text
    assert [len(piece) for piece in wrong.pieces] == [len(piece) for piece in pieces]


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"tools": (Tool("report", SCHEMA),)},
        {"answer_schema": {}},
        {"answer_schema": {"type": "object", "properties": {"a": {"type": "object"}}}, "canary": None},
        {"answer_schema": {"type": "array", "items": {"type": "integer"}}, "canary": None},
        {"answer_schema": {"type": "integer"}, "canary": None},
        {"answer_schema": {"type": "string"}, "canary": None},
        {"tools": (Tool("nothing", {"type": "object", "properties": {}}),), "canary": None},
        {"canary": None, "max_tokens": 1},
    ],
)
def test_broken_json_cannot_be_read(other: dict[str, Any]) -> None:
    """Whatever the shape of the answer, as text or as a tool's arguments; it still says that it is whole."""
    right = answer(**other)
    broken = altered(LlmFault(fault="broken_json"), right)
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken.text)
    if right.tool is not None:
        assert broken.tool is not None
        assert broken.tool.arguments == broken.text
    assert broken.finish == right.finish
    assert len(broken.pieces) == len(right.pieces)


@pytest.mark.parametrize("other", [{}, {"tools": (Tool("report", SCHEMA),)}, {"max_tokens": 5}])
def test_a_cut_answer_claims_to_be_whole(other: dict[str, Any]) -> None:
    """Half of its tokens, and the finish reason of a whole one: also where `max_tokens` had ended it already."""
    right = answer(**other)
    cut = altered(LlmFault(fault="cut_finished"), right)
    assert cut.pieces == right.pieces[: len(right.pieces) // 2]
    assert cut.finish == ("stop" if right.tool is None else "tool")
    if right.tool is not None:
        assert cut.tool is not None
        assert cut.tool.arguments == cut.text


@pytest.mark.parametrize("only", ["5", "low ", "{}"])
def test_an_answer_of_one_token_is_cut_as_well(only: str) -> None:
    """Within the token: what arrives is never the whole answer. Every endpoint can write it."""
    right = msgspec.structs.replace(answer(), pieces=(only,))
    cut = altered(LlmFault(fault="cut_finished"), right)
    assert len(cut.pieces) == 1
    assert cut.text == only[: len(only) // 2]
    for dialect in DIALECTS.values():
        request = msgspec.structs.replace(asked(), api=dialect.api)
        assert dialect.whole(request, cut)
        assert len(dialect.stream(request, cut, cut.pieces).chunks) == 1


def test_a_wrong_tool_is_one_that_nobody_offered() -> None:
    """Whether or not there were tools; its arguments are those of the right one."""
    offered = answer(tools=(Tool("report", SCHEMA),))
    wrong = altered(LlmFault(fault="wrong_tool"), offered)
    assert offered.tool is not None
    assert wrong.tool is not None
    assert wrong.tool.name != "report"
    assert wrong.tool.arguments == wrong.text == offered.tool.arguments
    without = altered(LlmFault(fault="wrong_tool"), answer())
    assert without.tool is not None
    assert without.finish == "tool"
    assert without.tool.arguments == without.text == answer().text


@pytest.mark.parametrize("name", ["report", "launch_rocket", "n" * 64])
@pytest.mark.parametrize("called", [True, False])
def test_a_wrong_tool_avoids_every_name_on_offer(name: str, *, called: bool) -> None:
    """Also where the names on offer look like its own, and within the 64 characters that providers allow."""
    right = answer(tools=(Tool(name, SCHEMA),) if called else ())
    offered = [name]
    for _ in range(12):
        wrong = altered(LlmFault(fault="wrong_tool"), right, offered)
        assert wrong.tool is not None
        assert wrong.tool.name not in offered
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", wrong.tool.name)
        offered.append(wrong.tool.name)


@pytest.mark.parametrize(
    "kind", sorted(set(get_args(LlmFaultKind)) - {"garbage", "broken_json", "cut_finished", "wrong_tool"})
)
def test_the_others_leave_the_answer_alone(kind: LlmFaultKind) -> None:
    """They act on its delivery."""
    right = answer()
    assert altered(LlmFault(fault=kind), right) is right
