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

from harness.llm.dialects import DIALECTS, dialect_for
from harness.llm.models import SERVED
from harness.llm.wire import Dialect, Headers, Refused, Source

BODY_BYTES_MAX = 32 * 2**20
HEAD_BYTES_MAX = 64 * 2**10
PATIENCE_S = 10.0
"""For the head of a request, and for its body."""
CONNECTIONS_MAX = 10_000
LISTED_AT = "2025-01-01T00:00:00Z"
TRANSPORT = "harness.transport"

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_JSON = (b"content-type", b"application/json")
_EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: closing sends RST


class HttpReply:
    """One response. Watches for the client's leaving from the moment it is made."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._gone_at: float | None = None
        self._watch: asyncio.Task[None] | None = None
        self.started = False

    @property
    def gone_at(self) -> float | None:
        return self._gone_at

    def watch(self) -> None:
        """Notice from now on when the client hangs up."""
        self._watch = asyncio.get_running_loop().create_task(self._watching())

    async def _watching(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone_at = asyncio.get_running_loop().time()

    async def start(self, status: int, headers: Headers, *, stream: bool) -> None:
        self.started = True
        kind = _EVENTS if stream else _JSON
        await self._send({"type": "http.response.start", "status": status, "headers": [kind, *headers]})

    async def send(self, payload: bytes) -> None:
        if self._gone_at is None:
            await self._send({"type": "http.response.body", "body": payload, "more_body": True})

    async def finish(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    def reset(self) -> None:
        transport = self._scope[TRANSPORT]
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()

    def close(self) -> None:
        """Nothing more is to be noticed."""
        if self._watch is not None:
            self._watch.cancel()


class App:
    """Routes requests to the source. `patience_s` bounds how long a body may take to come."""

    def __init__(self, source: Source, *, patience_s: float = PATIENCE_S) -> None:
        self._source = source
        self._patience_s = patience_s
        self._ids = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        headers = dict(scope["headers"])
        dialect = dialect_for(scope["path"], headers)
        reply = HttpReply(scope, receive, send)
        try:
            try:
                await self._answer(scope, headers, dialect, receive, reply)
            except Refused as refused:
                await self._refuse(dialect, refused, reply)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with us, the client is told as a provider would
            sys.stderr.write(f"a bug of the provider: {type(error).__name__}: {error}\n")
            if reply.started:
                reply.reset()
            else:
                await self._refuse(dialect, Refused("server_error", "The provider had an error."), reply)
        finally:
            reply.close()

    async def _answer(
        self, scope: Scope, headers: Mapping[bytes, bytes], dialect: Dialect, receive: Receive, reply: HttpReply
    ) -> None:
        method, path = scope["method"], scope["path"]
        if method in ("GET", "HEAD") and path in ("/", "/health", "/v1/models"):
            await self._tell(path, headers, reply)
            return
        body = await self._body(receive)  # first: what is left unread would be taken for the next request
        if path not in DIALECTS:
            raise Refused("unknown_path", f"There is nothing at {method} {path[:200]}.")
        if method != "POST":
            raise Refused("wrong_method", f"Not allowed to {method} on {path} (HINT: POST).")
        asked = dialect.read(body, headers)
        reply.watch()
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
                    event = await receive()
                    if event["type"] == "http.disconnect":
                        raise Refused("bad_request", "The client hung up before its request was whole.")
                    size += len(event["body"])
                    if size <= BODY_BYTES_MAX:
                        parts.append(event["body"])
                    else:
                        parts.clear()
                    if not event["more_body"]:
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
        await reply.send(body)
        await reply.finish()

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
        await reply.send(body)
        await reply.finish()


class Connection(HttpToolsProtocol):
    """A connection of uvicorn's whose requests' heads must come whole, soon and small; there are only so many of them.

    Between requests uvicorn's own limit for idle connections holds.
    """

    open_now = 0
    patience_s = PATIENCE_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        type(self).open_now += 1
        self._head: asyncio.TimerHandle | None = None  # runs from a head's first byte, or the connection's start
        self._head_bytes = 0
        super().connection_made(transport)
        if self.open_now > CONNECTIONS_MAX:
            transport.abort()
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        type(self).open_now -= 1
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            return
        self._await_head()  # also for bytes that begin nothing, after which uvicorn waits for ever
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX:
            self.transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[TRANSPORT] = self.transport  # type: ignore[literal-required]

    def on_headers_complete(self) -> None:
        self._head_came()
        super().on_headers_complete()

    def _await_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(self.patience_s, self.transport.abort)

    def _head_came(self) -> None:
        self._head_bytes = 0
        if self._head is not None:
            self._head.cancel()
            self._head = None
