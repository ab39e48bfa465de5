"""A provider whose every byte and moment a test decides: a server that reads a request and plays what it is given."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

JSON = b"application/json"
EVENTS = b"text/event-stream; charset=utf-8"
RESET = b"<reset>"
"""In the place of a chunk: the connection is torn down."""


@dataclass
class Play:
    """An answer: its head, and each chunk with the seconds to wait before it."""

    chunks: Sequence[tuple[float, bytes]]
    status: int = 200
    content_type: bytes = EVENTS
    headers: Sequence[tuple[bytes, bytes]] = ()


@dataclass
class Upstream:
    """What it plays, in order, the last again and again; and what it was asked."""

    plays: list[Play]
    url: str = ""
    heads: list[bytes] = field(default_factory=list)  # request lines and headers
    bodies: list[bytes] = field(default_factory=list)
    most_at_once: int = 0
    hung_up: threading.Event = field(default_factory=threading.Event)  # a client went before its answer's end
    _now: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            self.bodies.append(await reader.readexactly(length))
            self.heads.append(head)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            try:
                await self._play(self.plays[min(len(self.heads), len(self.plays)) - 1], reader, writer)
            finally:
                self._now -= 1
        except (ConnectionError, asyncio.IncompleteReadError):
            self.hung_up.set()
        finally:
            writer.close()

    async def _play(self, play: Play, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        headed = False
        for wait_s, chunk in play.chunks:
            if await self._left(reader, wait_s):
                raise ConnectionResetError
            if chunk == RESET:
                writer.transport.abort()
                return
            if not headed:
                headed = True
                headers = [(b"content-type", play.content_type), (b"transfer-encoding", b"chunked"), *play.headers]
                lines = b"".join(b"%b: %b\r\n" % header for header in headers)
                writer.write(b"HTTP/1.1 %d X\r\n%bconnection: close\r\n\r\n" % (play.status, lines))
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _left(self, reader: asyncio.StreamReader, wait_s: float) -> bool:
        """Whether the client hangs up within this time."""
        try:
            return await asyncio.wait_for(reader.read(1), wait_s) == b"" if wait_s > 0 else reader.at_eof()
        except TimeoutError:
            return False


@contextmanager
def upstream(*plays: Play) -> Iterator[Upstream]:
    """One that serves at `url`, in a thread of its own."""
    served = Upstream(list(plays))
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(served.serve, "127.0.0.1", 0, backlog=512))
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield served
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
