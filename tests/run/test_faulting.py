"""Faults on a schedule: on time, told of before they act, lifted whatever happens; and what a run says of them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from harness.child import Children
from harness.errors import HarnessError
from harness.fault import FAULTS
from harness.observation.faults import FILE, FaultEvent
from harness.observation.manifest import ServiceUsed
from harness.run.faulting import Faults, LevelBench
from harness.run.listening import Interrupt, Silent
from harness.run.plan import Options, prepare
from harness.run.run import execute
from harness.scenario.faults import planned_faults
from harness.service.process import ProcessServer
from harness.statistics.summary import summarise

WAIT_S = 20.0
SCENARIO = """
name = "broken"
description = "Redis holds writes back and a neighbour burns the processors, while workflows go on."
[load]
closed = [2]
warmup = "100 ms"
measure = "2500 ms"
[state]
store = "redis"
[[workflow]]
kind = "job"
steps = [{ name = "only", agent = "data" }]
[agent.data]
work = { wait = "5 ms" }
[[fault]]
kind = "redis.pause_writes"
at = "300 ms"
for = "500 ms"
[[fault]]
kind = "machine.cpu"
at = "1 s"
for = "800 ms"
cores = 1
[[fault]]
kind = "redis.full"
at = "2 s"
for = "200 ms"
policy = "volatile-ttl"
room = "100000 %"
"""


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A server of sorts: it can be held still."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def faults_of(tmp_path: Path, children: Children, pid: int, *tables: dict[str, object]) -> Faults:
    used = ServiceUsed(service="redis", provider="program", version="0", address="nowhere")
    running = {"redis": ProcessServer("", used, first_pid=pid)}
    bench = LevelBench(seed=1, lease_s=5.0, namespace="", children=children, running=running)
    return Faults(planned_faults(tables, FAULTS), bench, tmp_path / FILE, level="2", t0=time.monotonic())


def events(folder: Path) -> list[FaultEvent]:
    path = folder / FILE
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=FaultEvent) for line in lines]


def wait_until(condition: Callable[[], bool]) -> None:
    latest = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < latest, "it did not come about"
        time.sleep(0.005)


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    """Nothing of theirs is left."""
    with Children("faulting-tests", tmp_path / "logs") as children:
        yield children
    assert children.leftovers == ()


def test_a_window_is_kept_and_told_of(tmp_path: Path, children: Children, process: subprocess.Popen[bytes]) -> None:
    """Every turn has its line, in order, about when it was to be taken."""
    table = {"kind": "redis.freeze", "at": "200 ms", "for": "400 ms"}
    faults = faults_of(tmp_path, children, process.pid, table)
    faults.begin(0.0)
    wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    assert events(tmp_path)[0].turn == "begins"
    wait_until(lambda: "lifted" in [each.turn for each in events(tmp_path)])
    found = events(tmp_path)
    assert [each.turn for each in found] == ["begins", "began", "bit", "lifts", "lifted"]
    assert psutil.Process(process.pid).status() != psutil.STATUS_STOPPED
    assert (found[0].kind, found[0].level, found[0].fault, found[-1].bites) == ("redis.freeze", "2", 0, 1)
    assert found[0].at >= 0.2
    assert found[3].at - found[1].at >= 0.4
    faults.end()


def test_the_end_lifts_what_acts_and_begins_nothing(
    tmp_path: Path, children: Children, process: subprocess.Popen[bytes]
) -> None:
    """As when somebody wants out in the middle of it."""
    now, later = ({"kind": "redis.freeze", "at": at, "for": "60 s"} for at in ("0 s", "1 min"))
    faults = faults_of(tmp_path, children, process.pid, now, later)
    faults.begin(0.0)
    wait_until(lambda: "bit" in [each.turn for each in events(tmp_path)])
    faults.end()
    assert psutil.Process(process.pid).status() != psutil.STATUS_STOPPED
    assert {each.fault for each in events(tmp_path)} == {0}
    faults.end()


def test_a_fault_that_cannot_be_made_is_said(
    tmp_path: Path, children: Children, process: subprocess.Popen[bytes]
) -> None:
    """By name, at the next look; and its line says why, too."""
    table = {"kind": "machine.memory", "for": "1 s", "size": "10000000 GiB"}
    faults = faults_of(tmp_path, children, process.pid, table)
    faults.begin(0.0)
    with pytest.raises(HarnessError, match=r"fault 1, machine.memory: \d+ MiB are more than 80%"):
        faults.end()
    assert [each.turn for each in events(tmp_path)] == ["begins", "failed"]
    with pytest.raises(HarnessError):
        faults.look()


def test_faults_of_a_run_act_and_one_that_does_not_is_named(tmp_path: Path) -> None:
    """Memory that is nearly endless evicts nothing: what that fault was to show was not shown."""
    (tmp_path / "broken.toml").write_text(SCENARIO)
    plan = prepare(tmp_path / "broken.toml", Options(reports=tmp_path / "reports"), "")
    run_dir = execute(plan, Silent(), Interrupt())
    [level] = summarise(run_dir).levels
    assert level.status == "complete", level.message
    bitten = {each.kind for each in events(run_dir) if each.turn == "bit"}
    assert bitten == {"redis.pause_writes", "machine.cpu"}
    assert len(level.not_fired) == 1
    assert level.not_fired[0].startswith("the fault did not fire: fault 3, redis.full began and met nothing to act on")
