"""Nothing outlives a run, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from harness.child import RUN_ID_VARIABLE, Children, expect_line
from harness.errors import HarnessError

STUBBORN = """
import json, os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
print(json.dumps([os.getpid(), grandchild.pid]), flush=True)
time.sleep(300)
"""

OWNER = """
import sys, time
from pathlib import Path
from harness.child import Children, expect_line
folder, logs = Path(sys.argv[1]), Path(sys.argv[2])
with Children("test-owner", logs) as children:
    children.register_folder(folder)
    child = children.start("stubborn", "stubborn", first_line=b"", extra_env={"PYTHONPATH": sys.argv[3]})
    print(expect_line(child, 30).decode(), flush=True)
    time.sleep(300)
"""


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A folder with modules that children can be started from."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "stubborn.py").write_text(STUBBORN)
    (folder / "quits.py").write_text("import sys; sys.exit('no such luck')")
    (folder / "echoes.py").write_text("import sys\nfor line in sys.stdin: print(line, end='', flush=True)")
    return folder


def wait_gone(pids: list[int]) -> list[psutil.Process]:
    """Those of the processes that are still there after 20 s."""
    processes = []
    for pid in pids:
        try:
            processes.append(psutil.Process(pid))
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(processes, timeout=20)
    return alive


def test_leaving_the_context_ends_children_and_reports_nothing_left(tmp_path: Path, modules: Path) -> None:
    """A child that obeys the end of its input is no leftover."""
    with Children("test-orderly", tmp_path / "logs") as children:
        child = children.start("echo", "echoes", first_line=b"hello", extra_env={"PYTHONPATH": str(modules)})
        assert expect_line(child, 30) == b"hello\n"
    assert child.returncode() == 0
    assert children.leftovers == ()


def test_a_child_that_ignores_everything_is_killed_and_its_own_child_is_reported(tmp_path: Path, modules: Path) -> None:
    """The guardian finds what the owner could not know of, and says so."""
    with Children("test-stubborn", tmp_path / "logs") as children:
        child = children.start("stubborn", "stubborn", first_line=b"", extra_env={"PYTHONPATH": str(modules)})
        pids = json.loads(expect_line(child, 30))
        child.end(grace_s=0.2)
    assert wait_gone(pids) == []
    assert child.returncode() == -signal.SIGKILL
    assert len(children.leftovers) == 1
    assert "time.sleep(300)" in children.leftovers[0]


def test_sigkill_of_the_owner_leaves_no_process_and_no_folder(tmp_path: Path, modules: Path) -> None:
    """The guardian outlives the owner just long enough."""
    folder = tmp_path / "sockets"
    folder.mkdir()
    (folder / "file").touch()
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder), str(tmp_path / "logs"), str(modules)], stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    pids = json.loads(owner.stdout.readline())
    guardians = [p for p in psutil.Process(owner.pid).children() if "harness.guardian" in p.cmdline()]
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert wait_gone([*pids, *(p.pid for p in guardians)]) == []
    assert not folder.exists()
    owner.stdout.close()


def test_a_child_that_ends_before_it_is_ready_is_quoted(tmp_path: Path, modules: Path) -> None:
    """Its last words are the error message."""
    with Children("test-quits", tmp_path / "logs") as children:
        child = children.start("quits", "quits", first_line=b"", extra_env={"PYTHONPATH": str(modules)})
        with pytest.raises(HarnessError, match=r"quits ended \(exit 1\)[^$]*no such luck"):
            expect_line(child, 30)


def test_a_silent_child_is_given_up_on(tmp_path: Path, modules: Path) -> None:
    """Waiting for the first line is bounded."""
    with Children("test-silent", tmp_path / "logs") as children:
        child = children.start("echo", "echoes", first_line=b"x", extra_env={"PYTHONPATH": str(modules)})
        assert expect_line(child, 30) == b"x\n"
        with pytest.raises(HarnessError, match="not ready after"):
            expect_line(child, 0.05)


def test_a_strangers_process_is_left_alone(tmp_path: Path) -> None:
    """Only what is registered, with its create time, or carries the run's id is ended."""
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={**os.environ})
    try:
        guardian = subprocess.run(
            [sys.executable, "-m", "harness.guardian"],
            input=json.dumps({"pid": stranger.pid, "created": 1.0}).encode() + b"\n",
            env=os.environ | {RUN_ID_VARIABLE: "test-stranger"},
            stdout=subprocess.PIPE,
            timeout=60,
            check=True,
        )
        assert json.loads(guardian.stdout)["ended"] == []
        assert stranger.poll() is None
    finally:
        stranger.communicate(b"\n")
