"""The loader's view of templates and URLs is that of the code which uses them."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.scenario.checks import Draft, Known
from harness.scenario.http_checks import check_http
from harness.scenario.mistakes import Mistake
from harness.scenario.scenario import Http, HttpCall, HttpPoll, Load, Scenario, Workflow
from harness.target.target import WorkflowRequest
from harness.target.template import json_template

INPUT = {"text": "Why?", "a.b": 1}
URL = "http://127.0.0.1:8000/"


def mistakes(call: HttpCall, poll: HttpPoll | None = None) -> list[Mistake]:
    """What the checks say about a black box that is submitted to by `call`."""
    scenario = Scenario(
        name="x",
        description="d",
        target="http",
        load=Load(closed=(1,)),
        workflow=(Workflow(kind="question", input=INPUT),),
        http=Http(submit=call, poll=poll),
    )
    known = Known(targets={"http"}, models=())
    return list(check_http(Draft(scenario=scenario, written={}, stem="x", known=known, allow_remote=False)))


pieces = st.sampled_from(
    ["{id}", "{input}", "{input.text}", "{input.a.b}", "{input.}", "{ID}", "{", "}", "{{", "}}", "x"]
)


@given(st.lists(pieces, max_size=5).map("".join))
def test_a_template_is_sound_exactly_when_it_can_be_filled(text: str) -> None:
    """The check before the run and the template at work agree on every text."""
    request = WorkflowRequest(id="w1", kind="question", seed=1, deadline_s=1.0, input=INPUT)
    try:
        json_template({"{key}": [text]})(request)
        fillable = True
    except UsageError:
        fillable = False
    assert (mistakes(HttpCall(url=URL, json={"{key}": [text]})) == []) == fillable


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9:80", "[::1]:8080", "LOCALHOST:1"])
def test_this_machine_has_several_names(host: str) -> None:
    """All of 127.0.0.0/8, ::1 and localhost are loopback."""
    assert mistakes(HttpCall(url=f"http://{host}/jobs/{{id}}")) == []


@pytest.mark.parametrize(
    "host",
    [
        *("example.org", "192.168.0.1", "0.0.0.0", "[2001:db8::1]", "2130706433", "127.1", "localhost.example.org"),
        *("user@localhost", "example.org\\@127.0.0.1", "127.0.0.1\\@example.org", "localhost\t.org", "{kind}"),
    ],
)
def test_everything_else_may_be_another_machine(host: str) -> None:
    """Names, other addresses, and spellings that two URL parsers read differently are refused."""
    assert len(mistakes(HttpCall(url=f"http://{host}/"))) == 1


@given(st.text(st.sampled_from("htp:/.@\\[]{}1270localse#?% \t\n"), max_size=25))
def test_no_url_raises_and_an_accepted_one_leads_to_this_machine(rest: str) -> None:
    """Whatever is written, the check yields mistakes; what it lets through has a loopback host."""
    url = f"http://{rest}"
    if mistakes(HttpCall(url=url)) == []:
        host = urlsplit(url).hostname or ""
        assert host in ("localhost", "::1") or host.startswith("127.")


def test_a_get_has_no_body() -> None:
    """A body that no server reads is a mistake."""
    (mistake,) = mistakes(HttpCall(url=URL, method="GET", json={"a": 1}))
    assert mistake.path == ("http", "submit", "json")


@pytest.mark.parametrize(
    ("url", "sound"),
    [
        ("{reply/id}", True),
        ("{reply/job/0/id}/{id}", True),
        ("{reply}", False),
        ("{reply/a~2}", False),
        ("{replies/id}", False),
    ],
)
def test_only_the_poll_url_may_read_the_answer_to_the_submit(url: str, sound: bool) -> None:
    """Nothing else is filled in after it."""
    poll = HttpPoll(url=URL + url, until={"/status": ("done",)}, ok={"/status": "done"})
    assert (mistakes(HttpCall(url=URL), poll=poll) == []) == sound
    assert mistakes(HttpCall(url=URL + url)) != []
