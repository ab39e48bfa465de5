"""The socket client against a host at its worst."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def ask(bench: Any, count: int = 1, deadline_s: float = 5.0) -> dict[str, Any]:
    """One SocketClient, so many workflows after one another."""
    requests = [{"id": f"w{n}", "kind": "k", "seed": n, "deadline_s": deadline_s} for n in range(count)]
    asked = {"socket": bench.socket, "t0": bench.t0, "requests": requests}
    script = Path(__file__).parent / "ask.py"
    out = subprocess.run(
        [sys.executable, str(script), json.dumps(asked)], capture_output=True, text=True, check=True, timeout=60
    )
    answer: dict[str, Any] = json.loads(out.stdout)
    return answer


def test_a_lost_connection_is_made_again_and_the_work_runs_once(bench: Any) -> None:
    """Every second connection is cut right after `accepted`: the id is submitted again, which attaches to it."""
    peer = bench.peer(median_s=0.15, sigma=0.0, cut_every=2)
    answer = ask(bench, count=6)
    truth = peer.end()
    assert [reply["outcome"] for reply in answer["replies"]] == ["ok"] * 6
    assert all(ran["runs"] == 1 for ran in truth["ran"].values())
    assert [truth["ran"][f"w{n}"]["submits"] for n in range(6)] == [1, 2, 1, 2, 1, 2]


def test_what_ended_while_nobody_listened_is_delivered_on_return(bench: Any) -> None:
    """The workflow ends during the back-off; attaching gets its end at once."""
    peer = bench.peer(median_s=0.002, sigma=0.0, cut_every=1)
    answer = ask(bench, count=3)
    assert [reply["outcome"] for reply in answer["replies"]] == ["ok"] * 3
    assert all(ran["runs"] == 1 for ran in peer.end()["ran"].values())


def test_frames_may_arrive_in_pieces(bench: Any) -> None:
    """A line cut in the middle is put together again."""
    bench.peer(split_frames=True)
    answer = ask(bench, count=5)
    assert [reply["outcome"] for reply in answer["replies"]] == ["ok"] * 5
    assert all(reply["digest"] for reply in answer["replies"])


def test_an_acceptance_is_told_when_it_comes_before_the_end(bench: Any) -> None:
    """Once for each workflow, though the connection is lost and `accepted` sent again."""
    bench.peer(median_s=0.1, sigma=0.0, cut_every=2)
    answer = ask(bench, count=4)
    assert [workflow for workflow, _ in answer["accepted"]] == ["w0", "w1", "w2", "w3"]
    for (_, at), reply in zip(answer["accepted"], answer["replies"], strict=True):
        assert at == reply["accepted"]


def test_the_deadline_runs_from_acceptance(bench: Any) -> None:
    """A host that accepts after 0.4 s has the whole 0.4 s from then on, and half a second of grace."""
    bench.peer(accept_delay_s=0.4, median_s=0.6, sigma=0.0)
    [reply] = ask(bench, deadline_s=0.4)["replies"]
    assert reply["outcome"] == "ok"


def test_a_host_that_refuses_has_definitely_not_run_it(bench: Any) -> None:
    """Its words are in the message, and the next workflow gets a new connection."""
    bench.peer(refuse_every=2)
    first, second, third = ask(bench, count=3)["replies"]
    assert (second["outcome"], second["error_class"]) == ("failed", "refused")
    assert second["message"] == "this host does not like you"
    assert (first["outcome"], third["outcome"]) == ("ok", "ok")


def test_a_line_that_is_no_frame_is_unknown(bench: Any) -> None:
    """What a host that talks nonsense has done, nobody knows."""
    bench.peer(garbage_every=1)
    [reply] = ask(bench)["replies"]
    assert (reply["outcome"], reply["error_class"]) == ("unknown", "protocol")


@pytest.mark.skipif(sys.platform != "linux", reason="how a full backlog answers differs between systems")
def test_a_full_backlog_is_waited_for_without_a_spin(bench: Any) -> None:
    """A listener that never accepts, its backlog taken: connecting costs next to no CPU."""
    bench.socket = str(bench.folder / "full.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(bench.socket)
    listener.listen(0)
    queued = socket.socket(socket.AF_UNIX)
    queued.connect(bench.socket)
    answer = ask(bench, deadline_s=1.0)
    listener.close()
    queued.close()
    assert (answer["replies"][0]["outcome"], answer["replies"][0]["error_class"]) == ("failed", "connect")
    assert answer["took_s"][0] >= 1.0
    assert answer["cpu_s"] < 0.3
