"""The provider process as the run sees it: it serves, it says why not, and it leaves nothing behind."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import psutil
import pytest

from harness.child import Children
from harness.errors import UsageError
from harness.llm.config import Caps, ProviderConfig
from harness.llm.prices import Price
from harness.run.provider import LlmChoice, prices_for, provider, provider_config, spent_usd, unpriced
from harness.scenario.models import Ask
from harness.scenario.scenario import Agent, Load, Scenario, Work, Workflow


def config(**given: object) -> ProviderConfig:
    return ProviderConfig(run_id="test", t0=time.monotonic(), **given)  # type: ignore[arg-type]


def test_it_serves_and_is_gone_afterwards(tmp_path: Path) -> None:
    """At an address of its own, on loopback."""
    with (
        Children(f"test-{secrets.token_hex(4)}", tmp_path / "logs") as children,
        provider(children, config()) as serving,
    ):
        assert serving.url.startswith("http://127.0.0.1:")
        assert httpx2.get(f"{serving.url}/health").status_code == 200
        assert serving.died() is None
        pid = serving.pid
    assert not psutil.pid_exists(pid)
    assert children.leftovers == ()


def test_a_port_that_is_taken_is_a_mistake_of_whoever_chose_it(tmp_path: Path) -> None:
    """It is said in one sentence that names the port."""
    with socket.socket() as taken, Children(f"test-{secrets.token_hex(4)}", tmp_path / "logs") as children:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=str(port)), provider(children, config(port=port)):
            pass


def test_a_provider_that_is_killed_is_noticed(tmp_path: Path) -> None:
    """A run must not go on against nothing."""
    with (
        Children(f"test-{secrets.token_hex(4)}", tmp_path / "logs") as children,
        provider(children, config()) as serving,
    ):
        os.kill(serving.pid, signal.SIGKILL)
        deadline = time.monotonic() + 5.0
        while serving.died() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)  # until the kernel has told us
        assert "exit -9" in str(serving.died())


def test_what_was_spent_is_read_from_the_log(tmp_path: Path) -> None:
    """Earlier levels count towards the cap; a line that a killed process left half is not there."""
    log = tmp_path / "calls.jsonl"
    assert spent_usd(log) == 0
    log.write_bytes(b'{"level":"10","cost_usd":0.25}\n{"level":"10"}\n{"level":"25","cost_usd":0.5}\n{"level":"2')
    assert spent_usd(log) == 0.75


def test_the_command_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    """It prints what to set, and answers; one Ctrl-C ends it in order, with its log whole."""
    log = tmp_path / "calls.jsonl"
    words = [sys.executable, "-m", "harness", "llm", "--port", "0", "--time-scale", "0.001", "--log", str(log)]
    command = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert command.stdout is not None
        settings = dict(command.stdout.readline().strip().split("=", 1) for _ in range(2))
        assert settings["OPENAI_BASE_URL"] == settings["ANTHROPIC_BASE_URL"] + "/v1"
        body = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "hello"}]}
        url = settings["OPENAI_BASE_URL"] + "/chat/completions"
        answer = httpx2.post(url, json=body, headers={"Authorization": "Bearer any"})
        assert answer.json()["object"] == "chat.completion"
        command.send_signal(signal.SIGINT)
        assert command.wait(20.0) == 0
    finally:
        command.kill()
        command.communicate()
    [line] = log.read_text().splitlines()
    assert json.loads(line)["model"] == "gpt-4.1-mini"


def test_a_port_that_is_taken_ends_the_command(tmp_path: Path) -> None:
    """Exit code 2: nothing was started."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "harness", "llm", "--port", port], capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    assert port in done.stderr
    assert "Traceback" not in done.stderr


def asking(*asks: Ask) -> Scenario:
    agents = {f"agent{position}": Agent(work=Work(llm=ask)) for position, ask in enumerate(asks)}
    workflow = Workflow(kind="job", work={"own": Work(llm=Ask(api="openai.responses", model="gpt-4o"))})
    return Scenario(
        name="s", description="d", time_scale=0.1, load=Load(closed=(1,)), workflow=(workflow,), agent=agents
    )


def told(scenario: Scenario, choice: LlmChoice, tmp_path: Path) -> ProviderConfig:
    prices = prices_for(scenario, choice)
    return provider_config(scenario, choice, prices, run_id="r", level="1", t0=0.0, log=tmp_path / "calls.jsonl")


def test_every_provider_that_is_asked_is_named(tmp_path: Path) -> None:
    """So a key that is missing is noticed before anything is spent; works of workflows count as those of agents do."""
    claude = Ask(api="anthropic.messages", model="claude-haiku-4-5")
    assert told(asking(claude), LlmChoice(), tmp_path).providers == ("anthropic", "openai")
    assert told(asking(), LlmChoice(), tmp_path).providers == ("openai",)


def test_models_that_agents_ask_are_priced() -> None:
    """Those beyond the served ones as well; one that nobody prices is known by name."""
    scenario = asking(Ask(api="openai.chat", model="gpt-3.5-turbo"), Ask(api="openai.chat", model="our-model"))
    prices = prices_for(scenario, LlmChoice())
    assert prices["gpt-3.5-turbo"].output_usd > 0
    assert unpriced(scenario, prices) == ["our-model"]
    assert unpriced(scenario, {**prices, "our-model": Price(0.0, 0.0)}) == []


def test_a_cap_is_not_promised_over_a_model_without_a_price(tmp_path: Path) -> None:
    """It is said before anything is started, with the way out; a simulated run needs no price."""
    scenario = asking(Ask(api="openai.chat", model="our-model"))
    with pytest.raises(UsageError, match=r"our-model.*--prices"):
        told(scenario, LlmChoice(mode="live", caps=Caps(cost_usd=1.0, concurrency=1)), tmp_path)
    assert told(scenario, LlmChoice(), tmp_path).mode == "simulated"


def test_recorded_times_are_replayed_as_they_were(tmp_path: Path) -> None:
    """The scenario's time_scale is for latencies that are drawn."""
    replay = LlmChoice(mode="replay", replay=tmp_path / "calls.rec")
    assert told(asking(), replay, tmp_path).time_scale == 1.0
    assert told(asking(), LlmChoice(), tmp_path).time_scale == 0.1
