"""What `[http]` in a scenario says, compiled once: what to send, and how to read what comes back."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn
from urllib.parse import quote

import msgspec

from harness.errors import TargetError, UsageError
from harness.observation.observation import Outcome, StepRecord
from harness.scenario.scenario import Http, HttpSteps, Workflow
from harness.target.expect import Expectations, shown
from harness.target.pointer import MISSING, Pointer
from harness.target.target import WorkflowRequest
from harness.target.template import json_template, text_template, url_template

_REPLY = re.compile(r"\{reply((?:/[^{}/]*)+)\}")
_encode = msgspec.json.Encoder().encode


class HttpRules:
    """The compiled rules, shared by all users. Raises UsageError with every mistake found."""

    def __init__(self, http: Http, workflows: Sequence[Workflow]) -> None:
        self._mistakes: list[str] = []
        self.method = http.submit.method
        self.rejected_status = frozenset(http.rejected_status)
        self.submit_url = self._compiled("http.submit.url", lambda: url_template(http.submit.url))
        self._headers = {
            name: self._compiled(f"http.submit.headers.{name}", partial(text_template, text))
            for name, text in http.submit.headers.items()
        }
        self._json = self._compiled("http.submit.json", lambda: json_template(http.submit.json))
        self._has_body = http.submit.json is not None
        self.poll = poll = http.poll
        self.poll_url = self._compiled("http.poll.url", lambda: PollUrl(poll.url if poll else ""))
        self.events = http.events
        ok: Mapping[str, Any] = http.ok
        until: Mapping[str, tuple[Any, ...]] = {}
        if poll is not None:
            ok, until = poll.ok, poll.until
        self._ok = self._compiled("http.ok" if poll is None else "http.poll.ok", lambda: _pointers(ok))
        self._until = self._compiled("http.poll.until", lambda: _pointers(until))
        self._expectations = self._compiled("http", lambda: Expectations(http.expect))
        steps = http.steps
        self._steps: _Steps | None = None if steps is None else self._compiled("http.steps", lambda: _Steps(steps))
        if not self._mistakes:
            for workflow in workflows:
                self._compiled("http.submit", partial(self._try, workflow))
        if self._mistakes:
            raise UsageError(self._mistakes)

    def _compiled(self, where: str, compile: Callable[[], Any]) -> Any:
        try:
            return compile()
        except UsageError as error:
            self._mistakes.extend(f"{where}: {mistake}" for mistake in error.mistakes)

    def _try(self, workflow: Workflow) -> None:
        """Fill every template once, so that a key missing in an input is found before any load."""
        request = WorkflowRequest("probe", workflow.kind, 1, workflow.deadline, workflow.input)
        self.submit_url(request)
        self.poll_url.check(request)
        self.headers(request)
        self.body(request)

    def headers(self, request: WorkflowRequest) -> dict[str, str]:
        """The headers of the submit."""
        headers = {name: fill(request) for name, fill in self._headers.items()}
        if self._has_body and not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = "application/json"
        return headers

    def body(self, request: WorkflowRequest) -> bytes:
        """The body of the submit; empty when the scenario gives none."""
        return _encode(self._json(request)) if self._has_body else b""

    def is_over(self, document: Any) -> bool:
        """Whether a polled document says that the workflow has ended: every pointer of `until` finds a listed value."""
        return all(_in(pointer.find(document), values) for pointer, values in self._until)

    def judge(self, body: bytes, request: WorkflowRequest) -> Any:
        """Hold the final reply against `ok` and `expect`. Returns it decoded; raises TargetError when it is not ok."""
        if not self._ok and not self._expectations and self._steps is None:
            return None
        document = decoded(body)
        for pointer, wanted in self._ok:
            found = pointer.find(document)
            if not _in(found, (wanted,)):
                raise TargetError(
                    f"{pointer.text or 'the reply'} is {shown(found)}, not {shown(wanted)}",
                    definite=True,
                    error_class="not_ok",
                )
        self._expectations.check(document, request)
        return document

    def steps(self, document: Any, started: float) -> tuple[StepRecord, ...]:
        """The steps that a final reply lists; `started` is when the workflow was sent, s from t0."""
        return () if self._steps is None else self._steps.records(self._steps.listed(document), started)

    def step_events(self, data: Sequence[str], started: float) -> tuple[StepRecord, ...]:
        """The steps that came as events, one a step."""
        return () if self._steps is None else self._steps.records([decoded(text) for text in data], started)


class PollUrl:
    """Where to ask for a workflow's end. Besides the placeholders of a request it has `{reply/POINTER}`: what a JSON
    pointer finds in the answer to the submit, for services that choose the job's id themselves.
    """

    def __init__(self, text: str) -> None:
        pieces = _REPLY.split(text)  # texts and pointers by turns
        self._texts = [url_template(piece) for piece in pieces[::2]]
        self._pointers = [Pointer(piece) for piece in pieces[1::2]]
        self.reads_reply = bool(self._pointers)

    def check(self, request: WorkflowRequest) -> None:
        """Raises UsageError when the request has not what the placeholders ask for."""
        for text in self._texts:
            text(request)

    def filled(self, request: WorkflowRequest, submitted: bytes) -> str:
        """The URL, given the body that answered the submit.

        Raises TargetError(`no_poll_url`), not definite: the service took the job and did not say where to find it.
        """
        reply = decoded(submitted) if self.reads_reply else None
        found = [pointer.find(reply) for pointer in self._pointers]
        for pointer, value in zip(self._pointers, found, strict=True):
            if not isinstance(value, str | int) or isinstance(value, bool):
                message = f"{pointer.text} of the answer to the submit is {shown(value)}, no part of a URL"
                raise TargetError(message, definite=False, error_class="no_poll_url")
        texts = [text(request) for text in self._texts]
        return "".join(text + quote(str(value), safe="") for text, value in zip(texts, [*found, ""], strict=True))


class _Steps:
    """Where a reply tells of its steps."""

    def __init__(self, steps: HttpSteps) -> None:
        self._at = Pointer(steps.at)
        self._agent = Pointer(steps.agent)
        self._started = Pointer(steps.started)
        self._ended = Pointer(steps.ended)

    def listed(self, document: Any) -> list[Any]:
        """The list of steps; a reply without one is corrupted."""
        found = self._at.find(document)
        return found if isinstance(found, list) else _no_step(f"{self._at.text or 'the reply'} is not a list of steps")

    def records(self, items: Sequence[Any], started: float) -> tuple[StepRecord, ...]:
        """Steps as records. The service's clock is not ours: its earliest step is taken to begin at `started`, which
        keeps every length and distance exact.
        """
        rows = [(self._agent.find(item), self._started.find(item), self._ended.find(item)) for item in items]
        for agent, begun, ended in rows:
            if not isinstance(agent, str) or not _is_number(begun) or not _is_number(ended):
                _no_step(f"a step has agent {shown(agent)}, started {shown(begun)}, ended {shown(ended)}")
        shift = started - min((begun for _, begun, _ in rows), default=0.0)
        return tuple(
            StepRecord(agent, agent, begun + shift, begun + shift, ended + shift, Outcome.OK)
            for agent, begun, ended in rows
        )


def decoded(body: bytes | str) -> Any:
    """A reply's JSON. Raises TargetError(`corrupted`) when it is none."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise TargetError(f"the reply is not JSON: {error}", definite=True, error_class="corrupted") from error


def _pointers(values: Mapping[str, Any]) -> list[tuple[Pointer, Any]]:
    return [(Pointer(text), value) for text, value in values.items()]


def _in(found: Any, values: Sequence[Any]) -> bool:
    """JSON equality with one of the values: true is not 1, though Python says so."""
    return found is not MISSING and any(
        found == value and isinstance(found, bool) == isinstance(value, bool) for value in values
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _no_step(why: str) -> NoReturn:
    raise TargetError(why, definite=True, error_class="corrupted")
