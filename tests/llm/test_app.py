"""The HTTP side: what it tells of itself, and what becomes of requests that nobody should send."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from harness.llm import app as app_module
from harness.llm.app import BODY_BYTES_MAX, HEAD_BYTES_MAX, App, Connection
from harness.llm.calls import CallLog
from harness.llm.config import ProviderConfig
from harness.llm.server import listen, run_app
from harness.llm.simulator import Simulator
from harness.llm.wire import Asked, Dialect, Reply, Source
from harness.scenario.models import Llm, LlmFault
from tests.llm.conftest import Serve, Served
from tests.llm.wire import CHAT, HEADERS, MESSAGES, RESPONSES, Wire, body, head, whole

MEBIBYTE = 2**20
PATIENCE_S = 0.3


@pytest.fixture(scope="module")
def served(serve_all: Serve) -> Served:
    return serve_all()


@contextmanager
def in_thread(source: Callable[[], Source], patience_s: float = PATIENCE_S) -> Iterator[str]:
    """The same server in a thread of ours, so that its limits can be short: its URL."""
    config = ProviderConfig(run_id="test", t0=0.0)
    listener = listen(config)
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        await run_app(App(source(), patience_s=patience_s), listener, stop)

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10.0)
        loop.close()


def simulator() -> Source:
    config = ProviderConfig(run_id="test", t0=0.0, time_scale=0.001)
    return Simulator(config, CallLog(None), time.monotonic)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that waits for PATIENCE_S only."""
    monkeypatch.setattr(Connection, "patience_s", PATIENCE_S)
    with in_thread(simulator) as url:
        yield url


def error_of(path: str, payload: bytes) -> dict[str, Any]:
    """The error in a body, which has the shape of the provider at that path."""
    said = json.loads(payload)
    assert ("type" in said) == (path == MESSAGES)
    error: dict[str, Any] = said["error"]
    assert {"type", "message"} <= error.keys()
    return error


# What it tells of itself.


@pytest.mark.parametrize("path", ["/", "/health"])
def test_it_says_what_it_is(served: Served, path: str) -> None:
    """In one line of JSON, which names the endpoints."""
    answer = httpx2.get(served.url + path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"object": "harness.llm", "endpoints": [CHAT, MESSAGES, RESPONSES]}
    assert "\n" not in answer.text


def test_models_are_listed_as_openai_lists_them(served: Served) -> None:
    """Only those that are served under OpenAI's endpoints."""
    listed = httpx2.get(served.url + "/v1/models").json()
    assert listed["object"] == "list"
    assert "gpt-4.1-mini" in [model["id"] for model in listed["data"]]
    assert not any(model["id"].startswith("claude") for model in listed["data"])


def test_models_are_listed_as_anthropic_lists_them(served: Served) -> None:
    """For who sends `anthropic-version`."""
    listed = httpx2.get(served.url + "/v1/models", headers={"anthropic-version": "2023-06-01"}).json()
    names = [model["id"] for model in listed["data"]]
    assert "claude-haiku-4-5" in names
    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == (names[0], names[-1], False)


def test_a_head_request_has_no_body(served: Served) -> None:
    """As HTTP has it; the connection goes on."""
    with Wire(served.url) as wire:
        wire.send(b"HEAD /health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b" 200 " in wire.read(b"\r\n\r\n")
        wire.send(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert wire.answer()[0] == 200


# Requests that are none.


@pytest.mark.parametrize(("path", "like"), [("/v1/chat", CHAT), ("/v1/messages/batches", MESSAGES), ("/x%00y", CHAT)])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_unknown_path(served: Served, path: str, like: str, method: str) -> None:
    """404, in the shape of the provider that the client seems to ask."""
    headers = HEADERS if like == MESSAGES else {"authorization": "Bearer any"}
    answer = httpx2.request(method, served.url + path, headers=headers)
    assert answer.status_code == 404
    error_of(like, answer.content)


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_wrong_method(served: Served, path: str, method: str) -> None:
    """405, and which one is right."""
    answer = httpx2.request(method, served.url + path, headers=HEADERS)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert "POST" in error_of(path, answer.content)["message"]


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"model": 1}', b'{"a":' * 5000, b'{"model":"\\ud800"}', b"0" * 10_000],
)
def test_a_body_that_cannot_be_read(served: Served, path: str, payload: bytes) -> None:
    """400 in the provider's shape; the connection is still good for another request."""
    with Wire(served.url) as wire:
        wire.send(whole(payload, path))
        status, headers, said = wire.answer()
        assert status == 400
        assert headers["content-type"] == "application/json"
        error_of(path, said)
        wire.send(whole(body(path=path), path))
        assert wire.answer()[0] == 200


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
def test_no_key(served: Served, path: str) -> None:
    """401; without `anthropic-version`, too."""
    answer = httpx2.post(served.url + path, content=body(path=path))
    assert answer.status_code == 401
    error_of(path, answer.content)


@pytest.mark.parametrize(
    "payload", [b"\x16\x03\x01\x02\x00\x01\x00", b"HELLO\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"]
)
def test_what_is_not_http(served: Served, payload: bytes) -> None:
    """A TLS hello, say: 400 and the end."""
    with Wire(served.url) as wire:
        wire.send(payload)
        assert wire.read(b"\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        assert wire.ended() == "closed"


# Requests that are too large.


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_a_giant_body(served: Served, path: str, chunked: bool) -> None:
    """413 once all of it came, none of which was kept: six times as much costs no more memory than one."""
    process = psutil.Process(served.provider.pid)
    sizes = []
    for mebibytes in (33, 200):
        before = process.memory_info().rss
        with Wire(served.url) as wire:
            part = b"x" * MEBIBYTE
            wire.send(head(None if chunked else mebibytes * MEBIBYTE, path))
            for _ in range(mebibytes):
                wire.send(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
            if chunked:
                wire.send(b"0\r\n\r\n")
            status, headers, said = wire.answer()
            assert status == 413
            assert headers["connection"] == "close"
            assert str(BODY_BYTES_MAX) in error_of(path, said)["message"]
            assert wire.ended() == "closed"
        sizes.append(process.memory_info().rss - before)
    assert sizes[1] < 64 * MEBIBYTE


def test_a_body_of_the_largest_size_is_read(served: Served) -> None:
    """Up to the last byte."""
    payload = body(user="x" * (BODY_BYTES_MAX - len(body(user=""))))
    assert len(payload) == BODY_BYTES_MAX
    assert httpx2.post(served.url + CHAT, content=payload, headers=HEADERS).status_code == 200


def test_a_head_without_end(served: Served) -> None:
    """The connection is cut before the head takes up memory, or the time of everybody else."""
    process = psutil.Process(served.provider.pid)
    before = process.memory_info().rss
    with Wire(served.url) as wire:
        wire.send(b"POST /v1/messages HTTP/1.1\r\nx-a: ")
        try:
            for _ in range(1000):
                wire.send(b"a" * HEAD_BYTES_MAX)
            pytest.fail("all of it was taken")
        except ConnectionError:
            pass
    assert process.memory_info().rss - before < 8 * MEBIBYTE


def test_many_small_parts_of_a_body(served: Served) -> None:
    """A body that comes in pieces is put together again."""
    payload = body()
    with Wire(served.url) as wire:
        wire.send(head(None))
        for at in range(0, len(payload), 7):
            part = payload[at : at + 7]
            wire.send(b"%x\r\n%b\r\n" % (len(part), part))
        wire.send(b"0\r\n\r\n")
        assert wire.answer()[0] == 200


def test_two_requests_at_once_are_answered_in_turn(served: Served) -> None:
    """Pipelined, on one connection."""
    with Wire(served.url) as wire:
        wire.send(whole(body()) + whole(body(path=MESSAGES), MESSAGES))
        assert json.loads(wire.answer()[2])["object"] == "chat.completion"
        assert json.loads(wire.answer()[2])["type"] == "message"


def test_many_requests_ahead_and_of_every_kind(served: Served) -> None:
    """One connection serves whole answers, streams and refusals by turns; nothing of one gets into the next."""
    with Wire(served.url) as wire:
        turns = [
            (whole(body()), 200),
            (whole(b"{"), 400),
            (whole(body(stream=True)), 200),
            (whole(b"x" * 100_000, "/nowhere"), 404),
            (whole(b"x" * 100_000, "/v1/models", "GET"), 200),
            (whole(body(path=MESSAGES), MESSAGES), 200),
        ]
        for sent, status in turns:
            wire.send(sent)
            assert wire.answer()[0] == status
        wire.send(b"".join(sent for sent, _ in 3 * turns))
        assert [wire.answer()[0] for _ in 3 * turns] == 3 * [status for _, status in turns]


def test_a_client_that_waits_for_leave_is_told_to_continue(served: Served) -> None:
    """`expect: 100-continue`, as some clients send it before a long body."""
    payload = body()
    with Wire(served.url) as wire:
        wire.send(head(len(payload), expect="100-continue"))
        assert wire.read(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send(payload)
        assert wire.answer()[0] == 200


@pytest.mark.parametrize("line", [b"x: y\r\n" * HEAD_BYTES_MAX, b"x: " + b"y" * 8 * HEAD_BYTES_MAX])
def test_headers_behind_a_body_are_bounded_too(served: Served, line: bytes) -> None:
    """Trailers are as much a client's to choose as a head."""
    with Wire(served.url) as wire:
        wire.send(head(None) + b"2\r\n{}\r\n0\r\n")
        wire.socket.settimeout(5.0)  # less than the server's patience with a body
        try:
            wire.send(line)
            assert wire.ended() in ("closed", "reset")
        except (BrokenPipeError, ConnectionResetError):
            pass


# Clients that are too slow.


def test_a_body_that_does_not_come(impatient: str) -> None:
    """408 in the provider's shape, and the end."""
    with Wire(impatient) as wire:
        wire.send(head(1000, MESSAGES) + b'{"model"')
        status, headers, said = wire.answer()
        assert (status, headers["connection"]) == (408, "close")
        error_of(MESSAGES, said)
        assert wire.ended() == "closed"


@pytest.mark.parametrize("first", [b"", b"P", b"\r\n", b"POST /v1/messages HTTP/1.1\r\nhost: x\r\n"])
def test_a_head_that_does_not_come(impatient: str, first: bytes) -> None:
    """Half-open connections are cut."""
    with Wire(impatient) as wire:
        wire.send(first)
        assert wire.ended() in ("closed", "reset")


def test_a_head_that_trickles(impatient: str) -> None:
    """A byte now and then does not keep a connection open."""
    ended = threading.Event()
    with Wire(impatient) as wire:

        def trickle() -> None:
            try:
                wire.send(b"POST /v1/messages HTTP/1.1\r\nx-a: ")
                while not ended.wait(PATIENCE_S / 10):
                    wire.send(b"a")
            except OSError:
                return

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert wire.ended() in ("closed", "reset")
        finally:
            ended.set()
            thread.join()


def test_an_idle_connection_may_be_used_again(impatient: str) -> None:
    """After longer than a head may take: that a client keeps a connection is no offence."""
    with Wire(impatient) as wire:
        for _ in range(2):
            wire.send(whole(body()))
            assert wire.answer()[0] == 200
            wire.socket.settimeout(2 * PATIENCE_S)
            with pytest.raises(TimeoutError):
                wire.socket.recv(1)
            wire.socket.settimeout(10.0)


def test_the_second_head_of_a_connection_must_come_too(impatient: str) -> None:
    """Once it has begun."""
    with Wire(impatient) as wire:
        wire.send(whole(body()))
        assert wire.answer()[0] == 200
        wire.send(b"POST /v1")
        assert wire.ended() in ("closed", "reset")


def test_there_are_only_so_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is closed at once; when one goes there is room again."""
    monkeypatch.setattr(app_module, "CONNECTIONS_MAX", 5)
    monkeypatch.setattr(Connection, "open_now", 0)
    with in_thread(simulator, 10.0) as url:
        wires = [Wire(url) for _ in range(5)]
        for wire in wires:
            wire.send(whole(body()))
            assert wire.answer()[0] == 200
        with Wire(url) as wire:
            assert wire.ended() in ("closed", "reset")
        wires.pop().socket.close()
        deadline = time.monotonic() + 10.0
        while Connection.open_now > 4:
            assert time.monotonic() < deadline
            time.sleep(0.01)  # until the server has seen it go
        with Wire(url) as wire:
            wire.send(whole(body()))
            assert wire.answer()[0] == 200
        for wire in wires:
            wire.socket.close()


def test_a_thousand_clients_that_leave_half_way(serve: Serve) -> None:
    """No connection is left behind, and every call that had begun is written down as left."""
    served = serve(time_scale=20.0)
    process = psutil.Process(served.provider.pid)
    connections = len(process.net_connections())
    for batch in range(4):
        wires = [Wire(served.url) for _ in range(250)]
        for number, wire in enumerate(wires):
            wire.send(whole(body(f"{batch}-{number}", stream=True)))
        for wire in wires:
            wire.socket.close()
    deadline = time.monotonic() + 20.0
    while len(process.net_connections()) > connections:
        assert time.monotonic() < deadline
        time.sleep(0.05)  # until the server has seen them go
    assert httpx2.get(served.url + "/health").status_code == 200
    calls = served.calls()
    assert len(calls) == 1000
    assert all(call.gone and not call.complete for call in calls)


def test_thousands_of_half_open_connections_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is being served goes on; after their time they are gone."""
    monkeypatch.setattr(Connection, "patience_s", 3.0)
    monkeypatch.setattr(Connection, "open_now", 0)
    with in_thread(simulator, 10.0) as url, Wire(url) as served, ExitStack() as held:
        for number in range(2000):
            wire = held.enter_context(Wire(url))
            wire.send(b"" if number % 2 else b"POST / HTT")
        served.send(whole(body()))
        assert served.answer()[0] == 200
        deadline = time.monotonic() + 20.0
        while Connection.open_now > 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)  # until their time is over
        served.send(whole(body()))
        assert served.answer()[0] == 200


# Connections that a fault tears.


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_dropped_answer_is_half_there_and_then_reset(serve: Serve, stream: bool) -> None:
    """The half arrives; then comes RST, not a clean end."""
    with Wire(serve(llm=Llm(fault=(LlmFault(fault="dropped"),))).url) as wire:
        wire.send(whole(body(stream=stream)))
        assert wire.read(b" ") == b"HTTP/1.1 "
        assert wire.read(b"chat.completion")
        assert wire.ended() == "reset"


def test_a_refused_connection_is_reset_before_any_answer(serve: Serve) -> None:
    """RST, and not a byte."""
    with Wire(serve(llm=Llm(fault=(LlmFault(fault="refused_connection"),))).url) as wire:
        wire.send(whole(body()))
        with pytest.raises(ConnectionResetError):
            assert wire.socket.recv(1) == b"never", "a clean end"


# Bugs of ours.


class Broken:
    """A source with a bug: before the answer begins, or behind its head."""

    def __init__(self, begun: bool) -> None:
        self.begun = begun

    async def respond(self, dialect: Dialect, asked: Asked, body: bytes, reply: Reply) -> None:
        """Raises."""
        if self.begun:
            await reply.start(200, [], stream=True)
            await reply.send(b"data: {}\n\n")
        raise ZeroDivisionError("a secret\nof the stack")


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_a_bug_is_a_500(path: str, capfd: pytest.CaptureFixture[str]) -> None:
    """In the provider's shape, without a word of where it happened; that is on standard error, in one line."""
    with in_thread(lambda: Broken(False)) as url:
        answer = httpx2.post(url + path, content=body(path=path), headers=HEADERS)
    assert answer.status_code == 500
    error_of(path, answer.content)
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert capfd.readouterr().err == "a bug of the provider: ZeroDivisionError: a secret of the stack\n"


def test_a_bug_within_a_stream_resets_it(capfd: pytest.CaptureFixture[str]) -> None:
    """A clean end would pass for a whole answer."""
    with in_thread(lambda: Broken(True)) as url, Wire(url) as wire:
        wire.send(whole(body(stream=True)))
        assert wire.ended() == "reset"
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_nothing_was_said_on_standard_error(served: Served) -> None:
    """All of the above was the clients' doing."""
    assert httpx2.get(served.url + "/health").status_code == 200
    logs = list(Path(served.log).parent.glob("logs-*/llm.log"))
    assert logs
    assert [log.read_text() for log in logs] == [""] * len(logs)
