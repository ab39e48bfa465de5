"""The HTTP side of a provider, as raw ASGI: routes, bodies within bounds, and one reply for each request."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from harness.llm.dialect import DIALECTS, dialect_for
from harness.llm.models import SERVED
from harness.llm.wire import Dialect, Headers, Refused, Source

BODY_BYTES_MAX = 32 * 2**20
HEAD_BYTES_MAX = 64 * 2**10
PATIENCE_S = 10.0
"""For the head of a request, and for its body."""
CONNECTIONS_MAX = 10_000
LISTED_AT = "2025-01-01T00:00:00Z"
CONNECTION = "harness.connection"
CAME_WHOLE = "harness.whole"
"""In a scope: its connection; and, set when nobody had asked for it yet, that the request's body is all there."""

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_JSON = (b"content-type", b"application/json")
_EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: closing sends RST


class HttpReply:
    """One response."""

    def __init__(self, connection: Connection, send: Send) -> None:
        self._connection = connection
        self._send = send
        self.started = False

    @property
    def gone_at(self) -> float | None:
        return self._connection.lost_at

    async def start(self, status: int, headers: Headers, *, stream: bool) -> None:
        self.started = True
        kind = _EVENTS if stream else _JSON
        await self._send({"type": "http.response.start", "status": status, "headers": [kind, *headers]})

    async def send(self, payload: bytes) -> None:
        if self._connection.lost_at is None:
            await self._send({"type": "http.response.body", "body": payload, "more_body": True})

    async def finish(self, payload: bytes = b"") -> None:
        await self._send({"type": "http.response.body", "body": payload})

    def reset(self) -> None:
        self._connection.reset()


class App:
    """Routes requests to the source. `patience_s` bounds how long a body may take to come."""

    def __init__(self, source: Source, *, patience_s: float = PATIENCE_S) -> None:
        self._source = source
        self._patience_s = patience_s
        self._ids = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        headers = dict(scope["headers"])
        dialect = DIALECTS.get(scope["path"]) or dialect_for(scope["path"], headers)
        reply = HttpReply(scope[CONNECTION], send)
        try:
            try:
                await self._answer(scope, headers, dialect, receive, reply)
            except Refused as refused:
                await self._refuse(dialect, refused, reply)
        except asyncio.CancelledError:  # the provider ends: a half answer must not look like a whole one
            reply.reset()
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with us, the client is told as a provider would
            sys.stderr.write(f"a bug of the provider: {type(error).__name__}: {' '.join(str(error).split())}\n")
            if reply.started:
                reply.reset()
            else:
                await self._refuse(dialect, Refused("server_error", "The provider had an error."), reply)

    async def _answer(
        self, scope: Scope, headers: Mapping[bytes, bytes], dialect: Dialect, receive: Receive, reply: HttpReply
    ) -> None:
        method, path = scope["method"], scope["path"]
        if method in ("GET", "HEAD") and path in ("/", "/health", "/v1/models"):
            await self._tell(path, headers, reply)
            return
        # First, because what is left unread would be taken for the next request; usually it is there already.
        body = _part(await receive())[0] if CAME_WHOLE in scope else await self._body(receive)
        if path not in DIALECTS:
            raise Refused("unknown_path", f"There is nothing at {method} {path[:200]}.")
        if method != "POST":
            raise Refused("wrong_method", f"Not allowed to {method} on {path} (HINT: POST).")
        asked = dialect.read(body, headers)
        await self._source.respond(dialect, asked, body, reply)

    async def _body(self, receive: Receive) -> bytes:
        """The body, whole. Raises `Refused` for one that is too large or too slow.

        What is too large is read and thrown away: a client that is still sending would not see the answer.
        """
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._patience_s):
                while True:
                    part, more = _part(await receive())
                    size += len(part)
                    if size <= BODY_BYTES_MAX:
                        parts.append(part)
                    else:
                        parts.clear()
                    if not more:
                        break
        except TimeoutError:
            if size <= BODY_BYTES_MAX:
                raise Refused("too_slow", f"The request's body did not come within {self._patience_s:g} s.") from None
        if size > BODY_BYTES_MAX:
            raise Refused("too_large", f"Request exceeds the maximum size of {BODY_BYTES_MAX} bytes.")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _refuse(self, dialect: Dialect, refused: Refused, reply: HttpReply) -> None:
        request_id = f"{next(self._ids):024x}"
        status, headers, body = dialect.refusal(refused, request_id)
        length = (b"content-length", b"%d" % len(body))
        unread = [(b"connection", b"close")] if refused.kind in ("too_large", "too_slow") else []
        await reply.start(status, [*headers, *dialect.headers({}, request_id, 0.0), length, *unread], stream=False)
        await reply.finish(body)

    async def _tell(self, path: str, headers: Mapping[bytes, bytes], reply: HttpReply) -> None:
        """What is here, and which models."""
        if path != "/v1/models":
            told: dict[str, Any] = {"object": "harness.llm", "endpoints": sorted(DIALECTS)}
        elif b"anthropic-version" in headers:
            names = [name for name, model in SERVED.items() if model.provider == "anthropic"]
            listed = [{"type": "model", "id": name, "display_name": name, "created_at": LISTED_AT} for name in names]
            told = {"data": listed, "has_more": False, "first_id": names[0], "last_id": names[-1]}
        else:
            names = [name for name, model in SERVED.items() if model.provider == "openai"]
            told = {
                "object": "list",
                "data": [{"id": name, "object": "model", "created": 0, "owned_by": "openai"} for name in names],
            }
        body = msgspec.json.encode(told)
        await reply.start(200, [(b"content-length", b"%d" % len(body))], stream=False)
        await reply.finish(body)


def _part(event: Mapping[str, Any]) -> tuple[bytes, bool]:
    """A part of a body, and whether there is more."""
    if event["type"] == "http.disconnect":
        raise Refused("bad_request", "The client hung up before its request was whole.")
    return event["body"], event["more_body"]


class Connection(HttpToolsProtocol):
    """A connection of uvicorn's whose requests' heads must come whole, soon and small; there are only so many of them.

    Between requests uvicorn's own limit for idle connections holds.
    """

    open_now = 0
    patience_s = PATIENCE_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        type(self).open_now += 1
        self._head: asyncio.TimerHandle | None = None  # runs from a head's first byte, or the connection's start
        self._head_bytes = 0  # since the last that was whole, or the last of a body: trailers count
        self.lost_at: float | None = None  # on the loop's clock
        super().connection_made(transport)
        if self.open_now > CONNECTIONS_MAX:
            transport.abort()
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        type(self).open_now -= 1
        self.lost_at = self.loop.time()
        self._head_came()
        super().connection_lost(exc)

    def reset(self) -> None:
        """Tear it down: the client is sent RST."""
        raw = self.transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > HEAD_BYTES_MAX:
            self.transport.abort()
        elif self.cycle is None or self.cycle.response_complete:
            self._await_head()  # also for bytes that begin nothing, after which uvicorn waits for ever

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[CONNECTION] = self  # type: ignore[literal-required]

    def on_headers_complete(self) -> None:
        self._head_came()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        super().on_message_complete()
        self.cycle.scope[CAME_WHOLE] = True  # type: ignore[literal-required]

    def _await_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(self.patience_s, self.transport.abort)

    def _head_came(self) -> None:
        self._head_bytes = 0
        if self._head is not None:
            self._head.cancel()
            self._head = None
