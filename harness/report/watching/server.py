"""Serves the views of a running run on this machine, from threads of the command's own process.

Only 127.0.0.1 is listened on, and only requests that name it are answered: a page of some other site, whose name was
made to lead here, is refused. Whoever reads slowly holds up its own thread and nothing else.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from types import TracebackType
from typing import Any

from harness.errors import UsageError
from harness.report.watching.openmetrics import CONTENT_TYPE, exposition
from harness.report.watching.page import live_page
from harness.report.watching.state import RunState

ADDRESS = "127.0.0.1"
NAMES = ("127.0.0.1", "localhost", "[::1]")
"""What a request's Host may be, whatever its port: somebody may have forwarded it."""
STREAMS_MAX = 16
READER_S = 10.0
"""Who takes longer to send a request, or to take what is sent, is hung up on; a browser comes back by itself."""
STILL_HERE_S = 10.0
"""So often something is sent where nothing happens, so that readers that left are noticed."""
FAREWELL_S = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


class ViewServer:
    """Serves the page (`live`), the metrics, or both, from `start` to `close`.

    Raises UsageError, naming `option`, when the port cannot be had. Port 0 is any that is free.
    """

    def __init__(self, state: RunState, port: int, *, option: str, live: bool, metrics: bool) -> None:
        self.state = state
        self.live = live
        self.metrics = metrics
        self.streams = Streams()
        try:
            self._server = _Server((ADDRESS, port), _Exchange)
        except OSError as error:
            raise UsageError(
                f"{option} {port}: {error.strerror or error}; give another port, or 0 for any that is free"
            ) from error
        self._server.views = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="views", daemon=True
        )

    @property
    def address(self) -> str:
        """Where it answers: `http://127.0.0.1:PORT`."""
        return f"http://{ADDRESS}:{self._server.server_address[1]}"

    def __enter__(self) -> ViewServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Those that watch are told that it is over, and get a moment to read it."""
        self.state.end()
        self.streams.none_left(FAREWELL_S)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Streams:
    """How many watch, at most `STREAMS_MAX`."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._count = 0

    def enter(self) -> bool:
        """False when there are too many."""
        with self._change:
            if self._count >= STREAMS_MAX:
                return False
            self._count += 1
            return True

    def leave(self) -> None:
        """One less."""
        with self._change:
            self._count -= 1
            self._change.notify_all()

    def none_left(self, timeout_s: float) -> bool:
        """Wait for that; whether it came."""
        with self._change:
            return self._change.wait_for(lambda: self._count == 0, timeout_s)


class _Server(ThreadingTCPServer):
    """Not http.server's own: that one asks for this machine's name, which may take seconds."""

    allow_reuse_address = True
    daemon_threads = True
    views: ViewServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that hangs up in the middle is no news for the person at the terminal. Anything else is."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Exchange(BaseHTTPRequestHandler):
    """One request."""

    server: _Server
    timeout = READER_S
    server_version = "harness"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:
        """The terminal is for the run."""

    def _answer(self, *, with_body: bool) -> None:
        views = self.server.views
        if not self._asks_for_here():
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, explain=f"ask for {views.address}")
            return
        path = self.path.partition("?")[0]
        if path == "/events" and views.live and with_body:
            self._stream(views)
        elif (answer := self._whole(path, views)) is not None:
            self._head(answer.content_type, {**answer.headers, "Content-Length": str(len(answer.body))})
            if with_body:
                self.wfile.write(answer.body)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _whole(self, path: str, views: ViewServer) -> Answer | None:
        if path == "/" and views.live:
            page = live_page()
            return Answer(page.html, "text/html; charset=utf-8", {"Content-Security-Policy": page.policy})
        if path == "/metrics" and views.metrics:
            return Answer(exposition(views.state).encode(), CONTENT_TYPE)
        return None

    def _asks_for_here(self) -> bool:
        """A name that leads here from elsewhere (DNS rebinding) is in the Host header as it was asked for."""
        hosts = self.headers.get_all("Host") or []
        return len(hosts) == 1 and re.sub(r":\d+$", "", hosts[0].strip().lower()) in NAMES

    def _stream(self, views: ViewServer) -> None:
        """Server-sent events: everything at first, then what is new, as fast as the reader takes it."""
        if not views.streams.enter():
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, explain=f"{STREAMS_MAX} pages watch already")
            return
        try:
            self._head("text/event-stream", {})
            self.wfile.write(b"retry: 1000\n\n")
            version, drawn = -1, None
            while True:
                newest = views.state.wait(version, STILL_HERE_S)
                if newest == version:
                    self.wfile.write(b": still here\n\n")
                    continue
                over = views.state.now.over  # before the update is made, so that the last one is never left out
                version, (update, drawn) = newest, views.state.update(drawn)
                self.wfile.write(b"data: " + update + b"\n\n")
                if over:
                    return
        finally:
            views.streams.leave()

    def _head(self, content_type: str, headers: Mapping[str, str]) -> None:
        self.send_response(HTTPStatus.OK)
        fixed = {
            "Content-Type": content_type,
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        for name, value in (fixed | dict(headers)).items():
            self.send_header(name, value)
        self.end_headers()
