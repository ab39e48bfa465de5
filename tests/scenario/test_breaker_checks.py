"""Rules of breakers, bulkheads and shedding that can never act are refused, each with its place; sound ones load."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.scenario.loading import Known, load_scenario
from harness.scenario.scenario import Breaker, Scenario

FILE = """name = "x"
description = "a scenario of a test"
[load]
closed = [10]
[[workflow]]
kind = "job"
steps = [{{ name = "one", agent = "data" }}]
{rest}
"""
AGENT = '[agent.data]\ndeadline = "5 s"\n'
KNOWN = Known(targets={"embedded", "http"}, models={"haiku-4.5"}, served={"gpt-4.1-mini": "openai"})


def loaded(folder: Path, rest: str) -> Scenario:
    """The scenario with these tables behind its workflow."""
    path = folder / "x.toml"
    path.write_text(FILE.format(rest=rest))
    return load_scenario(path, known=KNOWN)


def mistakes(folder: Path, rest: str) -> list[str]:
    """What is wrong with it, without the file's name and the lines."""
    with pytest.raises(UsageError) as error:
        loaded(folder, rest)
    return [mistake.split(": ", 1)[1] for mistake in error.value.mistakes]


def test_every_field_is_read(tmp_path: Path) -> None:
    """Of an agent's breaker and of a dependency's, beside bulkhead and shedding."""
    scenario = loaded(
        tmp_path,
        AGENT
        + 'waiting = 5\nbreaker = { failures = "40 %", slow = "2 s", slow_share = "60 %", calls_min = 5, '
        + 'window_s = "500 ms", open = "3 s", half_open = 4 }\n'
        + '[orchestrator]\nshed = "200 ms"\n[orchestrator.breaker.redis]\nwindow = 20\n[state]\nstore = "redis"\n',
    )
    agent = scenario.agent["data"]
    assert agent.waiting == 5
    assert agent.breaker == Breaker(
        failures=0.4, slow=2.0, slow_share=0.6, calls_min=5, window_s=0.5, open=3.0, half_open=4
    )
    assert scenario.orchestrator.shed == 0.2
    assert scenario.orchestrator.breaker == {"redis": Breaker(window=20)}


def test_what_was_valid_stays_so(tmp_path: Path) -> None:
    """The old fields alone; and without any of it everything is off."""
    rule = 'breaker = { failures = "50 %", calls_min = 5, window = 50, open = "2 s" }\n'
    scenario = loaded(tmp_path, AGENT + rule)
    breaker = scenario.agent["data"].breaker
    assert breaker is not None
    assert (breaker.slow, breaker.window_s, breaker.half_open) == (None, None, 1)
    plain = loaded(tmp_path, "[agent.data]\n")
    assert (plain.agent["data"].breaker, plain.agent["data"].waiting) == (None, None)
    assert (plain.orchestrator.shed, plain.orchestrator.breaker) == (None, {})


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("breaker.failures = '0 %'", "agent.data.breaker.failures: should be above 0"),
        ("breaker.failures = '101 %'", "agent.data.breaker.failures: should lie between"),
        ("breaker = { slow = '1 s', slow_share = '0 %' }", "agent.data.breaker.slow_share: should be above 0"),
        ("breaker.slow_share = '50 %'", "agent.data.breaker.slow_share: has no effect without slow"),
        ("breaker.slow = '0 s'", "agent.data.breaker.slow: should be above 0"),
        ("breaker.slow = '5 s'", "agent.data.breaker.slow: a call that took 5 s has passed the step's deadline"),
        ("breaker.calls_min = 0", "agent.data.breaker.calls_min: should be at least 1"),
        ("breaker.half_open = 0", "agent.data.breaker.half_open: should be at least 1"),
        ("breaker.open = '0 s'", "agent.data.breaker.open: should be above 0"),
        ("breaker.window_s = '0 s'", "agent.data.breaker.window_s: should be above 0"),
        ("breaker.window = 9", "agent.data.breaker.window: 9 calls are remembered, and 10 must be seen"),
        ("breaker = { window = 10, window_s = '1 s' }", "agent.data.breaker.window: the last calls are those of"),
        ("waiting = -1", "agent.data.waiting: should be at least 0"),
        ("[orchestrator]\nshed = '0 s'", "orchestrator.shed: should be above 0"),
        ("[orchestrator]\nshed = '1 s'\nqueue = 0", "orchestrator.shed: nobody waits with queue = 0"),
        (
            "[orchestrator]\nshed = '1 s'\n[state]\nstore = 'redis'\nqueue = 'redis'",
            "orchestrator.shed: the queue in Redis is not shed by its age",
        ),
        ("[orchestrator.breaker.redsi]", "orchestrator.breaker.redsi: dependency 'redsi' is unknown; did you mean"),
        ("[orchestrator.breaker.redis]", "orchestrator.breaker.redis: redis is not used (store = \"memory\")"),
        ("[orchestrator.breaker.llm]", "orchestrator.breaker.llm: llm is not used (no agent asks a model)"),
        (
            "[state]\nstore = 'postgres'\n[orchestrator.breaker.postgres]\nhalf_open = 0",
            "orchestrator.breaker.postgres.half_open: should be at least 1",
        ),
    ],
)  # fmt: skip
def test_nonsense_is_refused_with_its_place(tmp_path: Path, rest: str, said: str) -> None:
    """And nothing else is said of it."""
    (found,) = mistakes(tmp_path, AGENT + rest + "\n")
    assert found.startswith(said), found


def test_a_deadline_that_never_tells_the_breaker_anything_is_refused(tmp_path: Path) -> None:
    """With both at their default a step that hangs is its workflow's failure, and the breaker would stay closed."""
    (found,) = mistakes(tmp_path, "[agent.data]\nbreaker = {}\n")
    assert found.startswith("agent.data.deadline: a step that hangs would be ended by the deadline of its workflow")
