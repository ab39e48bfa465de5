"""A black-box HTTP service to load: real HTTP/1.1 over TCP, which knows the truth about what it was asked.

    python service.py      prints its port, serves until standard input ends, then prints its truth as JSON

The path of a request says how it behaves; `?after=SECONDS` delays the end of a job.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Truth:
    """What was asked, in order: the submits' bodies and headers, and how often each job was polled."""

    submits: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    polls: dict[str, int] = field(default_factory=dict)
    connections: int = 0


class Service:
    def __init__(self) -> None:
        self.truth = Truth()
        self.ready_at: dict[str, float] = {}
        self.restarts_left = 2

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.truth.connections += 1
        try:
            while request_line := await reader.readline():
                method, target, _ = request_line.decode().split(" ", 2)
                headers = {}
                while (line := (await reader.readline()).decode().strip()) != "":
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                url = urlsplit(target)
                after_s = float(parse_qs(url.query).get("after", ["0"])[0])
                if method == "POST":
                    self.truth.submits.append(json.loads(body) if body else {})
                    self.truth.headers.append(headers)
                if not await self.answer(method, url.path, after_s, body, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the client hung up, which is its right
        finally:
            writer.close()

    async def answer(self, method: str, path: str, after_s: float, body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False closes the connection."""
        parts = path.strip("/").split("/")
        asked = json.loads(body) if body else {}
        match parts:
            case ["jobs"]:
                self.ready_at[asked["id"]] = time.monotonic() + after_s
                reply(writer, 202, {"id": asked["id"]})
            case ["tickets"]:
                self.ready_at["4711/x"] = time.monotonic()
                reply(writer, 202, {"ticket": [{"number": "4711/x"}]})
            case ["jobs", name]:
                return self.poll(unquote(name), writer)
            case ["flaky", name]:
                self.restarts_left -= 1
                if self.restarts_left >= 0:
                    return False
                reply(writer, 200, {"status": "completed", "id": name})
            case ["direct"]:
                await asyncio.sleep(after_s)
                reply(writer, 200, result(asked))
            case ["other"]:
                reply(writer, 200, result({**asked, "id": "someone else's"}))
            case ["text"]:
                reply(writer, 200, "not JSON at all")
            case ["status", code]:
                reply(writer, int(code), {}, {"Retry-After": "3"} if code in ("429", "503") else {})
            case ["hang"]:
                await asyncio.sleep(60)
            case ["cut"]:
                return False
            case ["events", *how]:
                await events(writer, asked, how)
                return False
            case _:
                reply(writer, 404, {"path": path})
        await writer.drain()
        return True

    def poll(self, name: str, writer: asyncio.StreamWriter) -> bool:
        self.truth.polls[name] = self.truth.polls.get(name, 0) + 1
        if time.monotonic() < self.ready_at[name]:
            reply(writer, 200, {"status": "running"})
        else:
            reply(writer, 200, {"status": "completed", "id": name, "output": "done"})
        return True


def result(asked: dict[str, Any]) -> dict[str, Any]:
    """A finished job, its steps on a clock of the service's own."""
    steps = [
        {"agent": "triage", "started": 1000.0, "ended": 1000.25},
        {"agent": "data", "started": 1000.25, "ended": 1000.75},
    ]
    return {"status": "ok", "id": asked.get("id"), "output": "done", "steps": steps}


def reply(writer: asyncio.StreamWriter, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}"]
    head += [f"{name}: {value}" for name, value in (headers or {}).items()]
    writer.write("\r\n".join([*head, "", ""]).encode() + content)


async def events(writer: asyncio.StreamWriter, asked: dict[str, Any], how: list[str]) -> None:
    """A stream of server-sent events in chunks; `how` says how it ends."""

    def chunk(text: str) -> None:
        writer.write(b"%x\r\n%s\r\n" % (len(text.encode()), text.encode()))

    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk(": hello\n\n")
    for step in result(asked)["steps"]:
        chunk(f"event: step\r\ndata: {json.dumps(step)}\r\n\r\n")
    await writer.drain()
    ends = {"failed": "failed", "unfinished": "", "torn": ""}.get(how[0] if how else "", "completed")
    if ends:
        first, second = json.dumps({"id": asked["id"], "output": "done"}, indent=1).split("\n", 1)
        chunk(f"event: {ends}\ndata: {first}\n" + "".join(f"data: {line}\n" for line in second.split("\n")) + "\n")
    if how != ["torn"]:
        writer.write(b"0\r\n\r\n")
    await writer.drain()


async def serve() -> Truth:
    service = Service()
    server = await asyncio.start_server(service.connected, "127.0.0.1", 0)
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, over.set)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await over.wait()
    server.close()
    return service.truth


if __name__ == "__main__":
    json.dump(asdict(asyncio.run(serve())), sys.stdout)
