"""`calls.jsonl` of a run: every attempt to call a model, a row of numbers each, by level.

Workflows and steps are told apart by 64-bit hashes, as in `tally.py`; a step's is its workflow's ^ its name's, so that
a declared step of many workflows is found without a name of any.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection
from pathlib import Path
from struct import Struct

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.observation.journal import Damage, read_lines
from harness.observation.llm import LlmCall

NOT_KNOWN = math.nan
TIMES = ("at", "ended", "ended_planned", "ttft", "retry_after", "queued", "cost")
NUMBERS = ("workflow", "step", "agent", "attempt", "status", "input", "output", "unread", "flags")
CALL_ROW = np.dtype([*((name, "f8") for name in TIMES), *((name, "i8") for name in NUMBERS)])
STREAM, ANSWERED = 1, 2
ATTRIBUTED, NAMED = 4, 8  # its workflow is known; and its step
_pack = Struct(f"{len(TIMES)}d{len(NUMBERS)}q").pack

Calls = NDArray[np.void]
"""Attempts as a structured array of CALL_ROW. `at` is s from t0, other times are s from it; NaN: there was none."""


class LevelCalls:
    """The attempts of one level."""

    __slots__ = ("_agents", "_packed", "faults")

    def __init__(self) -> None:
        self._packed = bytearray()
        self.faults: Counter[str] = Counter()  # calls by the kind that was injected into them
        self._agents: dict[str, int] = {}

    def add(self, call: LlmCall) -> None:
        """Take in one attempt."""
        if call.fault:
            self.faults[call.fault] += 1
        workflow = hash(call.workflow)
        flags = STREAM if call.stream else 0
        if call.complete and call.status == 200:
            flags |= ANSWERED
        if call.workflow:
            flags |= ATTRIBUTED | NAMED if call.step else ATTRIBUTED
        self._packed += _pack(
            call.at,
            call.ended_s,
            _known(call.ended_planned_s),
            _known(call.ttft_s),
            _known(call.retry_after_s),
            call.queued_s,
            _known(call.cost_usd),
            workflow,
            workflow ^ hash(call.step),
            self._agents.setdefault(call.agent, len(self._agents)),
            call.attempt,
            call.status,
            call.input_tokens,
            call.output_tokens,
            call.unread_tokens,
            flags,
        )

    @property
    def rows(self) -> Calls:
        """All of them, in the order of the file, which is that of their ends."""
        return np.frombuffer(self._packed, dtype=CALL_ROW)

    @property
    def agents(self) -> dict[str, int]:
        """The agents that the prompts named -> their number in the rows."""
        return {name: number for name, number in self._agents.items() if name}

    def __len__(self) -> int:
        return len(self._packed) // CALL_ROW.itemsize


def _known(time_s: float | None) -> float:
    return NOT_KNOWN if time_s is None else time_s


def having(rows: Calls, flags: int) -> NDArray[np.bool_]:
    """Which attempts carry all of these flags."""
    chosen: NDArray[np.bool_] = (rows["flags"] & flags) == flags
    return chosen


def read_calls(path: Path, damage: Damage) -> dict[str, LevelCalls] | None:
    """The attempts by level; None when there is no file. A line whose numbers cannot be times or counts is damaged."""
    if not path.exists():
        return None
    found: defaultdict[str, LevelCalls] = defaultdict(LevelCalls)
    for call in read_lines(path, msgspec.json.Decoder(LlmCall), damage):
        counted = (call.ended_s, call.attempt, call.input_tokens, call.output_tokens, call.cost_usd or 0.0)
        if min(counted) < 0:
            damage.unreadable += 1
        else:
            found[call.level].add(call)
    return dict(found)


class _Asked(msgspec.Struct, gc=False):
    """The part of a line that names its step."""

    workflow: str = ""
    step: str = ""


def step_names(path: Path, steps: Collection[int]) -> list[str]:
    """The workflow and step behind these hashes. It costs a second pass, for what should never be needed."""
    if not steps:
        return []
    seen = read_lines(path, msgspec.json.Decoder(_Asked), Damage())
    return list(
        dict.fromkeys(f"{ask.workflow} {ask.step}" for ask in seen if hash(ask.workflow) ^ hash(ask.step) in steps)
    )
