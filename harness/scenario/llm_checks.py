"""What a scenario may get wrong about models, and whether it needs any."""

from __future__ import annotations

from harness.scenario.scenario import Scenario
from harness.scenario.state_checks import works_of


def needs_llm(scenario: Scenario) -> bool:
    """Whether somebody asks models: an agent by its work, or a target that is given an `[llm]` table."""
    return scenario.llm is not None or any(work.llm is not None for _, work in works_of(scenario))
