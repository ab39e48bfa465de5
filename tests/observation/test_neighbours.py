"""What the run itself took of the machine is counted in full, whoever of its processes took it and however it ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.observation.neighbours import SAMPLE_S, MachineWatch, OwnWatch, pressure_s, usable_cores

TICK_S = 0.01
BURN = "import time\nwhile time.process_time() < 0.1: pass"
PARENT = f"""
import os, subprocess, sys
print(sum(os.times()[:4]), flush=True)
for line in sys.stdin:
    for _ in range(4):
        subprocess.run([sys.executable, "-c", {BURN!r}])
    print(sum(os.times()[:4]), flush=True)
"""
LEAVING = """
import os, sys, time
if os.fork():
    sys.stdin.readline()
    os._exit(0)
os.setsid()
print("there", flush=True)
while os.getppid() == int(sys.argv[1]): time.sleep(0.005)
began = time.process_time()
while time.process_time() < began + 0.2: pass
print("burnt", flush=True)
time.sleep(60)
"""
IGNORING = """
import os, signal, sys, time
def burn(s):
    began = time.process_time()
    while time.process_time() < began + s: pass
def say(word):
    os.write(1, word.encode() + b"\\n")
    sys.stdin.readline()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if not (child := os.fork()):
    say("born")
    burn(0.2)
    say("burnt")
    os._exit(0)
try:
    while True: os.kill(child, 0), time.sleep(0.005)
except ProcessLookupError:
    say("gone")
burn(0.1)
say("went on")
"""


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[bytes]]:
    """A process that burns 0.4 CPU seconds in four short-lived children when told, and says what it took in all."""
    process = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    yield process
    process.communicate()


def test_children_that_come_and_go_between_two_readings_are_ours(parent: subprocess.Popen[bytes]) -> None:
    """A target that burns its CPU in short-lived children must not look like a neighbour; nor is it counted twice."""
    assert parent.stdin is not None
    assert parent.stdout is not None
    took_s = -float(parent.stdout.readline())
    watch = OwnWatch([parent.pid])
    assert watch.total_s() == 0.0
    parent.stdin.write(b"\n")
    parent.stdin.flush()
    took_s += float(parent.stdout.readline())
    assert took_s > 0.2  # each of five processes counts in ticks of its own
    assert watch.total_s() == pytest.approx(took_s, abs=5 * TICK_S)


def test_what_left_the_tree_stays_ours() -> None:
    """A server that makes itself a daemon has another parent afterwards, and works for the run all the same."""
    words = [sys.executable, "-c", f"import os, sys\nsys.argv[1:] = [str(os.getpid())]\n{LEAVING}"]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    watch = OwnWatch([process.pid])
    watch.total_s()
    [daemon] = [pid for pid in watch.pids if pid != process.pid]
    try:
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.wait()
        assert process.stdout.readline() == b"burnt\n"
        assert watch.total_s() > 0.15  # less what its parent, which is gone, had counted before
    finally:
        os.kill(daemon, 9)
        process.stdout.close()
        process.stdin.close()


def test_one_that_ends_unaccounted_for_is_not_taken_back() -> None:
    """Its parent ignores SIGCHLD, so its CPU is in no account any more: the reading stands, and grows with the rest."""
    process = subprocess.Popen([sys.executable, "-c", IGNORING], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    watch = OwnWatch([process.pid])
    totals = []
    for word in (b"born", b"burnt", b"gone", b"went on"):
        assert process.stdout.readline().strip() == word
        totals.append(watch.total_s())
        process.stdin.write(b"\n")
        process.stdin.flush()
    process.communicate()
    assert totals[0] == 0.0
    assert totals[1] > 0.2 - 2 * TICK_S
    assert totals[2] == pytest.approx(totals[1], abs=3 * TICK_S)
    assert totals[3] > totals[2] + 0.1 - 3 * TICK_S


def test_the_machine_is_read_when_it_is_due() -> None:
    """Ten times a second would mostly show the ticks that CPU is counted in."""
    watch = MachineWatch([os.getpid()])
    first = watch.sample(100.0)
    assert first is not None
    assert first.cores == len(usable_cores())
    assert first.own_s == 0.0
    assert watch.sample(100.0 + SAMPLE_S / 2) is None
    second = watch.sample(1000.0)
    assert second is not None
    assert second.busy_s >= first.busy_s > 0.0
    assert second.own_s is not None


def test_where_not_all_work_can_be_seen_the_runs_own_is_not_known() -> None:
    """Better nothing than a server in a container taken for a neighbour."""
    found = MachineWatch([os.getpid()], sees_all=False).sample(0.0)
    assert found is not None
    assert found.own_s is None


def test_pressure_is_the_time_in_which_somebody_waited(tmp_path: Path) -> None:
    """In seconds; None where the kernel does not say, or says something else."""
    file = tmp_path / "cpu"
    assert pressure_s(file) is None
    file.write_text(
        "some avg10=0.23 avg60=0.90 avg300=1.59 total=1444279134\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
    )
    assert pressure_s(file) == 1444.279134
    file.write_text("")
    assert pressure_s(file) is None
