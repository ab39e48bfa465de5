"""What a well-formed scenario may still get wrong: its name, target, times and load.

A check reads a `Draft` and yields mistakes; it never raises. `agent_checks` and `http_checks` hold those of the
embedded target and of the black-box one.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.errors import unknown_name
from harness.scenario.mistakes import KeyPath, Mistake
from harness.scenario.scenario import Scenario

TargetKind = Literal["embedded", "http", "python", "other"]

NAME = re.compile(r"\w[\w.-]*")
"""Of a scenario: it becomes part of file and folder names."""
PYTHON_TARGET = re.compile(r"python:[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
"""`python:package.module:attribute`."""
AMOUNTS = {"closed": (1, 100_000), "open": (0.001, 1_000_000), "burst": (1, 1_000_000)}
"""What one load process can be asked for at all: users, arrivals a second, workflows."""
DURATION_MAX_S = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The names a scenario may use that only the caller can know."""

    targets: Collection[str]  # beside them, python:module:attribute
    models: Collection[str]  # latency models, for `think.model`
    served: Mapping[str, str] = field(default_factory=dict)  # models with a name, for `llm.model` -> their provider
    faults: Mapping[str, str] = field(default_factory=dict)  # kinds of fault -> "module:attribute" of their types
    metrics: Mapping[str, Collection[str]] = field(default_factory=dict)  # of a level (""), an agent, a service


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A scenario under check: its values, and what the file really says (a default is not written)."""

    scenario: Scenario
    written: Mapping[str, Any]
    stem: str  # the file's name without .toml
    known: Known
    allow_remote: bool

    def wrote(self, *path: str) -> bool:
        """Whether the file itself gives this key."""
        table: Any = self.written
        for key in path:
            if not isinstance(table, dict) or key not in table:
                return False
            table = table[key]
        return True

    @property
    def target_kind(self) -> TargetKind | None:
        """Which family of rules holds; None when the target is not known, so that no rule can be applied."""
        target = self.scenario.target
        if PYTHON_TARGET.fullmatch(target):
            return "python"
        if target not in self.known.targets:
            return None
        return "embedded" if target == "embedded" else "http" if target == "http" else "other"


def check_scenario(draft: Draft) -> Iterator[Mistake]:
    """Name, description, target, seed and time scale."""
    scenario = draft.scenario
    if scenario.name != draft.stem:
        yield Mistake(("name",), f"{scenario.name!r} differs from the file's name; write {draft.stem!r}")
    if not NAME.fullmatch(scenario.name):
        yield Mistake(("name",), f"{scenario.name!r} names files and folders: use letters, digits, '_', '-' and '.'")
    if not scenario.description.strip() or "\n" in scenario.description:
        yield Mistake(("description",), "should be one line that says what the scenario shows")
    if draft.target_kind is None:
        known = {*draft.known.targets, "python:module:attribute"}
        yield Mistake(("target",), unknown_name("target", scenario.target, known))
    if scenario.seed < 0:
        yield Mistake(("seed",), f"should lie in 0..2**63-1, not {scenario.seed}")
    if scenario.time_scale <= 0:
        yield Mistake(("time_scale",), f"should be above 0, not {scenario.time_scale:g}")
    if draft.wrote("python") and draft.target_kind not in ("python", None):
        yield Mistake(("python",), f"has rules for a target python:…, but the target is {scenario.target!r}")
    for position, workflow in enumerate(scenario.workflow):
        if workflow.kind in {earlier.kind for earlier in scenario.workflow[:position]}:
            yield Mistake(("workflow", position, "kind"), f"{workflow.kind!r} is the kind of an earlier workflow too")
        yield from _check_workflow(draft, position)
    if not scenario.workflow:
        yield Mistake(("workflow",), "no workflow to run; add a [[workflow]]")


def _check_workflow(draft: Draft, position: int) -> Iterator[Mistake]:
    workflow = draft.scenario.workflow[position]
    path: KeyPath = ("workflow", position)
    if not workflow.kind:
        yield Mistake((*path, "kind"), "should not be empty")
    yield from at_least((*path, "weight"), workflow.weight, 1)
    yield from positive((*path, "deadline"), workflow.deadline)


def check_load(draft: Draft) -> Iterator[Mistake]:
    """Exactly one kind of load, sound levels, and no key that the kind does not read."""
    load = draft.scenario.load
    modes = [mode for mode in ("closed", "open", "burst") if draft.wrote("load", mode)]
    all_modes = (("load", "closed"), ("load", "open"), ("load", "burst"))
    if len(modes) != 1:
        said = f"not {' and '.join(modes)}" if modes else "for example closed = [10, 25, 50]"
        yield Mistake(("load",), f"should have exactly one of closed, open and burst, {said}", reads=all_modes)
    for mode in modes:
        if not getattr(load, mode):
            yield Mistake(("load", mode), "should name at least one level")
        for position, amount in enumerate(getattr(load, mode)):
            least, most = AMOUNTS[mode]
            if not least <= amount <= most:
                yield Mistake(("load", mode, position), f"should lie between {least:g} and {most:,}, not {amount:g}")
    labels = Counter(level.label for level in load.levels)
    for label in (label for label, count in labels.items() if count > 1 and len(modes) == 1):
        yield Mistake(("load", *modes), f"level {label!r} is given more than once")
    for key in ("warmup", "measure", "drain"):
        if getattr(load, key) > DURATION_MAX_S:
            yield Mistake(("load", key), f"should be at most {DURATION_MAX_S / 3600:g} h")
    yield from positive(("load", "measure"), load.measure)
    yield from positive(("load", "drain"), load.drain)
    yield from at_least(("load", "in_flight_max"), load.in_flight_max, 1)
    if load.until_ok is not None:
        yield from at_least(("load", "until_ok"), load.until_ok, 1)
    if len(modes) == 1:
        yield from _check_keys_of_mode(draft, modes[0])
        yield from _check_steps(draft)
        yield from _check_bursts(draft)


def _check_keys_of_mode(draft: Draft, mode: str) -> Iterator[Mistake]:
    read_by = {
        "arrivals": ("open",),
        "step_shares": ("open",),
        "burst_size": ("burst",),
        "burst_every": ("burst",),
        "in_flight_max": ("open", "burst"),
    }
    for key, modes in read_by.items():
        if mode not in modes and draft.wrote("load", key):
            text = f"has no effect on {mode} load, only on {' and '.join(modes)}; remove it"
            yield Mistake(("load", key), text, reads=(("load", mode),))


def _check_steps(draft: Draft) -> Iterator[Mistake]:
    load = draft.scenario.load
    path = ("load", "step_shares")
    if draft.wrote(*path) and load.open and load.arrivals != "steps":
        yield Mistake(path, 'is read only with arrivals = "steps"', reads=(path, ("load", "arrivals")))
    for position, share in enumerate(load.step_shares):
        if share > 1:
            yield Mistake((*path, position), f"should be at most 100 %, not {share:.0%}")
    if not any(load.step_shares):
        yield Mistake(path, "should have a step above 0 %")


def _check_bursts(draft: Draft) -> Iterator[Mistake]:
    load = draft.scenario.load
    if load.burst_size is None:
        if load.burst and draft.wrote("load", "burst_every"):
            text = "has no effect without burst_size: all arrive at once"
            yield Mistake(("load", "burst_every"), text, reads=(("load", "burst_size"),))
        return
    yield from at_least(("load", "burst_size"), load.burst_size, 1)
    yield from positive(("load", "burst_every"), load.burst_every)
    for position, total in enumerate(load.burst if load.burst_size >= 1 else ()):
        last_s = (math.ceil(total / load.burst_size) - 1) * load.burst_every
        if last_s >= load.measure:
            path = ("load", "burst", position)
            text = f"the last of its bursts would come {last_s:g} s into a measure of {load.measure:g} s"
            keys = ("burst_size", "burst_every", "measure")
            yield Mistake(path, text, reads=(path, *(("load", key) for key in keys)))


def at_least(path: KeyPath, value: float, least: int) -> Iterator[Mistake]:
    """A mistake if `value` is below `least`."""
    if value < least:
        yield Mistake(path, f"should be at least {least}, not {value:g}")


def positive(path: KeyPath, value: float) -> Iterator[Mistake]:
    """A mistake if `value` is not above 0."""
    if value <= 0:
        yield Mistake(path, f"should be above 0, not {value:g}")


def share(path: KeyPath, value: float) -> Iterator[Mistake]:
    """A mistake if `value` is not a fraction of one."""
    if not 0 <= value <= 1:
        yield Mistake(path, f"should lie between 0 % and 100 %, not {value:.0%}")
