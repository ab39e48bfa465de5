"""The table of served models."""

from __future__ import annotations

import pytest

from harness.llm.latency import MODELS
from harness.llm.models import SERVED, served


def test_every_served_model_has_a_latency_class() -> None:
    """Otherwise a call to it would have no time to take."""
    assert {model.latency for model in SERVED.values()} <= set(MODELS)


@pytest.mark.parametrize("name", ["gpt-4o-2024-08-06", "claude-haiku-4-5-20251001", "claude-haiku-4-5-latest"])
def test_a_dated_name_is_the_same_model(name: str) -> None:
    """Snapshots are asked for by date."""
    assert served(name) in SERVED.values()


def test_a_scenario_adds_names_of_its_own() -> None:
    """They answer on either provider's endpoints, in the class they were given."""
    mine = served("my-finetune", {"my-finetune": "sonnet-4"})
    assert mine is not None
    assert (mine.provider, mine.latency) == ("", "sonnet-4")


def test_an_unknown_name_is_no_model() -> None:
    """There is no guessing."""
    assert served("gpt-17") is None
