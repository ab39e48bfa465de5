"""A level driven by several load processes, against a peer that knows the truth."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from harness.load import crew as crew_package
from harness.load.control import Crew, Progress, Waiting
from harness.observation.ids import ordinal_of
from harness.observation.observation import LoadCheck, LoadWorker, Outcome, Phase, PhaseMark
from harness.run.crew import free_port
from harness.scenario.scenario import Load, Workflow
from tests.load.conftest import PATIENCE_S

LOCUSTFILE = Path(crew_package.__file__).parent / "locustfile.py"
OPEN = Load(open=(200.0,), warmup=0.2, measure=1.0, drain=5.0)


def test_two_send_what_one_would(bench: Any, crew: Any) -> None:
    """The same arrivals: ids, kinds, seeds, and instants of their own schedule; one end each, told once."""
    kinds = (Workflow(kind="a", shape="sequential", weight=3), Workflow(kind="b", shape="sequential"))
    peer = bench.peer()
    alone = bench.drive(OPEN, workflow=kinds)
    bench.peer()
    peer.end()
    (bench.folder / "journal.jsonl").unlink()
    several = crew(2)
    several.join(2)
    driven = several.finish()
    asked = {(each.id, each.kind, each.seed) for each in driven.observations}
    assert asked == {(each.id, each.kind, each.seed) for each in alone.observations}
    assert len(driven.observations) == len(asked) == driven.done.arrivals
    began = min(mark.at for mark in driven.of(PhaseMark)), min(mark.at for mark in alone.of(PhaseMark))
    dues = [sorted(round(each.intended - start, 6) for each in some.observations)
            for some, start in zip((driven, alone), began, strict=True)]  # fmt: skip
    assert dues[0] == dues[1]
    assert {each.outcome for each in driven.observations} == {Outcome.OK}
    assert [mark.phase for mark in driven.of(PhaseMark)] == ["warmup", "measure", "drain", "end"]


def test_users_are_shared_out_and_every_load_process_tells_of_itself(bench: Any, crew: Any) -> None:
    """Five users over two processes are never more than five at once; CPU, stalls and clocks are known of each."""
    peer = bench.peer(median_s=0.01)
    bench.write(Load(closed=(5,), warmup=0.0, measure=2.5, drain=5.0))
    several = crew(2)
    several.join(2)
    driven = several.finish()
    truth = peer.end()
    assert truth["in_flight_max"] == 5
    assert {each.id for each in driven.observations} == set(truth["ran"])
    assert {ordinal_of(each.id) % 2 for each in driven.observations} == {0, 1}
    members = driven.of(LoadWorker)
    assert [(each.index, each.lost) for each in members] == [(0, ""), (1, "")]
    for member in members:
        assert abs(member.offset_s) <= member.offset_error_s, "one machine has one monotonic clock"
        checks = [check for check in driven.of(LoadCheck) if check.worker == member.name]
        assert checks
        assert all(check.cpu is not None and check.users in (2, 3) for check in checks[:-1])
    assert driven.said(Progress)[-1].ok > 0


def test_enough_is_counted_over_all(bench: Any, crew: Any) -> None:
    """`until_ok` ends the measurement of both, long before its time."""
    bench.peer()
    bench.write(Load(closed=(4,), warmup=0.0, measure=600.0, drain=5.0, until_ok=200))
    several = crew(2)
    several.join(2)
    driven = several.finish()
    assert sum(each.outcome is Outcome.OK and each.phase is Phase.MEASURE for each in driven.observations) >= 200
    assert driven.done.ended_early == ""


def test_a_killed_worker_is_named_and_its_part_accounted_for(bench: Any, crew: Any) -> None:
    """Every arrival of the schedule has one end: what it had not told of is unknown or was not started."""
    bench.peer(median_s=0.05)
    bench.write(Load(open=(100.0,), warmup=0.0, measure=3.0, drain=2.0))
    several = crew(2)
    several.join(2)
    several.master.wait_for(lambda report: isinstance(report, Progress) and report.ok >= 40)
    victim = several.workers[0]
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait(PATIENCE_S)
    driven = several.finish()
    [lost] = [each for each in driven.of(LoadWorker) if each.lost]
    assert f"pid {victim.pid}" in lost.name
    ordinals = sorted(ordinal_of(each.id) for each in driven.observations)
    assert ordinals == list(range(len(ordinals))), "each arrival once, none left out"
    assert driven.done.arrivals == len(ordinals) > 200
    ends = Counter(each.outcome for each in driven.observations if ordinal_of(each.id) % 2 == lost.index)
    assert ends[Outcome.OK] > 0
    assert ends[Outcome.NOT_STARTED] > 0
    assert {each.outcome for each in driven.observations if ordinal_of(each.id) % 2 != lost.index} == {Outcome.OK}
    assert driven.of(PhaseMark)[-1].phase == "end"


def test_a_worker_that_takes_its_leave_tells_all_first(bench: Any, crew: Any) -> None:
    """Its input ends: what was in flight is censored by itself, the rest of its part was not started."""
    bench.peer(median_s=0.05)
    bench.write(Load(open=(100.0,), warmup=0.0, measure=2.0, drain=2.0))
    several = crew(2)
    several.join(2)
    several.master.wait_for(lambda report: isinstance(report, Progress) and report.ok >= 20)
    several.workers[1].stdin.close()
    driven = several.finish()
    [lost] = [each for each in driven.of(LoadWorker) if each.lost]
    assert lost.lost == "it was ended"
    ordinals = sorted(ordinal_of(each.id) for each in driven.observations)
    assert ordinals == list(range(len(ordinals)))


def test_nobody_who_joins_is_a_message_and_no_hang(bench: Any, crew: Any) -> None:
    """Where they are to join is said while it waits; stopped, it ends at once."""
    bench.peer()
    bench.write(OPEN)
    several = crew(2)
    several.join(1)
    waiting = several.master.wait_for(lambda report: isinstance(report, Waiting) and report.joined == 1)
    assert (waiting.awaited, waiting.host) == (2, "127.0.0.1")
    driven = several.finish(close_stdin=True)
    assert driven.done.arrivals == 0
    assert "the CLI is gone" in driven.done.ended_early


def test_another_build_is_refused_by_name(bench: Any, crew: Any) -> None:
    """Two that measure differently are not one load."""
    bench.peer()
    bench.write(OPEN)
    several = crew(1)
    older = "import harness; harness.__version__ = '0.0.1'; import runpy; " \
        "runpy.run_module('harness.load.crew.joining', run_name='__main__')"  # fmt: skip
    worker = subprocess.Popen([sys.executable, "-c", older], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    several.workers.append(worker)
    assert worker.stdin is not None
    worker.stdin.write(msgspec.json.encode({"host": several.host, "port": several.port}) + b"\n")
    worker.stdin.flush()
    driven = several.finish()
    assert driven.exit_code == 4
    assert "orchestration-harness 0.0.1 there and" in driven.failed.message
    assert "install the same" in driven.failed.message


def test_a_port_that_is_taken_is_said(bench: Any, crew: Any) -> None:
    """Locust alone would end the process without a word."""
    bench.peer()
    bench.write(OPEN)
    first = crew(1)
    config = msgspec.structs.replace(bench.config(), crew=Crew(here=1, port=first.port))
    ended = subprocess.run(
        [sys.executable, "-m", "harness.load.crew.master"],
        input=msgspec.json.encode(config) + b"\n",
        capture_output=True,
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 4
    assert b"port that is free" in ended.stdout
    first.finish(close_stdin=True)


def test_a_locust_started_by_hand_joins(bench: Any, crew: Any) -> None:
    """With Locust's own command and its own arguments; it leaves when the level is over."""
    port = free_port("127.0.0.1")
    peer = bench.peer(port=port)
    bench.write(OPEN)
    several = crew(1, joining=1, port=port)
    several.join(1)
    by_hand = subprocess.Popen(
        [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--worker",
         "--master-host", several.host, "--master-port", str(several.port)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=bench.folder,
    )  # fmt: skip
    several.workers.append(by_hand)
    driven = several.finish()
    assert {each.id for each in driven.observations} == set(peer.end()["ran"])
    assert len(driven.of(LoadWorker)) == 2
