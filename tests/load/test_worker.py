"""The load process's own troubles: what it is told wrongly, a disk that is full, too few files, a broken rule."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from typing import Any

import msgspec
import pytest

from harness.load.control import LoadConfig, Progress
from harness.observation.journal import Damage, read_journal
from harness.observation.observation import Observation, Outcome, PhaseMark
from harness.scenario.scenario import Http, HttpCall, Load, Workflow

SMALL = Load(closed=(2,), warmup=0.0, measure=0.3, drain=1.0)


def test_an_unknown_level_is_refused_with_the_known_ones(bench: Any) -> None:
    """Before any load."""
    peer = bench.peer()
    bench.write(Load(closed=(10, 25)))
    driven = bench.worker("11").finish()
    assert driven.exit_code == 4
    assert driven.failed.message == "level '11' is not in the scenario (known: 10, 25)"
    assert peer.end()["ran"] == {}


@pytest.mark.parametrize("text", ["{}", "[1", '{"name": "x"}'])
def test_an_unreadable_scenario_is_named(bench: Any, text: str) -> None:
    """The message holds the file's path."""
    bench.peer()
    bench.write(SMALL)
    (bench.folder / "scenario.json").write_text(text)
    driven = bench.worker().finish()
    assert driven.exit_code == 4
    assert "scenario.json" in driven.failed.message


def test_no_configuration_is_an_error_not_a_hang() -> None:
    """Standard input that ends at once."""
    ended = subprocess.run(
        [sys.executable, "-m", "harness.load.worker"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60
    )
    assert ended.returncode == 4
    assert b"no configuration" in ended.stdout


def test_a_broken_rule_file_fails_before_any_load(bench: Any) -> None:
    """The rule is imported from the scenario's folder; its error is in the message."""
    (bench.folder / "broken_rules.py").write_text("import nothing_of_that_name\n")
    http = Http(
        submit=HttpCall(url="http://127.0.0.1:9/{ids}"),
        expect={"/output": {"python": "broken_rules:rule"}},
    )
    driven = bench.drive(SMALL, target="http", http=http)
    assert driven.exit_code == 4
    assert "nothing_of_that_name" in driven.failed.message
    assert "placeholder 'ids' is unknown" in driven.failed.message
    assert driven.lines == []


def test_a_print_in_a_rule_does_not_break_the_reports(bench: Any) -> None:
    """Standard output belongs to the reports, whatever a person's code prints."""
    (bench.folder / "loud_rules.py").write_text("print('hello')\ndef rule(value, request):\n    return True\n")
    http = Http(submit=HttpCall(url="http://127.0.0.1:9/"), expect={"/output": {"python": "loud_rules:rule"}})
    driven = bench.drive(SMALL, target="http", http=http)
    assert driven.exit_code == 0
    assert "hello" in driven.stderr


def test_a_full_disk_ends_the_level_and_keeps_what_was_written(bench: Any) -> None:
    """The journal may not grow beyond 20 kB: LoadFailed says so, and every whole line can be read."""
    bench.peer(median_s=0.001)
    bench.write(Load(closed=(5,), warmup=0.0, measure=30.0, drain=1.0))
    driven = bench.worker(prefix=["prlimit", "--fsize=20000"]).finish()
    assert driven.exit_code == 4
    assert "the journal cannot be written" in driven.failed.message
    path = bench.folder / "journal.jsonl"
    assert path.stat().st_size == 20000
    damage = Damage()
    lines = list(read_journal(path, damage))
    assert damage.unreadable == 0
    assert any(isinstance(line, Observation) for line in lines)
    assert not any(isinstance(line, PhaseMark) and line.phase == "end" for line in lines)


def test_too_few_open_files_are_refused_before_any_load(bench: Any) -> None:
    """200 users cannot be had with 128 files; the message says how many are needed."""
    peer = bench.peer()
    bench.write(Load(closed=(200,), warmup=0.0, measure=0.3, drain=1.0))
    driven = bench.worker(prefix=["prlimit", "--nofile=128:128"]).finish()
    assert driven.exit_code == 4
    assert "200 users need 264 open files and this process may have 128" in driven.failed.message
    assert peer.end()["ran"] == {}


def test_an_error_in_a_users_task_ends_the_level(bench: Any) -> None:
    """A kind of request that cannot be encoded is a bug of ours: Locust would log it and burn a core for ever."""
    bench.peer()
    bench.write(SMALL, workflow=(Workflow(kind="k"),))
    script = (
        "import sys\n"
        "from harness.load import worker\n"
        "from harness.load.client import SocketClient\n"
        "SocketClient._connect = lambda self: 1 / 0\n"
        "sys.exit(worker.main())\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        input=msgspec.json.encode(bench.config()) + b"\n",
        capture_output=True,
        timeout=60,
    )
    assert ended.returncode == 4
    assert b"ZeroDivisionError" in ended.stdout.splitlines()[-1]


def test_a_host_that_comes_late_is_waited_for(bench: Any) -> None:
    """Connecting is retried with back-off, and the wait is in the latency."""
    load = Load(closed=(2,), warmup=0.0, measure=0.3, drain=20.0)
    bench.write(load, workflow=(Workflow(kind="k", shape="sequential", deadline=20.0),))
    bench.socket = str(bench.folder / "late.sock")
    worker = bench.worker()
    worker.wait_for(lambda report: isinstance(report, Progress))
    bench.peer(socket=bench.socket)
    driven = worker.finish()
    assert [seen.outcome for seen in driven.observations] == [Outcome.OK, Outcome.OK]
    assert all(seen.ended - seen.intended > 0.3 for seen in driven.observations)


def test_a_host_that_dies_costs_no_observation(bench: Any) -> None:
    """SIGKILL in the middle: what was running is unknown at its deadline, what was never sent is failed; each once."""
    peer = bench.peer(median_s=0.3)
    bench.write(
        Load(closed=(5,), warmup=0.0, measure=1.5, drain=10.0),
        workflow=(Workflow(kind="k", shape="sequential", deadline=0.7),),
    )
    worker = bench.worker()
    worker.wait_for(lambda report: isinstance(report, Progress) and report.ok > 0)
    peer.kill()
    driven = worker.finish()
    assert driven.done.arrivals == len(driven.observations) == len({seen.id for seen in driven.observations})
    how = Counter((seen.outcome, seen.error_class) for seen in driven.observations)
    assert how[Outcome.UNKNOWN, "connection"] > 0
    assert set(how) <= {
        (Outcome.OK, ""),
        (Outcome.UNKNOWN, "connection"),
        (Outcome.FAILED, "connect"),
    }


def test_locust_and_gevent_stay_out_of_what_the_cli_imports() -> None:
    """The CLI names only the contract with the load process."""
    code = (
        "import sys, harness.load.control, harness.load.arrivals, harness.load.integrity;"
        "print([m for m in sys.modules if m.split('.')[0] in ('gevent', 'locust')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert out.stdout == "[]\n"


def test_the_configuration_line_is_the_contract() -> None:
    """What the CLI writes is what is read here."""
    config = LoadConfig(run_dir="/r", level="10", t0=1.5, sockets=("/s",))
    assert msgspec.json.decode(msgspec.json.encode(config), type=LoadConfig) == config
