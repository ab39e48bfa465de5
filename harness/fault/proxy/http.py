"""HTTP/1.1 as far as an API for a few local clients needs it: a body by its length, connections kept alive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

HEAD_BYTES_MAX = 32 * 2**10
BODY_BYTES_MAX = 2**20
IDLE_S = 75.0


@dataclass(frozen=True, slots=True)
class Request:
    """One request, whole."""

    method: str
    path: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """Its answer."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"


class _Bad(Exception):
    """A request that is none: status and words."""


async def serve_connection(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Callable[[Request], Response]
) -> None:
    """Answer the requests of one connection until it ends, in order. `reader` has a limit of `HEAD_BYTES_MAX`."""
    try:
        async with asyncio.timeout(None) as patience:
            while True:
                patience.reschedule(asyncio.get_running_loop().time() + IDLE_S)
                try:
                    request = await _request(reader, writer)
                except _Bad as bad:
                    status, words = bad.args
                    _write(writer, Response(status, b'{"error":"%b","status":%d}' % (words, status)), keeps=False)
                    break
                keeps = request.headers.get("connection", "").lower() != "close"
                _write(writer, answer(request), keeps=keeps)
                await writer.drain()
                if not keeps:
                    break
    except (asyncio.IncompleteReadError, TimeoutError, ConnectionError, asyncio.CancelledError):
        pass  # the client left, or we do: the task has nobody to tell
    finally:
        writer.close()


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise _Bad(431, b"the request's head is too large") from None
    line, *rest = head[:-4].decode("latin-1").split("\r\n")
    words = line.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise _Bad(400, b"that is not HTTP/1.1")
    headers = {name.strip().lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)}
    if words[2] == "HTTP/1.0":
        headers["connection"] = "close"
    if "transfer-encoding" in headers:
        raise _Bad(411, b"say the body's length: Content-Length")
    length = headers.get("content-length", "0")
    if not length.isdecimal():
        raise _Bad(400, b"that is no Content-Length")
    if int(length) > BODY_BYTES_MAX:
        raise _Bad(413, b"the body is too large")
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await reader.readexactly(int(length))
    return Request(words[0].upper(), words[1].partition("?")[0], headers, body)


def _write(writer: asyncio.StreamWriter, response: Response, *, keeps: bool) -> None:
    head = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
    if response.status != HTTPStatus.NO_CONTENT:
        head += [f"Content-Type: {response.content_type}", f"Content-Length: {len(response.body)}"]
    if not keeps:
        head.append("Connection: close")
    writer.write("\r\n".join([*head, "", ""]).encode("latin-1") + response.body)
