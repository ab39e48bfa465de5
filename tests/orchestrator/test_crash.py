"""A crash point that is armed ends its process there, and says so first."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from harness.observation.observation import CrashFired
from harness.orchestrator.crash import CrashOrder, CrashPoints

PROGRAM = """
import sys, time
from pathlib import Path
from harness.orchestrator.crash import CrashOrder, CrashPoints
order = CrashOrder(point="after_effect", how=sys.argv[2], after_s=0.0)
points = CrashPoints(order, path=Path(sys.argv[1]), level="10", t0=0.0, clock=time.monotonic)
points.passed("before_effect", "w-1", "triage")
print("passed another", flush=True)
points.passed("after_effect", "w-1", "triage")
print("went on", flush=True)
points.passed("after_effect", "w-1", "triage")
print("fires once", flush=True)
"""


def fired(path: Path) -> list[CrashFired]:
    return [msgspec.json.decode(line, type=CrashFired) for line in path.read_bytes().splitlines()]


def test_a_kill_leaves_nothing_but_its_line(tmp_path: Path) -> None:
    """The process dies of SIGKILL at the point, and at no other."""
    path = tmp_path / "crashes.jsonl"
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(path), "kill"], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == b"passed another\n"
    [line] = fired(path)
    assert (line.level, line.how, line.point, line.workflow, line.step) == (
        "10",
        "kill",
        "after_effect",
        "w-1",
        "triage",
    )


def test_a_pause_goes_on_from_where_it_was(tmp_path: Path) -> None:
    """After SIGCONT, and does not fire again."""
    path = tmp_path / "crashes.jsonl"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(path), "pause"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"passed another\n"
    deadline = time.monotonic() + 20
    while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
        assert time.monotonic() < deadline
    assert [line.pid for line in fired(path)] == [process.pid]
    process.send_signal(signal.SIGCONT)
    out, _ = process.communicate(timeout=20)
    assert out == b"went on\nfires once\n"
    assert process.returncode == 0


@pytest.mark.parametrize("order", [None, CrashOrder(point="after_ack", how="kill", after_s=5.0)])
def test_an_unarmed_point_does_nothing(tmp_path: Path, order: CrashOrder | None) -> None:
    """Nor one whose time has not come."""
    now = 100.0
    points = CrashPoints(order, path=tmp_path / "crashes.jsonl", level="", t0=0.0, clock=lambda: now)
    now = 104.9
    points.passed("after_ack")
    assert not (tmp_path / "crashes.jsonl").exists()
