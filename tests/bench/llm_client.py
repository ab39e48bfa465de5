"""The clients of `llm.py`, in a process of their own: a job on standard input, what was seen on standard output.

Plain HTTP over asyncio's protocols, so that the client costs a tenth of what it measures.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvloop

HEAD = (
    "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer none\r\nx-api-key: none\r\n"
    "anthropic-version: 2023-06-01\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
)
CHUNKED_END = b"0\r\n\r\n"


class Line(asyncio.Protocol):
    """One connection, one exchange at a time. Times are of `time.monotonic`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.done: asyncio.Future[None] | None = None
        self.begun: asyncio.Future[None]  # the first event of a stream

    def connection_lost(self, exc: Exception | None) -> None:
        if self.done is not None and not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server hung up"))

    def send(self, request: bytes) -> asyncio.Future[None]:
        """Begin an exchange; the future is done when its answer is whole."""
        self.head, self.left = b"", -1
        self.status, self.first_at, self.ended_at = 0, 0.0, 0.0
        self.done = asyncio.get_running_loop().create_future()
        self.begun = asyncio.get_running_loop().create_future()
        self.sent_at = time.monotonic()
        self.transport.write(request)
        return self.done

    def data_received(self, data: bytes) -> None:
        if self.left == -1:  # the head, and in a stream what comes before its first event
            self.head += data
            if (end := self.head.find(b"\r\n\r\n")) < 0:
                return
            self.status = int(self.head[9:12])
            length = self.head.find(b"content-length: ", 0, end)
            if length < 0:
                if self.head.find(b"data: ", end) < 0:
                    return
                self.left, self.first_at = -2, time.monotonic()
                self.begun.set_result(None)
            else:
                self.left = int(self.head[length + 16 : self.head.index(b"\r", length)]) - (len(self.head) - end - 4)
        elif self.left > 0:
            self.left -= len(data)
        if self.left == 0 or (self.left == -2 and data.endswith(CHUNKED_END)):
            self.ended_at = time.monotonic()
            assert self.done is not None
            self.done.set_result(None)


@asynccontextmanager
async def lines(port: int, count: int) -> AsyncIterator[list[Line]]:
    """So many connections."""
    loop = asyncio.get_running_loop()
    opened = [(await loop.create_connection(Line, "127.0.0.1", port))[1] for _ in range(count)]
    try:
        yield opened
    finally:
        for line in opened:
            line.transport.abort()


def request(path: str, body: dict[str, Any], **canary: object) -> bytes:
    """A request whose prompt carries a canary of these fields."""
    mark = " ".join(f"{name}={value}" for name, value in canary.items())
    text = json.dumps(body).replace("@canary", f"[harness {mark}]")
    return (HEAD.format(path=path, length=len(text)) + text).encode()


async def rate(job: dict[str, Any]) -> dict[str, Any]:
    """Answers in `seconds`, asked again and again over all connections."""
    asked = request(job["path"], job["body"], workflow="w", agent="a", step="s", finding="0" * 32, tokens=60)
    async with lines(job["port"], job["connections"]) as opened:
        until = time.monotonic() + job["seconds"]

        async def repeat(line: Line) -> int:
            count = 0
            while time.monotonic() < until:
                await line.send(asked)
                assert line.status == 200
                count += 1
            return count

        begun = time.monotonic()
        counts = await asyncio.gather(*map(repeat, opened))
        return {"count": sum(counts), "seconds": time.monotonic() - begun}


async def streams(job: dict[str, Any]) -> dict[str, Any]:
    """Streams over all connections, begun evenly over two seconds: name -> time to the first event, to the end."""
    seen: dict[str, tuple[float, float]] = {}
    async with lines(job["port"], job["connections"]) as opened:
        until = time.monotonic() + job["seconds"]

        async def repeat(number: int, line: Line) -> None:
            await asyncio.sleep(2.0 * number / len(opened))
            turn = 0
            while time.monotonic() < until:
                name, turn = f"w{number}-{turn}", turn + 1
                await line.send(request(job["path"], job["body"], workflow=name))
                seen[name] = line.first_at - line.sent_at, line.ended_at - line.sent_at

        await asyncio.gather(*(repeat(number, line) for number, line in enumerate(opened)))
    return {"seen": seen}


async def hold(job: dict[str, Any]) -> dict[str, Any]:
    """Open a stream on each connection, say how many have begun, and hold them until standard input ends."""
    async with lines(job["port"], job["connections"]) as opened:
        ends = [line.send(request(job["path"], job["body"], workflow=f"w{n}")) for n, line in enumerate(opened)]
        await asyncio.wait([line.begun for line in opened], timeout=job["seconds"])
        open_now = sum(bool(line.first_at) and not end.done() for line, end in zip(opened, ends, strict=True))
        print(json.dumps({"open": open_now}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for end in ends:
            end.cancel()
    return {}


async def ask_much(job: dict[str, Any]) -> dict[str, Any]:
    """Ask for each of several quotas, more than is admitted, for so many seconds: name -> admitted, refused."""
    seen = {}

    async def one(name: str, path: str, body: dict[str, Any]) -> None:
        async with lines(job["port"], job["connections"]) as opened:
            until = time.monotonic() + job["seconds"]
            asked = request(path, body, workflow="w", agent="a", step="s", finding="0" * 32, tokens=60)

            async def repeat(line: Line) -> tuple[int, int]:
                statuses: list[int] = []
                while True:
                    await asyncio.sleep(0.005)
                    if time.monotonic() >= until:
                        return statuses.count(200), statuses.count(429)
                    await line.send(asked)
                    statuses.append(line.status)

            counts = await asyncio.gather(*map(repeat, opened))
            seen[name] = [sum(column) for column in zip(*counts, strict=True)]

    await asyncio.gather(*(one(name, *what) for name, what in job["asked"].items()))
    return {"seen": seen}


JOBS: dict[str, Callable[..., Any]] = {"rate": rate, "streams": streams, "hold": hold, "ask_much": ask_much}


def main() -> None:
    """One job."""
    job = json.loads(sys.stdin.readline())
    print(json.dumps(uvloop.run(JOBS[job.pop("job")](job))), flush=True)


if __name__ == "__main__":
    main()
