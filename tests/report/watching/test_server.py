"""The live page's server: who is answered, what a page is sent, and that none that reads slowly is waited for."""

from __future__ import annotations

import http.client
import re
import socket
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256

import msgspec
import pytest

from harness.errors import UsageError
from harness.report.watching.openmetrics import CONTENT_TYPE
from harness.report.watching.server import STREAMS_MAX, ViewServer
from harness.report.watching.shown import Update
from harness.report.watching.state import RunState
from tests.report.watching.telling import tell

WAIT_S = 30.0


@pytest.fixture
def state() -> RunState:
    """A level goes on, and two reports came."""
    state = RunState()
    state.scenario_began("some", 7)
    state.level_started("25", 0, 1)
    tell(state, 1)
    tell(state, 2)
    return state


@pytest.fixture
def server(state: RunState) -> Iterator[ViewServer]:
    """Serves the page and the metrics."""
    with ViewServer(state, 0, option="--live-port", live=True, metrics=True) as server:
        yield server


def port_of(server: ViewServer) -> int:
    return int(server.address.rpartition(":")[2])


def ask(server: ViewServer, path: str, *, method: str = "GET", host: str | None = None) -> http.client.HTTPResponse:
    """One request, its body not read yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=WAIT_S)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    return connection.getresponse()


def updates(events: http.client.HTTPResponse) -> Iterator[Update]:
    """What is sent, until it ends."""
    for line in events:
        if line.startswith(b"data: "):
            yield msgspec.json.decode(line.removeprefix(b"data: "), type=Update)


@pytest.mark.parametrize(
    "host", ["rebound.example", "127.0.0.1.rebound.example", "rebound.example:80", "localhost@rebound.example", "", "0"]
)
@pytest.mark.parametrize("path", ["/", "/events", "/metrics"])
def test_a_name_that_leads_here_from_elsewhere_is_refused(server: ViewServer, path: str, host: str) -> None:
    """A site whose name was made to resolve to 127.0.0.1 reads nothing of a run."""
    answer = ask(server, path, host=host)
    assert answer.status == 421
    assert b"some" not in answer.read()


@pytest.mark.parametrize("hosts", [[], ["127.0.0.1", "rebound.example"]])
def test_no_name_and_two_names_are_refused(server: ViewServer, hosts: list[str]) -> None:
    """Which of two is meant is not for us to guess."""
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=WAIT_S) as asking:
        lines = ["GET /metrics HTTP/1.0", *(f"Host: {host}" for host in hosts), "", ""]
        asking.sendall("\r\n".join(lines).encode())
        assert b" 421 " in asking.recv(4096).partition(b"\r\n")[0]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1:1", "[::1]:8000"])
def test_names_of_this_machine_are_answered(server: ViewServer, host: str) -> None:
    """With any port: it may have been forwarded."""
    assert ask(server, "/metrics", host=host).status == 200


def test_the_page_may_run_its_own_script_only(server: ViewServer) -> None:
    """One file, nothing loaded from elsewhere, and a policy that says so to the browser."""
    answer = ask(server, "/")
    html, policy = answer.read().decode(), str(answer.headers["Content-Security-Policy"])
    [script] = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    assert f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy
    assert re.findall(r"(?:src|href)\s*=\s*\"(.*?)\"", html) == ["data:,"]
    assert set(re.findall(r"https?://[^\"']+", html)) == {"http://www.w3.org/2000/svg"}  # a name, never fetched


def test_the_metrics_say_what_they_are(server: ViewServer) -> None:
    """By the content type that OpenMetrics has; a HEAD has the same length and no body."""
    whole, head = ask(server, "/metrics"), ask(server, "/metrics", method="HEAD")
    assert whole.headers["Content-Type"] == CONTENT_TYPE == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert int(str(head.headers["Content-Length"])) == len(whole.read())
    assert head.read() == b""


def test_nothing_else_is_served(state: RunState, server: ViewServer) -> None:
    """No files; and where only metrics were asked for, no page."""
    assert {ask(server, path).status for path in ("/etc/passwd", "/../run.json", "/favicon.ico", "/events/")} == {404}
    assert ask(server, "/", method="POST").status == 501
    with ViewServer(state, 0, option="--metrics-port", live=False, metrics=True) as metrics:
        assert {ask(metrics, path).status for path in ("/", "/events")} == {404}
        assert ask(metrics, "/metrics").status == 200


def test_a_page_that_comes_late_gets_the_whole_state_and_then_what_is_new(state: RunState, server: ViewServer) -> None:
    """No point twice, none left out."""
    seen = updates(ask(server, "/events"))
    first = next(seen)
    assert (first.whole, first.now.scenario, [point.number for point in first.points]) == (True, "some", [1, 2])
    tell(state, 3)
    second = next(seen)
    assert (second.whole, second.now.ok, [point.number for point in second.points]) == (False, 3, [3])
    later = next(updates(ask(server, "/events")))
    assert (later.whole, [point.number for point in later.points]) == (True, [1, 2, 3])


def test_a_slow_page_is_not_waited_for_and_finds_the_newest(state: RunState, server: ViewServer) -> None:
    """It reads nothing while far more happens than the connection holds; then it is shown how things are now."""
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(WAIT_S)
        slow.connect(("127.0.0.1", port_of(server)))
        slow.sendall(b"GET /events HTTP/1.0\r\nHost: localhost\r\n\r\n")
        prompt = updates(ask(server, "/events"))
        next(prompt)
        told = 300
        for number in range(3, told):
            state.noted(f"{number}" + "x" * 100_000)  # 30 MB in all
            tell(state, number)
            while next(prompt).points[-1:] != whole_points(state)[-1:]:  # another page sees each of them meanwhile
                pass
        found = []
        with slow.makefile("rb") as events:
            for line in events:
                if line.startswith(b"data: "):
                    found.append(msgspec.json.decode(line.removeprefix(b"data: "), type=Update))
                    if found[-1].now.ok == told - 1:
                        break
    assert len(found) < told - 3, "it was sent everything: nothing was slow"
    assert [point.number for update in found for point in update.points] == list(range(1, told))


def whole_points(state: RunState) -> list[object]:
    return list(msgspec.json.decode(state.update(None)[0], type=Update).points)


def test_pages_beyond_the_most_are_told_so(server: ViewServer) -> None:
    """A bounded number of threads, whatever opens pages."""
    watching = [ask(server, "/events") for _ in range(STREAMS_MAX)]
    for events in watching:
        next(updates(events))
    assert ask(server, "/events").status == 503
    assert ask(server, "/").status == 200


def test_those_that_watch_are_told_the_end(state: RunState) -> None:
    """The verdict is the last thing they are sent; then the server is gone."""
    with ViewServer(state, 0, option="--live-port", live=True, metrics=False) as server:
        seen = updates(ask(server, "/events"))
        next(seen)
        state.judged("pass", "all 19 limits held", "reports/some/report.html")
    last = list(seen)[-1].now
    assert (last.over, last.verdict, last.sentence, last.report) == (
        True, "pass", "all 19 limits held", "reports/some/report.html",
    )  # fmt: skip
    with pytest.raises(ConnectionRefusedError):
        ask(server, "/")


def test_a_port_that_is_taken_is_a_mistake_with_a_way_out(server: ViewServer) -> None:
    """Before anything is started."""
    with pytest.raises(UsageError, match=r"--live-port \d+: Address already in use; give another port, or 0"):
        ViewServer(RunState(), port_of(server), option="--live-port", live=True, metrics=False)
