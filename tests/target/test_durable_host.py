"""A host whose target is durable promises only what the target has written down."""

from __future__ import annotations

import json
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.child import Children
from harness.run.hosting import start_host
from harness.target.target import HostConfig

KEEPER = """
import asyncio
from harness.errors import TargetError
from harness.target.target import WorkflowResult

class Keeper:
    def __init__(self, options):
        self.written = asyncio.Event()
        self.accepts = 0

    async def start(self, services): pass
    async def stop(self): pass

    async def accept(self, request):
        self.accepts += 1
        if request.kind == "refused":
            raise TargetError("the store is away", definite=True, error_class="state_unavailable")
        if request.kind == "opens":
            self.written.set()
        await self.written.wait()

    async def run(self, request, watch):
        return WorkflowResult(f"{request.id} after {self.accepts} accepts")
"""


@pytest.fixture
def path() -> Iterator[str]:
    """The socket of a host that serves the keeper."""
    with tempfile.TemporaryDirectory() as folder, Children("test-durable-host", Path(folder) / "logs") as children:
        (Path(folder) / "keeper.py").write_text(KEEPER)
        config = HostConfig(
            run_id="test-durable-host",
            t0=time.monotonic(),
            socket=str(Path(folder) / "host.sock"),
            target="keeper:Keeper",
            options={},
            import_from=folder,
        )
        start_host(children, config, "host")
        yield config.socket


class Peer:
    """A blocking client."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)
        self.lines = self.socket.makefile("rb")

    def send(self, **frame: Any) -> None:
        self.socket.sendall(json.dumps(frame).encode() + b"\n")

    def submit(self, workflow: str, kind: str) -> None:
        self.send(type="submit", id=workflow, kind=kind, seed=1, deadline_s=10.0)

    def read(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(self.lines.readline())
        return frame


def test_acceptance_is_told_after_it_was_written_down(path: str) -> None:
    """Not before, however long that takes; whoever submits the same id meanwhile is told then, too."""
    first, again, opener = Peer(path), Peer(path), Peer(path)
    first.submit("w-1", "waits")
    again.submit("w-1", "waits")
    first.send(type="stats")
    again.send(type="stats")
    assert [first.read()["type"], again.read()["type"]] == ["stats", "stats"]  # answered in order: nothing before them
    opener.submit("w-2", "opens")
    assert [opener.read()["type"] for _ in range(2)] == ["accepted", "ended"]
    for peer in (first, again):
        assert peer.read()["type"] == "accepted"
        ended = peer.read()
        assert (ended["type"], ended["outcome"]) == ("ended", "ok")
        assert ended["digest"] == "w-1 after 2 accepts"


def test_what_could_not_be_written_down_was_never_accepted(path: str) -> None:
    """Its end comes without an acceptance before it."""
    peer = Peer(path)
    peer.submit("w-3", "refused")
    ended = peer.read()
    assert (ended["type"], ended["outcome"], ended["error_class"]) == ("ended", "failed", "state_unavailable")
