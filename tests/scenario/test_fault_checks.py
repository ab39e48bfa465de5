"""What a scenario may get wrong about what its faults are to bring about."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.scenario.checks import Known
from harness.scenario.loading import load_scenario

KNOWN = Known(
    targets={"embedded"},
    models=(),
    metrics={"": ("retries", "breaker_probes"), "agent": ("retries", "failed"), "service": ("down",)},
)
FILE = """name = "shown"
description = "What is to be shown."
sometimes = {names}
[load]
closed = [1]
[[workflow]]
kind = "simple"
steps = [{{ name = "one", agent = "data" }}]
[agent.data]
"""


def mistakes(folder: Path, *names: str) -> list[str]:
    """What is said of `sometimes` with these names."""
    path = folder / "shown.toml"
    path.write_text(FILE.format(names=list(names)))
    try:
        load_scenario(path, known=KNOWN)
    except UsageError as error:
        return str(error).splitlines()
    return []


def test_metrics_agents_and_errors_are_names(tmp_path: Path) -> None:
    """Of the level, of an agent that there is, of a service, of any class of errors."""
    assert not mistakes(tmp_path, "retries", "agent.data.failed", "service.redis.down", "error.step_timeout")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("retrys", "metric 'retrys' is unknown; did you mean 'retries'?"),
        ("agent.data.retrys", "metric 'agent.data.retrys' is unknown; did you mean 'agent.data.retries'?"),
        ("agent.date.retries", "agent 'date' is unknown; did you mean 'data'?"),
        ("agent.retries", "metric 'agent.retries' is unknown"),
        ("error.", "metric 'error.' is unknown"),
        ("", "metric '' is unknown"),
    ],
)
def test_each_mistake_names_its_place(tmp_path: Path, name: str, said: str) -> None:
    """With what was perhaps meant."""
    [mistake] = mistakes(tmp_path, "retries", name)
    assert f"shown.toml:3: sometimes[1]: {said}" in mistake
