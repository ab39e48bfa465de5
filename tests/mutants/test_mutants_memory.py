"""The checks are alive: broken orchestrators that need no store, and one that asks models, are caught, three times.

| mutant | what is broken | what catches it | under |
|---|---|---|---|
| unbounded_retry | every failure is tried again, at once | retries | an agent that fails |
| swallowed_failure | a step that failed is told as one that succeeded | corrupted | an agent that fails |
| cross_talk | workflows get each other's findings | corrupted | nothing |
| slow_leak | what a step was told is kept for ever | rss_slope | nothing |
| lost_wakeup | some who wait for an instance are never told | censored | too few instances |
| stampede | half-open is open to everybody | breaker_over | an agent that fails |
| accepts_truncated | half an answer is taken for a whole one | corrupted | answers that are cut |
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.scenario.models import Ask, Llm, LlmFault
from harness.scenario.scenario import Agent, Think, Work
from tests.mutants.arm import SEEDS, Mutant, assert_caught, assert_sound, assert_unharmed

THINKING = Work(think=Think(model="haiku-4.5"))
FAILS = {"kind": "agent.fail", "agent": "data", "at": "300 ms", "for": "1200 ms"}
FEW = {name: Agent(pool=3, deadline=20.0, work=THINKING) for name in ("triage", "data", "optimization")}
TERSE = {"triage": Agent(pool=60, attempts=5, work=Work(llm=Ask(model="gpt-4.1-mini", output_tokens=5)))}
CUT = Llm(fault=(LlmFault(fault="cut_finished", share=0.3),))
MUTANTS = {
    "unbounded_retry": Mutant(
        target="broken_memory:unbounded_retry",
        scenario="agents",
        caught_by="retries",
        limit="< 200",
        broken={"fault": ({**FAILS, "agent": "triage"},)},
    ),
    "swallowed_failure": Mutant(
        target="broken_memory:swallowed_failure", scenario="agents", caught_by="corrupted", broken={"fault": (FAILS,)}
    ),
    "cross_talk": Mutant(
        target="broken_memory:cross_talk", scenario="agents", caught_by="corrupted", level="50", measure_s=4.0
    ),
    "slow_leak": Mutant(
        target="broken_memory:slow_leak", scenario="agents", caught_by="rss_slope", limit="< 100 MiB", measure_s=4.0
    ),
    "lost_wakeup": Mutant(
        target="broken_memory:lost_wakeup", scenario="agents", caught_by="censored", broken={"agent": FEW}
    ),
    "stampede": Mutant(
        target="broken_memory:stampede", scenario="agents", caught_by="breaker_over", broken={"fault": (FAILS,)}
    ),
    "accepts_truncated": Mutant(
        target="broken_memory:accepts_truncated",
        scenario="asking",
        caught_by="corrupted",
        broken={"agent": TERSE, "llm": CUT},
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_holds_every_limit_while_nothing_goes_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """At 10, 25 and 50: limits alone would let each of them pass."""
    assert_unharmed(monkeypatch, tmp_path, MUTANTS[name])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_is_caught(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, seed: int) -> None:
    """By the check that is named."""
    assert_caught(monkeypatch, tmp_path, MUTANTS[name], seed)


@pytest.mark.parametrize("name", ["unbounded_retry", "slow_leak", "lost_wakeup", "stampede", "accepts_truncated"])
def test_the_orchestrator_itself_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """Under the same, with the same check, and no invariant is broken."""
    assert_sound(monkeypatch, tmp_path, MUTANTS[name])
