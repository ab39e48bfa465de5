"""Nothing outlives a run, however it ends."""

from __future__ import annotations

import inspect
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


def remember(*, path: str, text: str) -> list[str]:
    """What a test has the guardian do at the end."""
    Path(path).write_text(text)
    return [f"found {text}"] if text else []


@pytest.fixture
def removals(modules: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that the guardian can call; the file that it writes."""
    source = "from pathlib import Path\n" + inspect.getsource(remember)
    (modules / "removing.py").write_text(source + "\ndef breaks(*, url): raise ValueError(url)\n")
    monkeypatch.setenv("PYTHONPATH", str(modules))
    return modules.parent / "remembered"


def test_a_program_gets_its_input_and_its_output_goes_to_the_log(tmp_path: Path) -> None:
    """The input ends after what it was given, so that it may hold a secret configuration."""
    with Children("test-program", tmp_path / "logs") as children:
        child = children.start_program("cat", ["cat"], first_input=b"a secret\nand more\n")
        assert child.wait(20) == 0
        assert child.log.read_text() == "a secret\nand more\n"
        quick = children.start_program("true", ["true"], first_input=b"x" * 2**20)
        assert quick.wait(20) == 0
    assert children.leftovers == ()


def test_a_program_is_asked_by_its_own_signal_also_when_it_is_stopped(tmp_path: Path) -> None:
    """Its child is woken with it: a program may be waiting for that."""
    script = "trap 'kill -s TERM $!; wait $!; echo asked; exit 7' USR1; sleep 300 & echo ready; wait"
    with Children("test-signal", tmp_path / "logs") as children:
        child = children.start_program("asked", ["sh", "-c", script], stop_signal=signal.SIGUSR1)
        while "ready" not in child.log.read_text():
            assert child.wait(0.01) is None
        family = [psutil.Process(child.pid), *psutil.Process(child.pid).children()]
        for process in family:
            process.suspend()
        child.end(grace_s=20)
        assert child.returncode() == 7
        assert child.log.read_text().endswith("asked\n")
    assert children.leftovers == ()
    assert wait_gone([process.pid for process in family]) == []


def test_a_program_that_ignores_everything_is_killed(tmp_path: Path) -> None:
    """Asking is bounded."""
    with Children("test-deaf", tmp_path / "logs") as children:
        child = children.start_program("deaf", ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"])
        while "ready" not in child.log.read_text():
            assert child.wait(0.01) is None
        child.end(grace_s=0.2)
        assert child.returncode() == -signal.SIGKILL


def test_a_program_that_does_not_exist_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    """The way it is for any program."""
    with Children("test-missing", tmp_path / "logs") as children, pytest.raises(FileNotFoundError):
        children.start_program("missing", [tmp_path / "no-such-program"])
    assert children.leftovers == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a program as somebody else")
def test_a_program_can_run_as_somebody_else(tmp_path: Path) -> None:
    """With that user's groups only."""
    with Children("test-user", tmp_path / "logs") as children:
        child = children.start_program("id", ["sh", "-c", "id -un; id -G"], user="nobody", cwd=Path("/"))
        assert child.wait(20) == 0
    user, groups = child.log.read_text().splitlines()
    assert user == "nobody"
    assert "0" not in groups.split()


def test_the_guardian_asks_a_program_before_it_kills_it(tmp_path: Path, modules: Path) -> None:
    """One that cleans up when asked is given the time to, also when it is stopped."""
    cleaned = tmp_path / "cleaned"
    script = f"trap 'touch {cleaned}; exit 0' USR1; echo ready; while :; do sleep 0.05; done"
    owner = (
        "import signal, sys, os, psutil\nfrom pathlib import Path\nfrom harness.child import Children\n"
        "with Children('test-asked', Path(sys.argv[1])) as children:\n"
        "    child = children.start_program('p', ['sh', '-c', sys.argv[2]], stop_signal=signal.SIGUSR1)\n"
        "    while 'ready' not in child.log.read_text(): child.wait(0.01)\n"
        "    psutil.Process(child.pid).suspend()\n"
        "    print(child.pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", owner, str(tmp_path / "logs"), script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    guardians = [p for p in psutil.Process(process.pid).children() if "harness.guardian" in p.cmdline()]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert wait_gone([pid, *(p.pid for p in guardians)]) == []
    assert cleaned.exists()


def test_the_guardian_calls_what_removes_the_rest(tmp_path: Path, removals: Path) -> None:
    """After everything has ended; what it found there is a leftover."""
    with Children("test-removal", tmp_path / "logs") as children:
        children.register_removal("nothing", "removing:remember", path=str(removals), text="")
        children.register_removal("something", "removing:remember", path=str(removals), text="a rest")
        assert not removals.exists()
    assert removals.read_text() == "a rest"
    assert children.leftovers == ("found a rest",)


def test_a_removal_that_fails_is_reported_without_its_arguments(tmp_path: Path, removals: Path) -> None:
    """They may hold credentials; the others are still called."""
    with Children("test-failing", tmp_path / "logs") as children:
        children.register_removal("the thing", "removing:breaks", url="a-secret")
        children.register_removal("nothing", "removing:remember", path=str(removals), text="")
    assert children.leftovers == ()
    assert children.unremoved == ("the thing could not be removed: ValueError",)
    assert removals.exists()


def test_a_hidden_variable_is_handed_to_nobody(tmp_path: Path, modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But to whom it is given by name."""
    (modules / "tells.py").write_text("import os\nprint(os.environ.get('SECRET', 'nothing'), flush=True)\ninput()")
    monkeypatch.setenv("SECRET", "key")
    monkeypatch.setenv("PYTHONPATH", str(modules))
    with Children("test-hidden", tmp_path / "logs", hidden=("SECRET",)) as children:
        told = [
            expect_line(children.start(f"tells-{number}", "tells", first_line=b"", extra_env=given), 30)
            for number, given in enumerate((None, {"SECRET": "key"}))
        ]
        living = [each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE]
        guardians = [process for process in living if "harness.guardian" in process.cmdline()]
        assert guardians
        assert all("SECRET" not in guardian.environ() for guardian in guardians)
    assert told == [b"nothing\n", b"key\n"]
