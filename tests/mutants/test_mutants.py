"""The checks are alive: orchestrators that keep their state in Redis and are broken on purpose are caught, three times.

| mutant | what is broken | what catches it | under |
|---|---|---|---|
| no_operation_ids | every attempt of an effect looks new | dup_effects | killed after an effect |
| no_fencing | an owner that was replaced goes on acting | zombie_effects | paused before an effect |
| blind_writes | versions are not looked at | lost_updates | nothing |
| latched_fallback | once in memory it stays there | promotions | Redis away for half a second |
| drops_queue | what an earlier owner had accepted is forgotten | lost | killed after accepting |

Those that need no store are in test_mutants_memory.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.scenario.scenario import Crash, State
from tests.mutants.arm import SEEDS, Mutant, assert_caught, assert_sound, assert_unharmed

FALLBACK = State(store="redis", lease=2.0, fallback=True)
AWAY = {"kind": "redis.refuse", "at": "500 ms", "for": "500 ms"}
MUTANTS = {
    "no_operation_ids": Mutant(
        target="broken:no_operation_ids",
        scenario="mutant",
        caught_by="dup_effects",
        broken={"crash": Crash(kill=("after_effect",), every=0.5)},
        measure_s=3.0,
    ),
    "no_fencing": Mutant(
        target="broken:no_fencing",
        scenario="mutant",
        caught_by="zombie_effects",
        broken={"crash": Crash(pause=("before_effect",), every=0.5)},
        measure_s=4.0,
    ),
    "blind_writes": Mutant(target="broken:blind_writes", scenario="mutant", caught_by="lost_updates"),
    "latched_fallback": Mutant(
        target="broken:latched_fallback",
        scenario="mutant",
        caught_by="promotions",
        limit=">= 1",
        broken={"state": FALLBACK, "fault": (AWAY,)},
        measure_s=4.0,
    ),
    "drops_queue": Mutant(
        target="broken:drops_queue",
        scenario="mutant",
        caught_by="lost",
        broken={"crash": Crash(kill=("after_claim",), every=0.5)},
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


ALL = Crash(
    kill=("after_claim", "after_effect", "before_checkpoint"), pause=("before_effect", "before_checkpoint"), every=0.5
)


@pytest.mark.parametrize(
    "mutant",
    [replace(MUTANTS["no_fencing"], broken={"crash": ALL}, measure_s=9.0), MUTANTS["latched_fallback"]],
    ids=["crashes", "fallback"],
)
def test_the_orchestrator_itself_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mutant: Mutant) -> None:
    """Under the crashes of all of them nothing is lost, repeated or overwritten; a fallback ends."""
    assert_sound(monkeypatch, tmp_path, mutant)
