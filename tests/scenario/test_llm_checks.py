"""What a scenario may get wrong about models is said with its place and the way out, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.llm.latency import MODELS
from harness.llm.models import SERVED
from harness.scenario.llm_checks import needs_llm
from harness.scenario.loading import Known, load_scenario
from harness.scenario.scenario import Scenario

HEAD = """name = "x"
description = "a scenario of a test"
{target}
[load]
closed = [10]
measure = "10 s"
"""
JOB = '[[workflow]]\nkind = "job"\nsteps = [{ name = "one", agent = "data" }]\n'
ASKING = JOB + '[agent.data]\nwork = { llm = { model = "gpt-4.1-mini" } }\n'
KNOWN = Known(
    targets={"embedded", "http"}, models=MODELS, served={name: model.provider for name, model in SERVED.items()}
)


def load(folder: Path, text: str, target: str = "") -> Scenario:
    """The scenario with this text after its head."""
    path = folder / "x.toml"
    path.write_text(HEAD.format(target=target) + text)
    return load_scenario(path, known=KNOWN)


def mistakes(folder: Path, text: str, target: str = "") -> list[str]:
    """Of a scenario, without the file's name."""
    with pytest.raises(UsageError) as error:
        load(folder, text, target)
    return [mistake.split(": ", 1)[1] for mistake in error.value.mistakes]


def asking(llm: str) -> str:
    """A workflow whose one agent asks so."""
    return JOB + f"[agent.data]\nwork = {{ llm = {{ {llm} }} }}\n"


@pytest.mark.parametrize(
    ("llm", "said"),
    [
        (
            'model = "gpt-4.1-minni"',
            "agent.data.work.llm.model: model 'gpt-4.1-minni' is unknown; did you mean 'gpt-4.1-m",
        ),
        (
            'model = "gpt-4.1-mini", api = "anthropic.messages"',
            "agent.data.work.llm.model: 'gpt-4.1-mini' is openai's, and api is 'anthropic.messages'",
        ),
        ('model = "gpt-4.1-mini", api = "openai.chatt"', "agent.data.work.llm.api: "),
        ('model = "gpt-4.1-mini", output_tokens = 0', "agent.data.work.llm.output_tokens: should be at least 1, not 0"),
        ('model = "gpt-4.1-mini", input_tokens = 99999999', "agent.data.work.llm.input_tokens: should be at most 10,0"),
        ('model = "gpt-4.1-mini", timeout = "0 s"', "agent.data.work.llm.timeout: should be above 0"),
        (
            'model = "gpt-4.1-mini", first_token = "1 s"',
            "agent.data.work.llm.first_token: is read only with stream = true",
        ),
        ("stream = true", "agent.data.work.llm.model: is required and missing"),
        (
            'model = "gpt-4.1-mini", fallback = { model = "claude-haiku-4-5" }',
            "agent.data.work.llm.fallback: is asked while the breaker of llm is open, and there is none",
        ),
        (
            'model = "gpt-4.1-mini", fallback = { model = "gpt-4.1-mini" }',
            "agent.data.work.llm.fallback.model: 'gpt-4.1-mini' is openai's, and api is 'anthropic.messages'",
        ),
        (
            'model = "gpt-4.1-mini", fallback = { api = "openai.chat", model = "gpt-4.1-mini" }',
            "agent.data.work.llm.fallback.model: is the one that is away",
        ),
        (
            'model = "gpt-4.1-mini", fallback = { model = "claude-haiku-4-5", at_once = 0 }',
            "agent.data.work.llm.fallback.at_once: should be at least 1, not 0",
        ),
        ('model = "gpt-4.1-mini", modle = 1', "agent.data.work.llm.modle: unknown key; did you mean 'model'?"),
    ],
)
def test_what_an_agent_asks(tmp_path: Path, llm: str, said: str) -> None:
    """A known model of the right provider, and deadlines that are read."""
    found = mistakes(tmp_path, asking(llm))
    assert any(mistake.startswith(said) for mistake in found), found


@pytest.mark.parametrize(
    ("llm", "said"),
    [
        ("port = 0\n", "llm.port: should lie in 1..65535, not 0"),
        ("sdk_retries = 11\n", "llm.sdk_retries: should lie in 0..10, not 11"),
        (
            'models = { mine = "haiku" }\n',
            "llm.models.mine: latency class 'haiku' is unknown; did you mean 'haiku-4.5'?",
        ),
        ('[llm.quota."gpt-5.9"]\nrequests = "1/s"\n', "llm.quota.\"gpt-5.9\": model 'gpt-5.9' is unknown"),
        ("[llm.quota.gpt-5]\n", "llm.quota.gpt-5: limits nothing; give one of requests, tokens"),
        ('[llm.quota.gpt-5]\nrequests = "0/s"\n', "llm.quota.gpt-5.requests: should be above 0"),
        ('[llm.quota.gpt-5]\nrequests = "1/s"\nburst = "0 s"\n', "llm.quota.gpt-5.burst: should be above 0"),
        (
            '[llm.quota.gpt-5]\noutput_tokens = "9/min"\n',
            "llm.quota.gpt-5.output_tokens: is how anthropic counts, and 'gpt-5' is openai's",
        ),
        ('[llm.quota.claude-opus-4-5]\ntokens = "9/min"\n', "llm.quota.claude-opus-4-5.tokens: is how openai counts"),
        ('[llm.quota.gpt-5]\nspend = "5"\n', "llm.quota.gpt-5.spend: '5' is not a cost: write \"0.02 USD\""),
        ('[[llm.fault]]\nfault = "stal"\n', "llm.fault[0].fault: "),
        ('[[llm.fault]]\nfault = "stall"\nshare = "101 %"\n', "llm.fault[0].share: should lie between 0 % and 100 %"),
        ('[[llm.fault]]\nfault = "stall"\nfirst = 0\n', "llm.fault[0].first: should be at least 1"),
        (
            '[[llm.fault]]\nfault = "stall"\nagent = "dota"\n',
            "llm.fault[0].agent: agent 'dota' is unknown; did you mean",
        ),
        ('[[llm.fault]]\nfault = "stall"\nmodel = "gpt"\n', "llm.fault[0].model: model 'gpt' is unknown"),
        ('[[llm.fault]]\nfault = "stall"\nstatus = 503\n', "llm.fault[0].status: is read only by error, not by stall"),
        ('[[llm.fault]]\nfault = "error"\ndelay = "1 s"\n', "llm.fault[0].delay: is read only by slow_first_token and"),
        ('[[llm.fault]]\nfault = "error"\nstatus = 418\n', "llm.fault[0].status: "),
        ('[[llm.fault]]\nfault = "error"\nlasts = "1 s"\n', "llm.fault[0].lasts: needs at: when it begins"),
        (
            '[[llm.fault]]\nfault = "error"\nat = "9 s"\nlasts = "2 s"\n',
            "llm.fault[0]: ends 11 s into a measure of 10 s",
        ),
        ('[[llm.fault]]\nfault = "error"\nat = "10 s"\n', "llm.fault[0]: ends 10 s into a measure of 10 s"),
        (
            '[[llm.fault]]\nfault = "error"\nat = "1 s"\nlasts = "2 s"\nevery = "2 s"\n',
            "llm.fault[0].every: should be longer than lasts",
        ),
    ],
)
def test_the_provider(tmp_path: Path, llm: str, said: str) -> None:
    """Quotas and faults that can take effect, on models and agents that exist."""
    found = mistakes(tmp_path, f"{ASKING}[llm]\n{llm}")
    assert any(mistake.startswith(said) for mistake in found), found


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    """Of agents, quotas and faults alike."""
    text = (
        asking('model = "nobody", output_tokens = 0') + '[llm]\nport = 0\n[[llm.fault]]\nfault = "error"\nfirst = 0\n'
    )
    assert len(mistakes(tmp_path, text)) == 4


def test_a_table_of_another_form_is_told_where_it_is(tmp_path: Path) -> None:
    """A list in the place of a table is one mistake, and does not stop the others from being told."""
    text = ASKING + '[llm]\nport = 0\nfault = { fault = "stall", status = 503 }\n'
    found = mistakes(tmp_path, text)
    assert any(mistake.startswith("llm.fault: ") for mistake in found), found
    assert any(mistake.startswith("llm.port: ") for mistake in found), found
    [mistake] = mistakes(tmp_path, JOB + "[agent.data]\nwork = { llm = [] }\n")
    assert mistake.startswith("agent.data.work.llm: ")


def test_a_mistake_is_not_told_twice(tmp_path: Path) -> None:
    """What is concluded from a broken value is left out."""
    assert len(mistakes(tmp_path, asking('model = 5, api = "anthropic.messages"'))) == 1


def test_an_agent_asks_or_thinks(tmp_path: Path) -> None:
    """Both would count the same time twice."""
    work = 'work = { llm = { model = "gpt-4.1-mini" }, think = { model = "haiku-4.5" } }'
    [mistake] = mistakes(tmp_path, f"{JOB}[agent.data]\n{work}\n")
    assert mistake.startswith("agent.data.work: an attempt that asks a model does not also wait for one")


def test_a_provider_that_nobody_asks(tmp_path: Path) -> None:
    """Of the embedded target: it would be started for nothing."""
    [mistake] = mistakes(tmp_path, JOB + "[agent.data]\n[llm]\nsdk_retries = 1\n")
    assert mistake.startswith("llm: is declared, but no agent's work asks a model")


def test_a_black_box_needs_the_port(tmp_path: Path) -> None:
    """It cannot be told an address that is only chosen when the run begins."""
    text = '[http]\nsubmit = { url = "http://127.0.0.1:1/x" }\n[[workflow]]\nkind = "job"\n[llm]\nsdk_retries = 0\n'
    assert any(each.startswith("llm: a black box") for each in mistakes(tmp_path, text, 'target = "http"'))


def test_who_needs_a_provider(tmp_path: Path) -> None:
    """An agent that asks, or a target of the user's own with a table for it; nobody else pays for one."""
    assert needs_llm(load(tmp_path, ASKING))
    assert needs_llm(load(tmp_path, '[[workflow]]\nkind = "job"\n[llm]\n', 'target = "python:bot:run"'))
    assert not needs_llm(load(tmp_path, JOB + "[agent.data]\n"))


def test_models_of_ones_own(tmp_path: Path) -> None:
    """A name that the scenario adds may be asked for on either provider's endpoints, dated names as well."""
    text = asking('model = "mine", api = "anthropic.messages"') + '[llm]\nmodels = { mine = "sonnet-4" }\n'
    assert load(tmp_path, text).llm is not None
    load(tmp_path, asking('model = "gpt-4.1-mini-2025-04-14"'))
