"""The options on load processes, and workers that find no run."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from harness.command.commands import commands
from harness.command.crew import CrewWords
from harness.errors import UsageError
from harness.load.control import Crew
from harness.run.crew import free_port


@pytest.mark.parametrize(
    ("words", "crew"),
    [
        (CrewWords(1, 0, None), None),
        (CrewWords(3, 0, None), Crew(here=3)),
        (CrewWords(1, 2, "10.0.0.1"), Crew(here=1, joining=2, host="10.0.0.1", port=5557)),
        (CrewWords(0, 1, "10.0.0.1:99"), Crew(here=0, joining=1, host="10.0.0.1", port=99)),
        (CrewWords(0, 1, "[::1]"), Crew(here=0, joining=1, host="::1", port=5557)),
    ],
)
def test_what_the_words_mean(words: CrewWords, crew: Crew | None) -> None:
    """One load process is no crew."""
    assert words.crew() == crew


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (CrewWords(1, 2, None), "--join 2: say where they find this run"),
        (CrewWords(2, 0, "10.0.0.1"), "--listen: is for load processes that --join"),
        (CrewWords(0, 0, None), "--workers 0: leaves nobody"),
        (CrewWords(1, 1, "10.0.0.1:port"), "say HOST or HOST:PORT"),
        (CrewWords(1, 1, ":99"), "say HOST or HOST:PORT"),
        (CrewWords(1, 1, "h:99999"), "say HOST or HOST:PORT"),
    ],
)
def test_words_that_do_not_fit_are_told_with_the_way_out(words: CrewWords, said: str) -> None:
    """Before anything starts."""
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        words.crew()


def test_too_few_users_for_so_many_processes() -> None:
    """Each level that has fewer is named."""
    ended = CliRunner().invoke(commands, ["run", "scenarios/concurrent_workflows.toml", "--workers", "20"])
    assert ended.exit_code == 2 or isinstance(ended.exception, UsageError)
    text = ended.output + str(ended.exception)
    assert "20 load processes: level 10 of concurrent_workflows has fewer users" in text
    assert "level 25" not in text


def test_a_worker_whose_master_has_no_name() -> None:
    """A usage error, nothing started."""
    ended = CliRunner().invoke(commands, ["worker", "--master", ":5557"])
    assert "--master :5557: say HOST or HOST:PORT" in ended.output + str(ended.exception)


def test_one_worker_that_leaves_takes_no_other_with_it(tmp_path: Path) -> None:
    """Two of one machine: what the guardian of the first ends is the first's."""
    port = free_port("127.0.0.1")  # nobody listens: both wait for a run
    harness = [sys.executable, "-m", "harness", "worker", "--master", f"127.0.0.1:{port}"]
    workers = [subprocess.Popen(harness, stderr=subprocess.PIPE, cwd=tmp_path) for _ in range(2)]

    def load_process_of(worker: subprocess.Popen[bytes]) -> psutil.Process:
        give_up = time.monotonic() + 30.0
        while time.monotonic() < give_up:
            children = psutil.Process(worker.pid).children()
            found = [each for each in children if "harness.load.crew.joining" in each.cmdline()]
            if found:
                return found[0]
            time.sleep(0.02)
        raise AssertionError("no load process was started")

    try:
        first, second = (load_process_of(worker) for worker in workers)
        workers[0].send_signal(signal.SIGINT)
        assert workers[0].wait(60.0) == 130
        assert not first.is_running()
        assert second.is_running()
        assert workers[1].poll() is None
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def test_a_master_whose_name_leads_nowhere_is_not_waited_for() -> None:
    """Before anything is started."""
    with pytest.raises(UsageError, match=r"--master nohost\.invalid: no such host"):
        CliRunner().invoke(commands, ["worker", "--master", "nohost.invalid"], catch_exceptions=False)
