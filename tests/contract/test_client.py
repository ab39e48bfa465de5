"""The contract of every Client: it always answers, in time, once, and never calls a maybe a no.

Both clients run against real servers, in a process that gevent has to itself (`tests/load/ask.py`).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

LOAD = Path(__file__).parent.parent / "load"
Ask = Callable[..., dict[str, Any]]
BEHAVIOURS = ("ok", "rejects", "hangs", "cuts", "absent", "fails")


class Started:
    """A server process and the client settings that reach it."""

    def __init__(self, script: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(LOAD / script), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline().strip()


def socket_client(behaviour: str, folder: Path, started: list[Started]) -> dict[str, Any]:
    """A SocketClient's settings, and a peer that behaves so."""
    path = str(folder / "s")
    switches: dict[str, Any] = {
        "ok": {"median_s": 0.05, "sigma": 0.0}, "rejects": {"reject_every": 1, "retry_after_s": 3.0},
        "hangs": {"hang_every": 1}, "cuts": {"cut_every": 1, "hang_every": 1}, "fails": {"fail_every": 1},
        "absent": None,
    }[behaviour]  # fmt: skip
    if switches is not None:
        started.append(Started("peer.py", json.dumps({"socket": path, **switches})))
    return {"socket": path}


def http_client(behaviour: str, folder: Path, started: list[Started]) -> dict[str, Any]:
    """An HttpClient's settings, and a service that behaves so."""
    path = {
        "ok": "/direct?after=0.05", "rejects": "/status/503", "hangs": "/hang", "cuts": "/cut", "fails": "/status/404",
        "absent": "/",
    }[behaviour]  # fmt: skip
    port = "9"
    if behaviour != "absent":
        started.append(Started("service.py"))
        port = started[-1].first_line
    return {"http": {"submit": {"url": f"http://127.0.0.1:{port}{path}", "json": {"id": "{id}"}}}}


@pytest.fixture(params=[socket_client, http_client], ids=["socket", "http"])
def ask(request: pytest.FixtureRequest) -> Iterator[Ask]:
    """Asks one client for workflows, of a target that behaves as told."""
    folder = Path(tempfile.mkdtemp(prefix="hc-"))
    started: list[Started] = []

    def asked(behaviour: str, count: int = 1, deadline_s: float = 5.0) -> dict[str, Any]:
        settings = request.param(behaviour, folder, started)
        requests = [{"id": f"w{n}", "kind": "k", "seed": n, "deadline_s": deadline_s} for n in range(count)]
        out = subprocess.run(
            [sys.executable, str(LOAD / "ask.py"), json.dumps({**settings, "requests": requests})],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        answer: dict[str, Any] = json.loads(out.stdout)
        return answer

    yield asked
    for server in started:
        server.process.kill()
        server.process.wait()
    shutil.rmtree(folder)


def test_a_workflow_that_ends_is_ok_and_took_its_time(ask: Ask) -> None:
    """Three, one after the other, on one connection."""
    answer = ask("ok", count=3)
    assert [reply["outcome"] for reply in answer["replies"]] == ["ok"] * 3
    assert all(took_s >= 0.05 for took_s in answer["took_s"])


def test_a_rejection_is_definitely_not_started(ask: Ask) -> None:
    """And says when to try again."""
    [reply] = ask("rejects")["replies"]
    assert (reply["outcome"], reply["rejected"], reply["error_class"]) == ("not_started", True, "rejected")
    assert reply["retry_after_s"] == 3.0


def test_no_answer_by_the_deadline_is_unknown(ask: Ask) -> None:
    """It may have happened: a timeout is never failed. The answer comes soon after the deadline."""
    answer = ask("hangs", deadline_s=0.3)
    [reply] = answer["replies"]
    assert (reply["outcome"], reply["error_class"]) == ("unknown", "timeout")
    assert 0.3 <= answer["took_s"][0] < 5.0


def test_a_cut_connection_is_unknown(ask: Ask) -> None:
    """After it was sent, nobody knows."""
    answer = ask("cuts", deadline_s=0.3)
    [reply] = answer["replies"]
    assert reply["outcome"] == "unknown"
    assert reply["error_class"] in ("connection", "timeout")
    assert answer["took_s"][0] < 5.0


def test_what_could_never_be_sent_has_failed(ask: Ask) -> None:
    """Nobody listens: definitely not done, and not asked for in a spin."""
    answer = ask("absent", deadline_s=0.5)
    [reply] = answer["replies"]
    assert (reply["outcome"], reply["error_class"]) == ("failed", "connect")
    assert answer["cpu_s"] < 0.5
    assert answer["accepted"] == []


def test_a_definite_failure_is_failed(ask: Ask) -> None:
    """The target said so itself."""
    [reply] = ask("fails")["replies"]
    assert reply["outcome"] == "failed"
    assert reply["error_class"] in ("agent_failed", "http_404")


def test_a_client_is_usable_after_every_kind_of_end(ask: Ask) -> None:
    """Two in a row end alike: nothing of the first is left on the connection."""
    for behaviour in ("hangs", "fails", "rejects"):
        first, second = ask(behaviour, count=2, deadline_s=0.2)["replies"]
        assert first["outcome"] == second["outcome"]
