"""Faults in our own house, against the real command: a clear message, the right exit code, nothing left or lost."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from harness.observation.journal import Damage, read_journal
from harness.observation.observation import Observation, Opened, PhaseMark

SCENARIO = """
name = "{name}"
description = "small and steady"
target = "{target}"

[load]
closed = [5, 6]
warmup = "200 ms"
measure = "{measure}"
drain = "5 s"

[[workflow]]
kind = "incident"
deadline = "5 s"
{more}
"""
EMBEDDED = """shape = "sequential"
[agent.triage]
work = { wait = "50 ms", cpu = "1 ms" }
[agent.data]
work = { wait = "50 ms" }
[agent.optimization]
work = { wait = "50 ms" }
"""
LIMITS = """
[limits."5"]
success = ">= 50 %"
[limits."6"]
success = ">= 50 %"
"""
FLOWS = """
async def answers(request, watch):
    return {"id": request.id}

class Broken:
    async def start(self, services): raise ConnectionError("the vector store is down")
    async def run(self, request, watch): return {}
"""


JUDGED = {0, 3}
"""A short sound run is a pass, or inconclusive where a neighbour on the machine stalled the load process; never 1."""


class House:
    """A folder with scenarios, and the `harness` command run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "scenarios").mkdir()
        (folder / "scenarios" / "flows.py").write_text(FLOWS)

    def scenario(self, name: str, *, target: str = "embedded", more: str = EMBEDDED, measure: str = "1 s") -> str:
        path = self.folder / "scenarios" / f"{name}.toml"
        path.write_text(SCENARIO.format(name=name, target=target, more=more, measure=measure))
        (self.folder / "baselines").mkdir(exist_ok=True)
        (self.folder / "baselines" / f"{name}.toml").write_text(LIMITS)
        return f"scenarios/{name}.toml"

    def start(self, *words: str, preexec: Callable[[], None] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "harness", *words],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "200"},
            start_new_session=True,
            preexec_fn=preexec,
        )

    def run(self, *words: str, preexec: Callable[[], None] | None = None) -> tuple[int, str, str]:
        process = self.start(*words, preexec=preexec)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    @property
    def run_dir(self) -> Path:
        [folder] = [path for path in (self.folder / "reports").iterdir() if path.is_dir()]
        return folder

    def wait_for_observations(self, process: subprocess.Popen[str], count: int) -> None:
        """Until the journal of the only run holds `count` observations."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            journals = list((self.folder / "reports").glob("*/journal.jsonl"))
            if journals and journals[0].read_bytes().count(b'"observation"') >= count:
                return
        out, err = process.communicate(timeout=60)
        pytest.fail(f"no {count} observations were journalled\n{out}\n{err}")

    def carriers(self) -> list[psutil.Process]:
        """Processes of runs started in this folder that still live."""
        ids = {path.name for path in (self.folder / "reports").glob("*") if path.is_dir()}
        alive = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("HARNESS_RUN_ID") in ids and process.status() != psutil.STATUS_ZOMBIE:
                    alive.append(process)
            except psutil.Error:
                continue
        return alive


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Whatever a test does, nothing of its runs outlives it."""
    made = House(tmp_path)
    yield made
    if (tmp_path / "reports").exists():
        _, alive = psutil.wait_procs(made.carriers(), timeout=20)
        assert alive == []


def observations(run_dir: Path) -> list[Observation]:
    """The journal's observations; any line that is not whole is a failure."""
    damage = Damage()
    lines = list(read_journal(run_dir / "journal.jsonl", damage))
    assert damage == Damage()
    found = [line for line in lines if isinstance(line, Observation)]
    assert len({line.id for line in found}) == len(found), "an arrival was recorded twice"
    return found


def test_an_unknown_scenario_names_the_known_ones(house: House) -> None:
    """Exit 2, before anything is started."""
    house.scenario("steady")
    code, out, err = house.run("run", "scenarios/steddy.toml")
    assert code == 2
    assert "steady" in err
    assert out == ""
    assert not (house.folder / "reports").exists()


def test_every_mistake_of_every_scenario_is_said_at_once(house: House) -> None:
    """Two files, three mistakes, one exit."""
    first = house.scenario("one", target="embeded")
    second = house.scenario("two", more=EMBEDDED + "[agent.extra]\npool = 0\n")
    code, _, err = house.run("check", first, second)
    assert code == 2
    assert "embeded" in err
    assert "extra" in err
    assert "pool" in err


def test_a_scenario_on_another_machine_needs_permission(house: House) -> None:
    """Load is sent to loopback only, unless --allow-remote says otherwise."""
    more = '[http]\nsubmit = { url = "http://192.0.2.1/jobs", json = { id = "{id}" } }\n'
    path = house.scenario("remote", target="http", more=more)
    code, _, err = house.run("check", path)
    assert code == 2
    assert "192.0.2.1" in err
    assert "--allow-remote" in err
    assert house.run("check", "--allow-remote", path)[0] == 0


def test_an_unreachable_http_target_is_nothing_measured(house: House) -> None:
    """Exit 3 with what to do, not a level full of failures."""
    more = '[http]\nsubmit = { url = "http://127.0.0.1:9/jobs", json = { id = "{id}" } }\n'
    code, _, err = house.run("run", house.scenario("nobody", target="http", more=more))
    assert code == 3
    assert "http://127.0.0.1:9/jobs" in err


@pytest.mark.parametrize(
    ("target", "expected", "words"),
    [
        ("python:nowhere:run", 2, "nowhere"),
        ("python:flows:absent", 2, "absent"),
        ("python:flows:Broken", 3, "the vector store is down"),
    ],
)
def test_a_python_target_that_cannot_be_served(house: House, target: str, expected: int, words: str) -> None:
    """What does not exist is a usage error; what does not start was not measured."""
    code, out, err = house.run("run", house.scenario("mine", target=target, more=""))
    assert code == expected, err
    assert words in out + err


def test_a_host_that_dies_mid_run_fails_the_run_and_loses_nothing(house: House) -> None:
    """Exit 1, the death is named, what was measured renders."""
    process = house.start("run", house.scenario("dies", measure="60 s"))
    house.wait_for_observations(process, 20)
    [host] = [p for p in house.carriers() if "harness.target.host" in p.cmdline()]
    host.kill()
    out, err = process.communicate(timeout=90)
    assert process.returncode == 1, err
    assert "target" in out
    assert "failed" in out
    seen = observations(house.run_dir)
    assert len([o for o in seen if o.outcome == "ok"]) >= 20
    assert (house.run_dir / "report.md").read_text()


def test_ctrl_c_ends_in_order_with_everything_recorded(house: House) -> None:
    """Exit 130; what was in flight is censored, not forgotten."""
    process = house.start("run", house.scenario("interrupted", measure="60 s"))
    house.wait_for_observations(process, 10)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    seen = observations(house.run_dir)
    assert [o for o in seen if o.censored]
    lines = read_journal(house.run_dir / "journal.jsonl", Damage())
    assert any(isinstance(line, PhaseMark) and line.phase == "end" for line in lines)
    assert "incomplete" in out


def test_ctrl_c_twice_ends_at_once_and_leaves_nothing(house: House) -> None:
    """Exit 130; the journal holds what was measured; the fixture looks for orphans."""
    process = house.start("run", house.scenario("impatient", measure="60 s"))
    house.wait_for_observations(process, 10)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(observations(house.run_dir)) >= 10


def test_sigkill_of_the_command_leaves_no_orphan_and_a_journal_that_renders(house: House) -> None:
    """`harness judge` then says that the run was cut short: exit 4."""
    process = house.start("run", house.scenario("killed", measure="60 s"))
    house.wait_for_observations(process, 10)
    process.kill()
    process.communicate(timeout=60)
    _, alive = psutil.wait_procs(house.carriers(), timeout=30)
    assert alive == []
    lines = list(read_journal(house.run_dir / "journal.jsonl", Damage()))
    assert len([line for line in lines if isinstance(line, Observation)]) >= 10
    assert [line for line in lines if isinstance(line, Opened | Observation)]
    code, out, err = house.run("judge", str(house.run_dir))
    assert code == 4, err
    assert "incomplete" in out


def test_sigkill_of_the_load_process_is_the_harness_failing(house: House) -> None:
    """Exit 4: nothing is said about the target that was not measured."""
    process = house.start("run", house.scenario("loadless", measure="60 s"))
    house.wait_for_observations(process, 10)
    [load] = [p for p in house.carriers() if "harness.load.worker" in p.cmdline()]
    load.kill()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 4, err
    assert "load process ended" in out + err


def test_a_full_disk_stops_the_run_with_a_message(house: House) -> None:
    """Exit 4; the lines that were written are whole."""

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    busy = EMBEDDED.replace("50 ms", "10 ms")
    code, out, err = house.run("run", house.scenario("full", more=busy, measure="60 s"), preexec=small_files)
    assert code == 4, (out, err)
    assert "File too large" in out + err
    damage = Damage()
    seen = list(read_journal(house.run_dir / "journal.jsonl", damage))
    assert damage.unreadable == 0
    assert seen


def test_a_reports_folder_that_cannot_be_written_is_said_before_anything_starts(house: House) -> None:
    """A file stands where the folder should be."""
    (house.folder / "reports").write_text("in the way")
    code, _, err = house.run("run", house.scenario("nowhere"), "--reports", "reports/deep")
    assert code in {2, 4}
    assert "reports" in err
    (house.folder / "reports").unlink()


def test_json_prints_only_json_on_standard_output(house: House) -> None:
    """Progress goes to standard error."""
    code, out, _ = house.run("run", house.scenario("machine"), "--json", "--level", "5")
    assert code in JUDGED
    assert isinstance(json.loads(out), dict)


def test_a_pipe_gets_plain_lines_and_judging_again_gives_the_same_verdict(house: House) -> None:
    """No escape codes where there is no terminal; and from the files alone the same, byte for byte."""
    code, out, err = house.run("run", house.scenario("again"), "--level", "5")
    assert "\x1b" not in out + err
    before = (house.run_dir / "verdict.json").read_bytes()
    assert code in JUDGED
    assert house.run("judge", str(house.run_dir))[0] == code
    assert (house.run_dir / "verdict.json").read_bytes() == before


def test_a_folder_that_is_no_run_is_refused(house: House) -> None:
    """Exit 3, with what is missing."""
    code, _, err = house.run("judge", str(house.folder))
    assert code == 3
    assert "run.json" in err


def test_a_run_without_limits_is_no_pass(house: House) -> None:
    """There was nothing to hold it against; the way out is named."""
    path = house.scenario("unlimited")
    (house.folder / "baselines" / "unlimited.toml").unlink()
    assert "no limits" in house.run("check", path)[1]
    code, out, _ = house.run("run", path, "--level", "5")
    assert code == 3
    assert "baselines/unlimited.toml" in out


def test_limits_are_found_beside_the_scenarios_from_any_directory(house: House) -> None:
    """A wrong directory must not make a failing run pass."""
    path = house.folder / house.scenario("anywhere")
    (house.folder / "baselines" / "anywhere.toml").write_text(LIMITS.replace(">= 50 %", "< 50 %"))
    elsewhere = house.folder / "elsewhere"
    elsewhere.mkdir()
    reports = str(house.folder / "reports")
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", str(path), "--level", "5", "--reports", reports],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert 'limits."5".success' in done.stdout


def test_a_named_baselines_folder_must_hold_the_limits(house: House) -> None:
    """A typo is said; it does not turn the limits off."""
    path = house.scenario("typo")
    assert house.run("check", path, "--baselines", "baslines")[0] == 2
    (house.folder / "other").mkdir()
    code, _, err = house.run("check", path, "--baselines", "other")
    assert code == 2
    assert "typo.toml" in err


def test_a_folder_without_scenarios_is_a_usage_error(house: House) -> None:
    """A CI job whose folder moved must not stay green."""
    (house.folder / "empty").mkdir()
    for command in ("run", "check"):
        code, _, err = house.run(command, "empty")
        assert code == 2
        assert "no scenario" in err


@pytest.mark.parametrize(
    "redirect", [">&-", "> /dev/full", "| head -c 1", "2>&-", "2> /dev/full", "2>&1 >&- | head -c 1"]
)
def test_output_that_nobody_can_read_never_looks_like_a_failing_target(house: House, redirect: str) -> None:
    """The run is finished and judged whatever happens to its words; only a full disk for the result is our failure."""
    path = house.scenario("unheard")
    command = f"{sys.executable} -m harness run {path} --level 5 {redirect}; exit ${{PIPESTATUS[0]}}"
    buffered = {
        name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"
    }  # as most people have it
    done = subprocess.run(
        ["bash", "-c", command], cwd=house.folder, env=buffered, capture_output=True, timeout=120, check=False
    )
    assert done.returncode in ({4} if redirect == "> /dev/full" else JUDGED), done.stderr
    assert (house.run_dir / "verdict.json").exists()
    assert b"Traceback" not in done.stderr


def test_a_bug_of_ours_is_exit_4(house: House) -> None:
    """1 is reserved for the target."""
    program = "import harness.cli as m\n@m.commands.command()\ndef bug(): raise KeyError('x')\nm.main()"
    done = subprocess.run([sys.executable, "-c", program, "bug"], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "bug of the harness" in done.stderr


def test_a_usage_error_of_the_targets_host_leaves_no_folder(house: House) -> None:
    """Exit 2 means that nothing was started."""
    assert house.run("run", house.scenario("mine", target="python:nowhere:run", more=""))[0] == 2
    assert list((house.folder / "reports").iterdir()) == []


def test_judging_a_run_whose_target_did_not_start_says_the_same_again(house: House) -> None:
    """The reason is in the run's folder."""
    code, out, _ = house.run("run", house.scenario("broken", target="python:flows:Broken", more=""))
    assert code == 3
    assert "the vector store is down" in out
    again, said, _ = house.run("judge", str(house.run_dir))
    assert (again, said.strip()) == (3, out.split("\nreports:")[0].strip())
