"""Runs whose models are not simulated by us for the run itself: live mode, recordings, replays; and targets of a
user's own that ask. The real APIs are stood in for by another provider process, reached as they would be."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from harness.observation.journal import Damage, read_journal
from harness.observation.llm import LlmCall
from harness.observation.observation import PhaseMark

KEY = "sk-proj-0123456789abcdefABCDEF-canary"
AGENTS = """
[[workflow]]
kind = "sequential"
shape = "sequential"
[agent.triage]
work = { llm = { api = "openai.chat", model = "gpt-4.1-mini", output_tokens = 20 } }
[agent.data]
work = { llm = { api = "openai.responses", model = "gpt-4.1-mini", tool = true, output_tokens = 20 } }
[agent.optimization]
work = { llm = { api = "openai.chat", model = "gpt-4.1-mini", stream = true, output_tokens = 20 } }
"""
LIMITS = 'success = ">= 99 %"\np50 = "< 10 s"\n'
SOUND = {0, 3}
"""Every limit held; on a starved machine the generator may be late, and then nothing more is said."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """The URL of what stands in for the real API."""
    words = [sys.executable, "-m", "harness", "llm", "--port", "0", "--time-scale", "0.02"]
    command = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert command.stdout is not None
        settings = dict(command.stdout.readline().strip().split("=", 1) for _ in range(2))
        yield settings["ANTHROPIC_BASE_URL"]
    finally:
        command.send_signal(signal.SIGINT)
        assert command.wait(20.0) == 0
        command.communicate()


class Folder:
    """A folder with one scenario, in which the command is run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, load: str, *levels: str, body: str = AGENTS, head: str = "") -> None:
        """The scenario `s`, with limits for these levels."""
        (self.folder / "scenarios").mkdir(exist_ok=True)
        (self.folder / "baselines").mkdir(exist_ok=True)
        text = f'name = "s"\ndescription = "A test."\ntime_scale = 0.02\n{head}[load]\n{load}\n{body}'
        (self.folder / "scenarios" / "s.toml").write_text(text)
        limits = "".join(f'[limits."{level}"]\n{LIMITS}' for level in levels)
        (self.folder / "baselines" / "s.toml").write_text(limits)

    def start(self, *words: str, key: str | None = KEY) -> subprocess.Popen[str]:
        env = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
        return subprocess.Popen(
            [sys.executable, "-m", "harness", "run", "s", *words],
            cwd=self.folder, env=env | ({"OPENAI_API_KEY": key} if key else {}),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *words: str, key: str | None = KEY) -> tuple[int, str]:
        """Exit code, and all that was said."""
        command = self.start(*words, key=key)
        out, err = command.communicate(timeout=120)
        assert "Traceback" not in out + err
        return command.returncode, out + err

    @property
    def run_dir(self) -> Path:
        """Of the newest run."""
        return max((self.folder / "reports").iterdir(), key=lambda path: path.stat().st_mtime)

    def calls(self) -> list[LlmCall]:
        """What was written down in the newest run."""
        lines = (self.run_dir / "calls.jsonl").read_bytes().splitlines()
        return [msgspec.json.decode(line, type=LlmCall) for line in lines]


@pytest.fixture
def here(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def live(upstream: str, cap: str, *more: str) -> list[str]:
    """The words that ask it."""
    return [
        "--llm",
        "live",
        "--llm-upstream",
        f"openai={upstream}",
        "--spend-max",
        cap,
        "--llm-concurrency",
        "3",
        *more,
    ]


def test_live_recorded_and_replayed(here: Folder, upstream: str) -> None:
    """The run passes against the API within its caps, what it recorded answers the same run again without any API, and
    the key is nowhere."""
    here.write("burst = [8]\nwarmup = '0 s'\nmeasure = '500 ms'\ndrain = '20 s'", "8")
    code, said = here.run(*live(upstream, "2 USD", "--yes", "--llm-record", "c.rec"))
    assert code in SOUND, said
    calls = here.calls()
    assert len(calls) == 24
    edges = sorted(edge for call in calls for edge in ((call.at + call.queued_s, 1), (call.at + call.ended_s, -1)))
    in_flight = peak = 0
    for _, change in edges:
        in_flight += change
        peak = max(peak, in_flight)
    assert peak <= 3
    assert sum(call.cost_usd for call in calls) > 0
    code, said = here.run("--llm", "replay:c.rec", key=None)
    assert code in SOUND, said
    again = here.calls()
    assert {(c.workflow, c.step, c.digest) for c in again} == {(c.workflow, c.step, c.digest) for c in calls}
    for path in here.folder.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_a_cap_ends_the_run_without_a_verdict_on_the_target(here: Folder, upstream: str) -> None:
    """Inconclusive, with the reason; what comes after is not run; the cap was not passed."""
    here.write("closed = [4, 6]\nwarmup = '0 s'\nmeasure = '20 s'\ndrain = '10 s'", "4", "6")
    code, said = here.run(*live(upstream, "0.02 USD", "--yes"))
    assert code == 3, said
    assert "inconclusive" in said
    assert "USD" in said
    manifest = json.loads((here.run_dir / "run.json").read_bytes())
    assert [(end["level"], end["status"]) for end in manifest["ended"]] == [("4", "budget_spent")]
    assert 0 < sum(call.cost_usd for call in here.calls()) <= 0.02


def test_a_replay_that_runs_dry_is_no_verdict_on_the_target(here: Folder, upstream: str) -> None:
    """The first call that was not recorded ends the level, and the reason is told."""
    here.write("burst = [3]\nwarmup = '0 s'\nmeasure = '500 ms'\ndrain = '20 s'", "3")
    code, said = here.run(*live(upstream, "2 USD", "--yes", "--llm-record", "c.rec"))
    assert code in SOUND, said
    code, said = here.run("--llm", "replay:c.rec", "--seed", "9", key=None)
    assert code == 3, said
    assert "inconclusive" in said
    assert "recording" in said
    assert "--measure" in said


def test_only_the_relay_has_the_keys(here: Folder, upstream: str) -> None:
    """A target of the user's own looks for them, and finds none."""
    body = '[[workflow]]\nkind = "look"\n[llm]\n[python]\nexpect = { "/key" = { equals = "none" } }\n'
    load = "burst = [2]\nwarmup = '0 s'\nmeasure = '500 ms'\ndrain = '20 s'"
    here.write(load, "2", body=body, head='target = "python:bot:run"\n')
    (here.folder / "scenarios" / "bot.py").write_text(
        "import os\nasync def run(request, watch):\n    return {'key': os.environ.get('OPENAI_API_KEY', 'none')}\n"
    )
    code, said = here.run(*live(upstream, "2 USD", "--yes"))
    assert code in SOUND, said


def test_live_without_a_key_or_a_confirmation(here: Folder, upstream: str) -> None:
    """Exit 2, and no run was begun."""
    here.write("burst = [2]\nmeasure = '2 s'\nwarmup = '0 s'", "2")
    code, said = here.run(*live(upstream, "1 USD", "--yes"), key=None)
    assert code == 2
    assert "OPENAI_API_KEY" in said
    code, said = here.run(*live(upstream, "1 USD"))
    assert code == 2
    assert "--yes" in said
    assert not (here.folder / "reports").exists() or not list((here.folder / "reports").iterdir())


def test_a_recording_that_is_damaged(here: Folder) -> None:
    """Exit 2, with its line."""
    here.write("burst = [2]\nmeasure = '2 s'\nwarmup = '0 s'", "2")
    (here.folder / "c.rec").write_text("not a recording\n")
    code, said = here.run("--llm", "replay:c.rec")
    assert code == 2
    assert "c.rec" in said


def is_provider(process: psutil.Process) -> bool:
    """Whether it serves models; one that ended while it was looked at does not."""
    try:
        return "harness.llm.server" in process.cmdline()
    except psutil.Error:
        return False


def test_a_provider_that_dies_ends_the_run(here: Folder) -> None:
    """Exit 4: it is ours, so its death says nothing of the target."""
    here.write("closed = [2]\nwarmup = '0 s'\nmeasure = '30 s'\ndrain = '10 s'", "2")
    command = here.start()
    deadline = time.monotonic() + 30.0
    provider = None
    while provider is None:
        assert time.monotonic() < deadline
        children = psutil.Process(command.pid).children(recursive=True)
        provider = next((each for each in children if is_provider(each)), None)
    while not any(log.stat().st_size for log in (here.folder / "reports").glob("*/calls.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.05)  # until it was asked
    provider.kill()
    out, _ = command.communicate(timeout=60)
    assert command.returncode == 4
    assert "the provider of models ended" in out


def test_faults_are_timed_from_the_measure_phase(here: Folder) -> None:
    """A window of half a second, half a second into it."""
    fault = '[[llm.fault]]\nfault = "error"\nstatus = 503\nat = "500 ms"\nlasts = "500 ms"\n'
    load = "closed = [4]\nwarmup = '700 ms'\nmeasure = '2 s'\ndrain = '10 s'"
    here.write(load, "4", body=AGENTS + fault)
    here.run()
    marks = [line for line in read_journal(here.run_dir / "journal.jsonl", Damage()) if isinstance(line, PhaseMark)]
    began = next(mark.at for mark in marks if mark.phase == "measure")
    failed = [call.at - began for call in here.calls() if call.status == 503]
    assert failed
    assert min(failed) >= 0.499
    assert max(failed) <= 1.001


def test_a_python_target_is_told_where_models_are(here: Folder) -> None:
    """Its calls count for the workflow that the mark in the prompt names, at the port that was asked for."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    body = f'[[workflow]]\nkind = "question"\n[llm]\nport = {port}\n'
    here.write("burst = [5]\nwarmup = '0 s'\nmeasure = '500 ms'\ndrain = '20 s'", "5", body=body,
               head='target = "python:bot:run"\n')  # fmt: skip
    (here.folder / "scenarios" / "bot.py").write_text(
        "import openai\n"
        "async def run(request, watch):\n"
        "    url = watch.services.llm_url + '/v1'\n"
        "    async with watch.step('answer'), openai.AsyncOpenAI(base_url=url, api_key='any') as client:\n"
        "        prompt = f'[harness workflow={request.id} agent=answer step=answer] why?'\n"
        "        answer = await client.responses.create(model='gpt-4.1-mini', input=prompt)\n"
        "        return {'text': answer.output_text}\n"
    )
    code, said = here.run()
    assert code in SOUND, said
    calls = here.calls()
    assert len({call.workflow for call in calls}) == 5
    assert {call.agent for call in calls} == {"answer"}
    report = json.loads((here.run_dir / "report.json").read_bytes())
    [level] = report["summary"]["levels"]
    assert level["metrics"]["calls"]["value"] == 5
    assert level["metrics"]["cost_per_success"]["value"] > 0
