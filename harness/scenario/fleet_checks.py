"""What does not go with several instances of a target."""

from __future__ import annotations

from collections.abc import Iterator

from harness.scenario.checks import Draft
from harness.scenario.fleet import instances
from harness.scenario.mistakes import Mistake

SIZE_MAX = 64


def check_fleet(draft: Draft) -> Iterator[Mistake]:
    """A fleet is for scaling: what one instance suffers is shown with one."""
    scenario = draft.scenario
    size = instances(scenario.fleet)
    if not 1 <= size <= SIZE_MAX:
        yield Mistake(("fleet", "size"), f"should be from 1 to {SIZE_MAX}, not {size}")
    if size == 1:
        return
    if scenario.target == "http":
        text = "is of targets that the harness starts; a black box has one address: put a balancer there"
        yield Mistake(("fleet", "size"), text, reads=(("fleet", "size"), ("target",)))
    for key in ("crash", "outage", "fault", "shared"):
        if getattr(scenario, key):
            text = f"does not go with a fleet of {size}: its instances have state of their own; set fleet.size = 1"
            yield Mistake((key,), text, reads=((key,), ("fleet", "size")))
