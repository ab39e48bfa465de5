"""Speaking HTTP/1.1 to a provider by hand, for what no HTTP client would send."""

from __future__ import annotations

import json
import socket
from typing import Any

from harness.llm.canary import Canary

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
FINDING = "0123456789abcdef0123456789abcdef"
HEADERS = {
    "host": "provider",
    "authorization": "Bearer any",
    "x-api-key": "any",
    "anthropic-version": "2023-06-01",
    "content-type": "application/json",
}
"""A key for everybody."""


def body(workflow: str = "10-1", path: str = CHAT, *, step: str = "data-1", tokens: int = 60, **other: Any) -> bytes:
    """A request with a canary."""
    prompt = str(Canary(workflow=workflow, agent="data", step=step, finding=FINDING, tokens=tokens))
    asked: dict[str, Any] = {"model": "claude-haiku-4-5" if path == MESSAGES else "gpt-4.1-mini"}
    if path == RESPONSES:
        asked["input"] = prompt
    else:
        asked["messages"] = [{"role": "user", "content": prompt}]
    if path == MESSAGES:
        asked["max_tokens"] = 500
    return json.dumps(asked | other).encode()


def head(length: int | None, path: str = CHAT, method: str = "POST", **further: str) -> bytes:
    """A request's head; without a length its body is chunked."""
    sized = {"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}
    lines = [f"{name}: {value}\r\n" for name, value in (HEADERS | sized | further).items()]
    return f"{method} {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode()


def whole(payload: bytes, path: str = CHAT, method: str = "POST", **further: str) -> bytes:
    """A request."""
    return head(len(payload), path, method, **further) + payload


class Wire:
    """A connection to `url`. What it reads waits for ten seconds at most."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").rsplit(":", 1)
        self.socket = socket.create_connection((host.strip("[]"), int(port)))
        self.socket.settimeout(10.0)
        self.rest = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, payload: bytes) -> None:
        """All of it."""
        self.socket.sendall(payload)

    def read(self, until: bytes) -> bytes:
        """Everything up to and with these bytes. Raises ConnectionError when it ends before."""
        while until not in self.rest:
            if not (more := self.socket.recv(65536)):
                raise ConnectionError(f"ended after {self.rest!r}")
            self.rest += more
        at = self.rest.index(until) + len(until)
        read, self.rest = self.rest[:at], self.rest[at:]
        return read

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next answer."""
        first, *lines = self.read(b"\r\n\r\n").decode().split("\r\n")[:-2]
        headers = dict(line.split(": ", 1) for line in lines)
        if "content-length" in headers:
            length = int(headers["content-length"])
            while len(self.rest) < length:
                if not (more := self.socket.recv(65536)):
                    raise ConnectionError(f"ended within a body: {self.rest!r}")
                self.rest += more
            payload, self.rest = self.rest[:length], self.rest[length:]
        else:
            payload = b""
            while size := int(self.read(b"\r\n"), 16):
                while len(self.rest) < size + 2:
                    if not (more := self.socket.recv(65536)):
                        raise ConnectionError(f"ended within a chunk: {self.rest!r}")
                    self.rest += more
                payload, self.rest = payload + self.rest[:size], self.rest[size + 2 :]
            self.read(b"\r\n")
        return int(first.split(" ")[1]), headers, payload

    def ended(self) -> str:
        """How the connection ends: `closed`, or `reset`. Whatever else comes is read and dropped."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            return "reset"
        return "closed"
