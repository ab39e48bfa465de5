"""The client of a black-box HTTP service, as `[http]` in a scenario describes it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import gevent
import gevent.socket
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPParseError, HTTPSocketPoolResponse

from harness.errors import TargetError
from harness.load.client import GRACE_S, Reply
from harness.load.http_rules import HttpRules, decoded
from harness.load.sse import events_of
from harness.observation.observation import Outcome
from harness.scenario.scenario import HttpEvents, HttpPoll
from harness.target.target import WorkflowRequest

REPLY_BYTES_MAX = 16 * 1024 * 1024
RETRY_AFTER_S = 1.0  # a rejected user's wait, and an unconnected one's, when the service names none
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
UNBOUNDED_S = 86_400.0  # the workflow's deadline bounds every call; geventhttpclient's own timeouts must not


class HttpClient:
    """One user's connections to the service: one for each host that its URLs name."""

    def __init__(
        self,
        rules: HttpRules,
        clock: Callable[[], float],
        on_accepted: Callable[[str, float], None] = lambda _id, _at: None,
    ) -> None:
        self._rules = rules
        self._clock = clock
        self._on_accepted = on_accepted
        self._connections: dict[str, _Connection] = {}
        self._accepted: float | None = None
        self._started = 0.0
        self._trouble = ""  # why the last poll told us nothing

    def run(self, request: WorkflowRequest) -> Reply:
        """Run a workflow to its end, or to its deadline and `GRACE_S` more."""
        self._accepted = None
        self._started = self._clock()
        self._trouble = ""
        deadline = gevent.Timeout(request.deadline_s + GRACE_S)
        deadline.start()
        try:
            return self._run(request)
        except TargetError as error:
            outcome = Outcome.FAILED if error.definite else Outcome.UNKNOWN
            return self._reply(outcome, error.error_class, str(error))
        except _NotConnected as error:
            return self._not_connected(str(error))
        except gevent.Timeout as passed:
            if passed is not deadline:
                raise
            if self._accepted is None and any(connection.connecting for connection in self._connections.values()):
                return self._not_connected(f"no connection within {request.deadline_s:g} s")
            message = f"no end within {request.deadline_s:g} s + {GRACE_S:g} s"
            return self._reply(Outcome.UNKNOWN, "timeout", "; ".join(filter(None, [message, self._trouble])))
        except (OSError, HTTPParseError) as error:
            return self._reply(Outcome.UNKNOWN, "connection", str(error) or repr(error))
        finally:
            deadline.close()

    def close(self) -> None:
        """Drop all connections; the next run makes new ones."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def _run(self, request: WorkflowRequest) -> Reply:
        rules = self._rules
        response = self._call(rules.method, rules.submit_url(request), rules.body(request), rules.headers(request))
        status = response.status_code
        if status in rules.rejected_status:
            retry_after_s = _retry_after_s(response.get("retry-after"))
            _body(response)
            return Reply(
                outcome=Outcome.NOT_STARTED,
                error_class="rejected",
                message=f"http_{status}",
                rejected=True,
                retry_after_s=retry_after_s,
            )
        if not 200 <= status < 300:
            _body(response)
            # A server's or gateway's error may have come after the work was done; the client's own (4xx) did not.
            raise TargetError(f"{rules.method} answered {status}", definite=status < 500, error_class=f"http_{status}")
        if rules.poll is not None:
            submitted = _body(response)
            self._accept(request)
            return self._poll(rules.poll, rules.poll_url.filled(request, submitted), request)
        if rules.events is not None:
            self._accept(request)
            return self._listen(rules.events, response, request)
        return self._ok(rules.judge(_body(response), request))

    def _poll(self, poll: HttpPoll, url: str, request: WorkflowRequest) -> Reply:
        """Ask until the service says that the workflow is over. A question that fails is asked again."""
        while True:
            try:
                response = self._call("GET", url)
                body = _body(response)
                if not 200 <= response.status_code < 300:
                    self._trouble = f"GET answered {response.status_code}"
                elif self._rules.is_over(decoded(body)):
                    return self._ok(self._rules.judge(body, request))
                else:
                    self._trouble = ""
            except (OSError, HTTPParseError, _NotConnected) as error:
                self._trouble = str(error) or repr(error)
            gevent.sleep(poll.every)

    def _listen(self, events: HttpEvents, response: HTTPSocketPoolResponse, request: WorkflowRequest) -> Reply:
        """Read the submit's own reply up to its terminal event. That the stream ended says nothing by itself."""
        steps: list[str] = []
        try:
            for event in events_of(_lines(response)):
                if event.name == events.step:
                    steps.append(event.data)
                if event.name not in events.until:
                    continue
                if event.name not in events.ok:
                    raise TargetError(f"event {event.name}: {event.data[:200]}", definite=True, error_class="not_ok")
                self._rules.judge(event.data.encode(), request)
                return Reply(
                    outcome=Outcome.OK, accepted=self._accepted, steps=self._rules.step_events(steps, self._started)
                )
        finally:
            response.release()
        wanted = ", ".join(events.until)
        raise TargetError(f"the stream ended without {wanted}", definite=False, error_class="stream_ended")

    def _call(
        self, method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> HTTPSocketPoolResponse:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._connections:
            self._connections[origin] = _Connection(origin)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return self._connections[origin].request(method, path, body, headers or {})

    def _accept(self, request: WorkflowRequest) -> None:
        self._accepted = self._clock()
        self._on_accepted(request.id, self._accepted)

    def _ok(self, document: Any) -> Reply:
        return Reply(outcome=Outcome.OK, accepted=self._accepted, steps=self._rules.steps(document, self._started))

    def _not_connected(self, why: str) -> Reply:
        """Definitely not done. The pause keeps a closed user from asking a dead service thousands of times a second."""
        return self._reply(Outcome.FAILED, "connect", why, retry_after_s=RETRY_AFTER_S)

    def _reply(self, outcome: Outcome, error_class: str, message: str, retry_after_s: float = 0.0) -> Reply:
        """How a workflow ended that was not ok; its connections may be in the middle of something, so they go."""
        self.close()
        return Reply(
            outcome=outcome,
            accepted=self._accepted,
            error_class=error_class,
            message=message,
            retry_after_s=retry_after_s,
        )


class _NotConnected(Exception):
    """No connection could be made: nothing was sent."""


class _Connection:
    """One kept-alive connection to one origin. Tells apart what failed before anything could be sent."""

    def __init__(self, origin: str) -> None:
        self._http = HTTPClient.from_url(
            origin, concurrency=1, connection_timeout=UNBOUNDED_S, network_timeout=UNBOUNDED_S
        )
        pool = self._http._connection_pool
        self._create_socket = pool._create_socket
        pool._create_socket = self._connect  # type: ignore[method-assign]  # its documented place for an override
        self.connecting = False

    def request(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> HTTPSocketPoolResponse:
        """Send a request and read the head of its response. Raises _NotConnected, OSError or HTTPParseError."""
        return self._http.request(method, path, body, headers)

    def close(self) -> None:
        """Drop the connection."""
        self._http.close()

    def _connect(self) -> gevent.socket.socket:
        self.connecting = True  # left so by an exception that is not ours: the workflow's deadline
        try:
            connected = self._create_socket()
        except OSError as error:
            raise _NotConnected(str(error)) from error
        self.connecting = False
        return connected


def _body(response: HTTPSocketPoolResponse) -> bytes:
    body = response.read(REPLY_BYTES_MAX)
    if not response.message_complete:
        response.release()
        raise TargetError(f"the reply is longer than {REPLY_BYTES_MAX} bytes", definite=False, error_class="oversized")
    return body


def _lines(response: HTTPSocketPoolResponse) -> Iterator[bytes]:
    while line := response.readline(b"\n"):
        yield line


def _retry_after_s(header: str | list[str] | None) -> float:
    """Retry-After (RFC 9110, section 10.2.3): seconds or a date; the default when there is none that makes sense."""
    text = header[0] if isinstance(header, list) else header or ""
    if _SECONDS.fullmatch(text):  # fractions are outside the RFC, and what people send
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return RETRY_AFTER_S
