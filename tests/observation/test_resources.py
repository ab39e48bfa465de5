"""What psutil says of a process tree is what its processes say of themselves."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from harness.observation.observation import HostUse, ResourceSample
from harness.observation.resources import HostAsk, ResourceSampler, TreeWatch, find_process

CHILD = """
import subprocess, sys, time
sub = subprocess.Popen([sys.executable, "-c", '''
import sys, time
while time.process_time() < 0.3: pass
block = bytearray(64 * 2**20)
block[::4096] = b"x" * len(block[::4096])
print("burnt", flush=True)
sys.stdin.read()
'''], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
sub.stdout.readline()
print("ready", flush=True)
sys.stdin.readline()
sub.stdin.close(); sub.wait()
print("alone", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def family() -> Iterator[subprocess.Popen[bytes]]:
    """A process with a child that burnt 0.3 CPU seconds and holds 64 MiB."""
    process = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    yield process
    process.communicate()


def test_a_tree_counts_its_children_and_keeps_the_cpu_of_those_that_ended(family: subprocess.Popen[bytes]) -> None:
    """CPU is cumulative: it never falls when a worker exits, while memory does."""
    watch = TreeWatch(family.pid)
    both = watch.sample(0.0)
    assert both is not None
    assert both.processes == 2
    assert both.cpu_s > 0.3
    assert both.rss_bytes > 64 * 2**20
    assert both.uss_bytes is not None
    assert family.stdin is not None
    assert family.stdout is not None
    family.stdin.write(b"\n")
    family.stdin.flush()
    assert family.stdout.readline() == b"alone\n"
    alone = watch.sample(1.0)
    assert alone is not None
    assert alone.processes == 1
    assert alone.cpu_s >= both.cpu_s
    assert alone.rss_bytes < both.rss_bytes - 60 * 2**20
    assert alone.uss_bytes is None  # not due yet


def test_a_tree_whose_root_is_gone_has_no_sample(family: subprocess.Popen[bytes]) -> None:
    """None, rather than zeros that look like a measurement."""
    watch = TreeWatch(family.pid)
    family.communicate()
    assert watch.sample(0.0) is None


def test_the_sampler_writes_lines_on_the_runs_clock(tmp_path: Path) -> None:
    """Every line decodes, times ascend, and the first sample comes at once."""
    path = tmp_path / "resources.jsonl"
    t0 = time.monotonic()
    me = psutil.Process().pid
    sampler = ResourceSampler(path, level="10", t0=t0, target_pids=[me], load_pid=me)
    sampler.start()
    while sampler.latest is None:
        pass
    sampler.stop()
    samples = [msgspec.json.decode(line, type=ResourceSample) for line in path.read_bytes().splitlines()]
    assert samples
    assert all(0 <= a.at <= b.at for a, b in itertools.pairwise(samples))
    assert samples[0].level == "10"
    assert samples[0].target is not None
    assert samples[0].target.rss_bytes > 2**20
    assert samples[0].machine is not None
    assert samples[0].machine.own_s == 0.0
    assert sampler.error is None


@pytest.mark.parametrize(("is_watched", "elsewhere"), [(False, False), (True, True)])
def test_the_runs_own_cpu_is_not_known_where_not_all_of_it_is_seen(
    tmp_path: Path, is_watched: bool, elsewhere: bool
) -> None:
    """A black box without [watch], or a server in a container, would look like a neighbour."""
    path = tmp_path / "resources.jsonl"
    me = psutil.Process().pid
    sampler = ResourceSampler(
        path,
        level="10",
        t0=0.0,
        target_pids=[me] if is_watched else [],
        load_pid=me,
        elsewhere=elsewhere,
    )
    sampler.start()
    while sampler.latest is None:
        pass
    sampler.stop()
    machine = msgspec.json.decode(path.read_bytes().splitlines()[0], type=ResourceSample).machine
    assert machine is not None
    assert machine.own_s is None
    assert machine.busy_s > 0.0


def test_a_disk_that_refuses_is_told_not_swallowed(tmp_path: Path) -> None:
    """The sampler ends and keeps the error for its owner."""
    me = psutil.Process().pid
    sampler = ResourceSampler(tmp_path / "missing" / "resources.jsonl", level="1", t0=0.0, target_pids=[], load_pid=me)
    sampler.start()
    sampler.stop()
    assert isinstance(sampler.error, FileNotFoundError)


def test_a_listener_is_found_by_its_port_and_a_program_by_its_command_line() -> None:
    """As a scenario's [watch] names them."""
    program = "import socket; s=socket.create_server(('127.0.0.1',0)); print(s.getsockname()[1],flush=True); input()"
    listener = subprocess.Popen(
        [sys.executable, "-c", program, "marker-4711"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert listener.stdout is not None
    try:
        port = int(listener.stdout.readline())
        assert find_process(port=port) == listener.pid
        assert find_process(command="marker-4711") == listener.pid
        assert find_process(pid=listener.pid) == listener.pid
    finally:
        listener.communicate(b"\n")
    assert find_process(port=port) is None
    assert find_process(command="marker-4711") is None


def test_a_tree_goes_on_with_the_successor_of_its_root(family: subprocess.Popen[bytes]) -> None:
    """CPU of the first is kept; the second is sampled as soon as it is told."""
    watch = TreeWatch(family.pid)
    first = watch.sample(0.0)
    assert first is not None
    family.communicate()
    assert watch.sample(0.1) is None
    successor = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        watch.follow(successor.pid)
        second = watch.sample(0.2)
        assert second is not None
        assert second.processes == 1
        assert second.cpu_s >= first.cpu_s
    finally:
        successor.communicate(b"\n")


def test_a_host_that_comes_back_is_asked_again(tmp_path: Path) -> None:
    """A lost connection is None, and made anew: one answer a question, never a late one of before."""
    path = str(tmp_path / "host.sock")
    ask = HostAsk(path, timeout_s=0.2)
    assert ask.use() is None
    for number in (1, 2):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            answers = threading.Thread(target=_answer, args=(listener, number))
            answers.start()
            assert ask.use() == HostUse(accepted=number)
            assert ask.use() is None  # it hung up
            answers.join()
        Path(path).unlink()
    ask.close()


def _answer(listener: socket.socket, accepted: int) -> None:
    """One connection, one answer."""
    connection, _ = listener.accept()
    with connection:
        assert connection.recv(1024) == b'{"type":"stats"}\n'
        use = msgspec.json.encode(HostUse(accepted=accepted)).decode()
        connection.sendall(b'{"type":"stats","use":' + use.encode() + b"}\n")
