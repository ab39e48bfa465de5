"""Who carries a change: agents, waits for them, the orchestrator itself, its models and its services."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from harness.statistics.reading import Reading
from harness.statistics.students_t import mean_and_error, t_quantile

PARTS_MAX = 8
NOISE_SHARE = 0.005
"""A part that changed by less of a workflow's time than this is not named."""


class Attribution(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One part of a workflow's time: mean seconds a workflow on both sides, and the change with its interval."""

    part: str  # agent data | waiting for data | the orchestrator | models | redis
    before_s: float
    after_s: float
    lower_s: float | None = None  # of the change, one-sided at 95 %; None: too few pairs
    upper_s: float | None = None

    @property
    def change_s(self) -> float:
        return self.after_s - self.before_s

    @property
    def is_certain(self) -> bool:
        """Whether the change is there beyond the noise between pairs."""
        return self.lower_s is not None and self.upper_s is not None and (self.lower_s > 0 or self.upper_s < 0)


def attribution(pairs: Sequence[tuple[Reading, Reading]]) -> tuple[Attribution, ...]:
    """The parts whose time changed, largest change first; `pairs` of (baseline, candidate), at least one."""
    parts = {
        name: [(parts_of(a).get(name, 0.0), parts_of(b).get(name, 0.0)) for a, b in pairs] for name in _names(pairs)
    }
    found = [_of_part(name, np.array(times)) for name, times in parts.items()]
    typical = float(np.median([a.quantiles.get("p50", 0.0) for a, _ in pairs])) if pairs else 0.0
    told = [part for part in found if abs(part.change_s) > NOISE_SHARE * typical]
    return tuple(sorted(told, key=lambda part: -abs(part.change_s))[:PARTS_MAX])


def parts_of(reading: Reading) -> dict[str, float]:
    """Part -> seconds a workflow; medians for what is not measured as a mean. Parts may overlap in time."""
    found = {f"agent {name}": agent.busy_s for name, agent in reading.agents.items()}
    found |= {f"waiting for {name}": agent.wait_s for name, agent in reading.agents.items()}
    own = reading.values.get("orchestration_p50")
    models = reading.values.get("llm_p50")
    return found | ({"the orchestrator": own} if own is not None else {}) | ({"models": models} if models else {})


def _names(pairs: Sequence[tuple[Reading, Reading]]) -> list[str]:
    return list(dict.fromkeys(name for pair in pairs for reading in pair for name in parts_of(reading)))


def _of_part(name: str, times: np.ndarray) -> Attribution:
    """`times`: a row (before, after) a pair, in s."""
    before, after = times.mean(axis=0)
    n = len(times)
    if n < 2:
        return Attribution(part=name, before_s=float(before), after_s=float(after))
    mean, error = mean_and_error(times[:, 1] - times[:, 0])
    half = t_quantile(0.95, n - 1) * error
    return Attribution(
        part=name, before_s=float(before), after_s=float(after), lower_s=mean - half, upper_s=mean + half
    )
