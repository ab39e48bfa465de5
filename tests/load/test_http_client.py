"""The HTTP client: how a black-box service's end is found, and what its replies mean."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.observation.observation import LoadCheck, Outcome
from harness.scenario.scenario import Http, HttpCall, Load, Workflow

HERE = Path(__file__).parent
POLL = {"every": 0.02, "until": {"/status": ["completed", "failed"]}, "ok": {"/status": "completed"}}


class Service:
    """A running `service.py`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "service.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{self._process.stdout.readline().strip()}"

    def ask(self, path: str, count: int = 1, deadline_s: float = 5.0, **http: Any) -> list[dict[str, Any]]:
        """The replies of one HttpClient to so many workflows."""
        submit = {"url": self.url + path, "json": {"id": "{id}", "seed": "{seed}", "text": "{input.text}"}}
        requests = [
            {"id": f"w{n}", "kind": "k", "seed": n, "deadline_s": deadline_s, "input": {"text": "why?"}}
            for n in range(count)
        ]
        asked = {"http": {"submit": {**submit, **http.pop("submit", {})}, **http}, "requests": requests}
        out = subprocess.run(
            [sys.executable, str(HERE / "ask.py"), json.dumps(asked)], capture_output=True, text=True, timeout=60
        )
        assert out.returncode == 0, out.stderr
        replies: list[dict[str, Any]] = json.loads(out.stdout)["replies"]
        return replies

    def end(self) -> dict[str, Any]:
        """Its truth: {"submits": […], "headers": […], "polls": {id: n}, "connections": n}."""
        out, _ = self._process.communicate(timeout=60)
        truth: dict[str, Any] = json.loads(out)
        return truth

    def kill(self) -> None:
        """End it, if it still runs."""
        self._process.kill()
        self._process.wait()


@pytest.fixture
def service() -> Iterator[Service]:
    """A service of its own for each test."""
    service = Service()
    yield service
    service.kill()


def how(reply: dict[str, Any]) -> tuple[str, str]:
    """Outcome and error class."""
    return reply["outcome"], reply["error_class"]


def test_the_response_itself_can_be_the_end(service: Service) -> None:
    """Three workflows over one kept-alive connection; the template is filled, JSON types kept."""
    replies = service.ask("/direct", count=3, submit={"headers": {"X-Workflow": "{id}"}})
    truth = service.end()
    assert [how(reply) for reply in replies] == [("ok", "")] * 3
    assert truth["submits"][1] == {"id": "w1", "seed": 1, "text": "why?"}
    assert truth["headers"][1]["x-workflow"] == "w1"
    assert truth["headers"][1]["content-type"] == "application/json"
    assert truth["connections"] == 1


def test_the_end_can_be_found_by_polling(service: Service) -> None:
    """Asked until the status says so; accepted when the submit was answered."""
    [reply] = service.ask("/jobs?after=0.2", poll={**POLL, "url": service.url + "/jobs/{id}"})
    truth = service.end()
    assert how(reply) == ("ok", "")
    assert reply["accepted"] is not None
    assert truth["polls"]["w0"] >= 3


def test_the_service_may_choose_the_id_that_is_polled(service: Service) -> None:
    """A pointer into the answer to the submit is part of the poll's URL."""
    [reply] = service.ask("/tickets", poll={**POLL, "url": service.url + "/jobs/{reply/ticket/0/number}"})
    assert reply["outcome"] == Outcome.OK
    assert list(service.end()["polls"]) == ["4711/x"]


def test_an_answer_without_the_id_to_poll_is_unknown(service: Service) -> None:
    """The service took the job: it may well be done, only nobody can ask."""
    [reply] = service.ask("/jobs", poll={**POLL, "url": service.url + "/jobs/{reply/ticket}"})
    assert (reply["outcome"], reply["error_class"]) == (Outcome.UNKNOWN, "no_poll_url")


def test_a_poll_that_fails_is_asked_again(service: Service) -> None:
    """Two cut connections in a row are the network's trouble, not the workflow's."""
    [reply] = service.ask("/jobs", poll={**POLL, "url": service.url + "/flaky/{id}"})
    assert how(reply) == ("ok", "")


def test_polling_ends_at_the_deadline_and_says_what_it_last_saw(service: Service) -> None:
    """The URL is wrong: 404 for ever. The job was accepted, so its end is unknown."""
    [reply] = service.ask("/jobs", deadline_s=0.3, poll={**POLL, "url": service.url + "/nowhere/{id}"})
    assert how(reply) == ("unknown", "timeout")
    assert "GET answered 404" in reply["message"]


def test_a_polled_end_that_is_not_ok_has_failed(service: Service) -> None:
    """`until` says that it is over, `ok` that it is not good."""
    poll = {**POLL, "url": service.url + "/jobs/{id}", "ok": {"/status": "approved"}}
    [reply] = service.ask("/jobs", poll=poll)
    assert how(reply) == ("failed", "not_ok")
    assert reply["message"] == "/status is 'completed', not 'approved'"


EVENTS = {"until": ["completed", "failed"], "ok": ["completed"], "step": "step"}


def test_the_end_can_be_a_named_event(service: Service) -> None:
    """Steps come as events too; the data of the last event is held against the rules."""
    [reply] = service.ask("/events", events=EVENTS, steps={}, expect={"/id": {"equals": "{id}"}, "/output": "exists"})
    assert how(reply) == ("ok", "")
    assert [step[1] for step in reply["steps"]] == ["triage", "data"]
    assert reply["accepted"] is not None


@pytest.mark.parametrize(
    ("path", "outcome", "error_class"),
    [
        ("/events/failed", "failed", "not_ok"),
        ("/events/unfinished", "unknown", "stream_ended"),
        ("/events/torn", "unknown", "connection"),
    ],
)
def test_a_stream_that_ends_is_not_a_terminal_event(
    service: Service, path: str, outcome: str, error_class: str
) -> None:
    """Only a named event says how it ended."""
    [reply] = service.ask(path, events=EVENTS)
    assert how(reply) == (outcome, error_class)


@pytest.mark.parametrize(
    ("path", "outcome", "error_class"),
    [
        ("/status/404", "failed", "http_404"),
        ("/status/500", "unknown", "http_500"),
        ("/status/504", "unknown", "http_504"),
        ("/status/302", "failed", "http_302"),
        ("/status/429", "not_started", "rejected"),
        ("/status/503", "not_started", "rejected"),
        ("/cut", "unknown", "connection"),
    ],
)
def test_a_status_means_what_it_says(service: Service, path: str, outcome: str, error_class: str) -> None:
    """Rejections are told from failures; a cut, or a server's own error, may have come after the work was done."""
    [reply] = service.ask(path)
    assert how(reply) == (outcome, error_class)
    if error_class == "rejected":
        assert reply["retry_after_s"] == 3.0


def test_which_status_rejects_is_the_scenarios_choice(service: Service) -> None:
    """A service that says 409 when it is full."""
    [reply] = service.ask("/status/409", rejected_status=[409])
    assert how(reply) == ("not_started", "rejected")
    assert reply["retry_after_s"] == 1.0


def test_a_reply_for_someone_else_is_corrupted(service: Service) -> None:
    """The rule that finds cross-talk in a black box."""
    [reply] = service.ask("/other", expect={"/id": {"equals": "{id}"}})
    assert how(reply) == ("failed", "corrupted")
    assert reply["message"] == "/id is \"someone else's\", not 'w0'"


def test_a_reply_that_is_not_json_is_corrupted_where_rules_read_it(service: Service) -> None:
    """And nobody's business where none does."""
    [read] = service.ask("/text", ok={"/status": "ok"})
    [unread] = service.ask("/text")
    assert how(read) == ("failed", "corrupted")
    assert how(unread) == ("ok", "")


def test_steps_keep_their_lengths_on_the_runs_clock(service: Service) -> None:
    """The service's clock starts elsewhere: the first step is put where the workflow was sent."""
    [reply] = service.ask("/direct", steps={"at": "/steps"})
    triage, data = reply["steps"]
    assert (triage[4] - triage[3], data[4] - data[3]) == (pytest.approx(0.25), pytest.approx(0.5))
    assert data[3] == pytest.approx(triage[4])


def test_a_reply_without_its_steps_is_corrupted(service: Service) -> None:
    """The scenario says where they are; they are not there."""
    [reply] = service.ask("/direct", steps={"at": "/nowhere"})
    assert how(reply) == ("failed", "corrupted")


def test_an_http_level_is_driven_like_any_other(service: Service, bench: Any) -> None:
    """Through the load process: every submit is one observation."""
    http = Http(submit=HttpCall(url=service.url + "/direct?after=0.03", json={"id": "{id}"}), ok={"/status": "ok"})
    load = Load(closed=(5,), warmup=0.0, measure=0.8, drain=5.0)
    driven = bench.drive(load, target="http", http=http, workflow=(Workflow(kind="k"),))
    truth = service.end()
    assert sorted(seen.id for seen in driven.observations) == sorted(submit["id"] for submit in truth["submits"])
    assert {seen.outcome for seen in driven.observations} == {Outcome.OK}
    assert truth["connections"] == 5


def test_a_generator_that_is_held_up_says_so(service: Service, bench: Any) -> None:
    """A rule that burns 0.3 s holds every timer of the process: the hub lag of that second shows it."""
    (bench.folder / "slow_rules.py").write_text(
        "import time\n"
        "def slow(value, request):\n"
        "    end = time.monotonic() + 0.3\n"
        "    while time.monotonic() < end:\n"
        "        pass\n"
    )
    http = Http(
        submit=HttpCall(url=service.url + "/direct", json={"id": "{id}"}),
        expect={"/output": {"python": "slow_rules:slow"}},
    )
    load = Load(closed=(2,), warmup=0.0, measure=1.5, drain=5.0)
    driven = bench.drive(load, target="http", http=http, workflow=(Workflow(kind="k"),))
    assert max(check.hub_lag_max_s for check in driven.of(LoadCheck)) > 0.1
