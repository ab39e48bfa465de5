"""The host process over its real socket: one promise a workflow, kept once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.child import Child, Children
from harness.errors import TargetUnavailable, UsageError
from harness.run.hosting import start_host
from harness.target import PYTHON_TARGET
from harness.target.target import HostConfig
from harness.target.wire import Accepted, Ended, HostFrame

FLOWS = """
import asyncio, sys

gates = {}
runs = []

def gate(name):
    return gates.setdefault(name, asyncio.Event())

async def answer(request, watch):
    print("printed by the target")
    async with watch.step("triage"):
        await asyncio.sleep(0)
    return {"id": request.id, "input": request.input}

async def counted(request, watch):
    runs.append(request.id)
    if request.kind == "opens":
        gate(request.input).set()
        return {"runs": len(runs)}
    await gate(request.id).wait()
    return {"runs": runs.count(request.id)}

async def breaks(request, watch):
    async with watch.step("triage"):
        raise LookupError("no such runbook")

async def slow(request, watch):
    await asyncio.sleep(600)

async def strange(request, watch):
    return object()

def not_async(request, watch):
    return {}

class Owner:
    async def start(self, services): raise OSError("the model file is missing")
    async def run(self, request, watch): return {}
    async def stop(self): pass
"""


class Peer:
    """A plain blocking client of the frames."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(path)
        self._lines = self._socket.makefile("rb")

    def send(self, **frame: Any) -> None:
        self._socket.sendall(json.dumps(frame).encode() + b"\n")

    def submit(self, workflow: str, kind: str = "k", **more: Any) -> None:
        self.send(type="submit", id=workflow, kind=kind, seed=1, deadline_s=more.pop("deadline_s", 30.0), **more)

    def read(self) -> dict[str, Any]:
        line = self._lines.readline()
        return json.loads(line) if line else {}

    def raw(self, line: bytes) -> None:
        self._socket.sendall(line)

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


class Served:
    """A host that serves one attribute of the flows module."""

    def __init__(self, children: Children, folder: Path) -> None:
        self._children = children
        self._folder = folder
        self.socket = str(folder / "host.sock")
        self.host: Child | None = None

    def start(self, attribute: str) -> None:
        config = HostConfig(
            run_id="test-host",
            t0=time.monotonic(),
            socket=self.socket,
            target=PYTHON_TARGET,
            options={"attribute": attribute},
            import_from=str(self._folder),
        )
        self.host = start_host(self._children, config, "host")

    def peer(self) -> Peer:
        return Peer(self.socket)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A folder with the flows module, and children that end with the test."""
    with tempfile.TemporaryDirectory(prefix="harness-") as folder:
        Path(folder, "flows.py").write_text(FLOWS)
        with Children("test-host", tmp_path / "logs") as children:
            yield Served(children, Path(folder))
        assert children.leftovers == ()


def test_a_workflow_is_accepted_then_ended_with_its_steps_and_stamps(served: Served) -> None:
    """The stamps are in order and on the run's clock; what the target prints disturbs nothing."""
    served.start("flows:answer")
    peer = served.peer()
    peer.submit("w1", input={"text": "x"})
    accepted, ended = peer.read(), peer.read()
    assert (accepted["type"], accepted["id"]) == ("accepted", "w1")
    assert (ended["type"], ended["outcome"], ended["id"]) == ("ended", "ok", "w1")
    assert 0 <= accepted["at"] == ended["accepted"] <= ended["started"] <= ended["ended"] < 60
    [[name, agent, queued, started, stopped, outcome, attempts, waited]] = ended["steps"]
    assert (name, agent, outcome, attempts, waited) == ("triage", "triage", "ok", 1, 0.0)
    assert ended["accepted"] <= queued <= started <= stopped <= ended["ended"]


def test_submitting_a_known_id_attaches_and_never_runs_it_twice(served: Served) -> None:
    """A client that lost its connection gets the end of the one and only run."""
    served.start("flows:counted")
    first = served.peer()
    first.submit("w1")
    assert first.read()["type"] == "accepted"
    first.close()
    second = served.peer()
    second.submit("w1")
    assert second.read()["type"] == "accepted"
    opener = served.peer()
    opener.submit("w2", kind="opens", input="w1")
    ended = second.read()
    third = served.peer()
    third.submit("w1")  # the end was sent on a connection that is still open: not acknowledged, still known
    assert third.read()["type"] == "accepted"
    assert third.read() == ended
    assert ended["outcome"] == "ok"
    opener.read()
    digest_of_one_run = ended["digest"]
    second.submit("w3", kind="opens", input="w3")  # acknowledges w1 on this connection
    assert [second.read()["type"], second.read()["type"]] == ["accepted", "ended"]
    assert digest_of_one_run == opener_digest({"runs": 1})


def opener_digest(result: object) -> str:
    """The digest of a result, by its definition: blake2b of its canonical JSON."""
    return hashlib.blake2b(json.dumps(result, separators=(",", ":")).encode(), digest_size=16).hexdigest()


def test_an_end_nobody_read_is_kept_for_a_client_that_comes_back(served: Served) -> None:
    """The connection was gone when the workflow ended; its end is delivered to the next one that asks."""
    served.start("flows:counted")
    first = served.peer()
    first.submit("w1")
    first.read()
    first.close()
    opener = served.peer()
    opener.submit("w2", kind="opens", input="w1")
    while in_flight(opener) > 0:
        pass
    late = served.peer()
    late.submit("w1")
    assert late.read()["type"] == "accepted"
    assert late.read()["outcome"] == "ok"


def in_flight(peer: Peer) -> int:
    """Workflows the host is running now."""
    peer.send(type="stats")
    while (frame := peer.read())["type"] != "stats":
        pass
    return int(frame["use"]["in_flight"])


def test_a_targets_exception_is_a_failed_workflow_with_its_name_and_failed_step(served: Served) -> None:
    """The target's bug is that workflow's outcome; the host serves on."""
    served.start("flows:breaks")
    peer = served.peer()
    for workflow in ("w1", "w2"):
        peer.submit(workflow)
        peer.read()
        ended = peer.read()
        assert (ended["outcome"], ended["error_class"], ended["message"]) == (
            "failed",
            "LookupError",
            "no such runbook",
        )
        assert ended["steps"][0][5] == "failed"


def test_a_python_target_past_its_deadline_is_unknown_not_failed(served: Served) -> None:
    """It may have had effects."""
    served.start("flows:slow")
    peer = served.peer()
    peer.submit("w1", deadline_s=0.05)
    peer.read()
    ended = peer.read()
    assert (ended["outcome"], ended["error_class"]) == ("unknown", "deadline")


def test_a_result_that_is_not_json_is_a_definite_failure(served: Served) -> None:
    """Said in the outcome, with the reason."""
    served.start("flows:strange")
    peer = served.peer()
    peer.submit("w1")
    peer.read()
    ended = peer.read()
    assert (ended["outcome"], ended["error_class"]) == ("failed", "result_not_json")


@pytest.mark.parametrize("line", [b"hello\n", b'{"type":"submit"}\n', b'{"type":"dance"}\n', b"x" * (5 * 2**20)])
def test_a_line_that_is_no_frame_is_refused_and_the_host_serves_on(served: Served, line: bytes) -> None:
    """Refused with the reason, then closed; other connections notice nothing."""
    served.start("flows:answer")
    peer = served.peer()
    with contextlib.suppress(BrokenPipeError):  # the host hung up before the end of an endless line
        peer.raw(line)
    assert peer.read()["type"] == "refused"
    assert peer.read() == {}
    other = served.peer()
    other.submit("w1")
    assert [other.read()["type"], other.read()["type"]] == ["accepted", "ended"]


def test_stats_tell_acceptances_and_loop_lag(served: Served) -> None:
    """Counted since the start; lags since the last question."""
    served.start("flows:answer")
    peer = served.peer()
    peer.submit("w1")
    peer.read()
    peer.read()
    lags: list[float] = []
    while len(lags) < 3:
        peer.send(type="stats")
        use = peer.read()["use"]
        lags += use["loop_lags_s"]
    assert use["accepted"] == 1
    assert use["in_flight"] == 0
    assert all(lag >= 0 for lag in lags)


@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        ("nowhere:run", "importing nowhere failed"),
        ("flows:nothing", "no attribute 'nothing'"),
        ("flows:not_async", "not an async function"),
    ],
)
def test_a_target_that_does_not_exist_is_a_usage_error(served: Served, attribute: str, words: str) -> None:
    """Its name and what is wrong with it are in the message."""
    with pytest.raises(UsageError, match=words):
        served.start(attribute)


def test_a_target_that_raises_at_start_is_unavailable(served: Served) -> None:
    """Nothing was measured, so it is no failure of the target under load."""
    with pytest.raises(TargetUnavailable, match="the model file is missing"):
        served.start("flows:Owner")


def test_sigterm_ends_what_runs_as_unknown(served: Served) -> None:
    """The client is told before the host leaves."""
    served.start("flows:slow")
    peer = served.peer()
    peer.submit("w1")
    peer.read()
    assert served.host is not None
    os.kill(served.host.pid, signal.SIGTERM)
    ended = peer.read()
    assert (ended["outcome"], ended["error_class"]) == ("unknown", "host_stopped")
    assert served.host.wait(10) == 0


def test_frames_are_decodable_by_the_clients_types(served: Served) -> None:
    """What the host writes is what the wire module declares."""
    served.start("flows:answer")
    peer = served.peer()
    peer.submit("w1")
    frames = [msgspec.json.decode(json.dumps(peer.read()).encode(), type=HostFrame) for _ in range(2)]
    assert isinstance(frames[0], Accepted)
    assert isinstance(frames[1], Ended)
