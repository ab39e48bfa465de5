"""`ledger.jsonl` of a run: what the witness performed, by level, and what of it should not have been."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from harness.observation.ids import level_prefix, prefix_of
from harness.observation.journal import Damage, read_lines
from harness.observation.ledger import Answer, Effect


class LevelLedger:
    """The acts of one level's workflows."""

    __slots__ = ("_performed", "_times", "_zombies", "answers")

    def __init__(self) -> None:
        self.answers: Counter[Answer] = Counter()
        self._performed: defaultdict[str, set[int]] = defaultdict(set)  # by step: hashed ids of workflows (see Tally)
        self._times: Counter[tuple[str, str]] = Counter()  # beyond the first, by workflow and step
        self._zombies: list[Effect] = []

    def add(self, effect: Effect, *, is_newest: bool) -> None:
        """Take in one line; `is_newest`: no newer owner had acted before."""
        self.answers[effect.answer] += 1
        if effect.answer == "performed":
            workflows, workflow = self._performed[effect.step], hash(effect.workflow)
            if workflow in workflows:
                self._times[effect.workflow, effect.step] += 1
            workflows.add(workflow)
        if effect.answer != "refused" and not is_newest:
            self._zombies.append(effect)

    @property
    def duplicates(self) -> list[str]:
        """Steps whose effect was performed more than once."""
        return [f"{workflow} {step} ({more + 1} times)" for (workflow, step), more in self._times.items()]

    @property
    def zombies(self) -> list[str]:
        """Acts that were done for an owner after a newer one had acted."""
        return [
            f"{effect.workflow} {effect.step} (owner {effect.owner}, token {effect.token})" for effect in self._zombies
        ]

    def workflows_with(self, steps: frozenset[str]) -> set[int]:
        """Hashed ids of workflows for which all of these steps' effects were performed."""
        return set.intersection(*(self._performed[step] for step in steps))

    def missing(self, workflow: str, steps: frozenset[str]) -> list[str]:
        """Which of these steps' effects were not performed for the workflow."""
        return sorted(step for step in steps if hash(workflow) not in self._performed[step])


def read_ledger(path: Path, levels: Sequence[str], damage: Damage) -> Mapping[str, LevelLedger] | None:
    """The ledger by level; None when there is no file. Acts of workflows that are none of ours are in no level."""
    if not path.exists():
        return None
    found = {label: LevelLedger() for label in levels}
    by_prefix = {level_prefix(label): level for label, level in found.items()}
    newest = 0
    for effect in read_lines(path, msgspec.json.Decoder(Effect), damage):
        level = by_prefix.get(prefix_of(effect.workflow))
        if level is not None:
            level.add(effect, is_newest=effect.owner >= newest)
        if effect.answer != "refused":
            newest = max(newest, effect.owner)
    return found
