"""What one level of one run gives to a comparison: block quantiles and a few numbers, nothing that needs the journal.

A `Reading` is a pure function of a level's summary and is what a baseline stores. Values are on their natural scale
(s, bytes, shares); what compares them takes logarithms where `COMPARED` says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from harness.statistics.level import LevelSummary

N_GATE = 500
"""Successes from which p50 and p95 are compared (GATE.md, section 3)."""
N_TAIL = 2000
"""Successes from which the tail is."""
DISTURBED_MAX = 0.10
"""Share of the machine that others may take (steal included) in a time block before it is masked."""


@dataclass(frozen=True, slots=True)
class Compared:
    """How a value is compared: worse when `better` is the other way; changes of `log` values are relative."""

    better: Literal["less", "more"]
    scale: Literal["log", "linear"] = "log"
    n_min: int = 1  # successes below which it is not compared
    blocks: bool = False  # a median over time blocks


COMPARED: Mapping[str, Compared] = {
    "p50": Compared("less", n_min=N_GATE, blocks=True),
    "p95": Compared("less", n_min=N_GATE, blocks=True),
    "shape": Compared("less", n_min=N_TAIL, blocks=True),  # p99 / p50: the tail, however fast the whole is
    "throughput": Compared("more", n_min=N_GATE),
    "cpu_per_workflow": Compared("less", n_min=N_GATE),
    "output_tokens": Compared("less", n_min=N_GATE),  # a success
    "cost_per_success": Compared("less", n_min=N_GATE),
}
"""What the gate decides on by a relative margin; success and memory growth have rules of their own."""

ATTRIBUTED = (
    "orchestration_p50",
    "overhead_p50",
    "llm_p50",
    "ttft_p50",
    "loop_lag_p99",
    "rss_peak",
    "sdk_cpu_per_call",
)
"""Level metrics that help to say who carries a change."""


class BlockReading(msgspec.Struct, frozen=True, array_like=True):
    """A time block of a level: workflows that ended, successes, percentiles in s, share of the machine others took."""

    n: int
    ok: int
    p50: float | None
    p95: float | None
    p99: float | None
    disturbed: float | None


class AgentReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One agent: block medians of its steps' times, and mean seconds a workflow in its steps and waiting for it."""

    p50: float | None = None
    p95: float | None = None
    busy_s: float = 0.0
    wait_s: float = 0.0


class Reading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One level of one run."""

    arrivals: int
    ok: int
    measure_s: float
    offered: float | None = None  # arrivals / those that open load was to make; None for closed load
    blocks: tuple[BlockReading, ...]
    quantiles: dict[str, float] = {}  # p10, p20 … p90, p95, p99 of the whole level, s: what a short arm is compared by
    values: dict[str, float] = {}  # of COMPARED and ATTRIBUTED, those that are not made of blocks
    rss_slope: float | None = None  # bytes a minute
    agents: dict[str, AgentReading] = {}
    services: dict[str, float] = {}  # service -> median response, s
    errors: dict[str, int] = {}

    def value(self, name: str) -> float | None:
        """The value of a COMPARED or ATTRIBUTED name on its natural scale; None when it has none."""
        if name in COMPARED and COMPARED[name].blocks:
            return self._of_blocks(name)
        return self.values.get(name)

    def _of_blocks(self, name: str) -> float | None:
        found = [value for block in self.sound_blocks if (value := _block_value(block, name)) is not None]
        return float(np.median(found)) if found else None

    @property
    def sound_blocks(self) -> tuple[BlockReading, ...]:
        """The blocks in which something ended and nobody else took much of the machine."""
        return tuple(block for block in self.blocks if block.n and not is_disturbed(block))

    @property
    def disturbed_share(self) -> float:
        """Masked blocks / all."""
        return sum(is_disturbed(block) for block in self.blocks) / len(self.blocks) if self.blocks else 0.0


def is_disturbed(block: BlockReading) -> bool:
    """Whether others took so much of the machine that the block says little of the target."""
    return block.disturbed is not None and block.disturbed > DISTURBED_MAX


def _block_value(block: BlockReading, name: str) -> float | None:
    if name == "shape":
        return block.p99 / block.p50 if block.p99 is not None and block.p50 else None
    found: float | None = getattr(block, name)
    return found


def worse_by(name: str, baseline: float, candidate: float) -> float:
    """How much worse `candidate` is, as a difference of logarithms for log scales; negative: better."""
    compared = COMPARED[name]
    change = math.log(candidate / baseline) if compared.scale == "log" else candidate - baseline
    return change if compared.better == "less" else -change


def reading_of(level: LevelSummary) -> Reading:
    """What a level's summary gives to a comparison."""
    ok = level.metric("ok").value or 0
    values = {
        name: float(value)
        for name in (*COMPARED, *ATTRIBUTED)
        if name not in ("p50", "p95", "shape", "output_tokens") and (value := level.metric(name).value) is not None
    }
    tokens = level.metric("output_tokens").value
    if tokens and ok:
        values["output_tokens"] = tokens / ok
    return Reading(
        arrivals=int(level.metric("arrivals").value or 0),
        ok=int(ok),
        measure_s=level.measure_s or 0.0,
        offered=level.metric("offered").value,
        blocks=tuple(
            BlockReading(block.n, block.ok, _short(block.p50), _short(block.p95), _short(block.p99), block.disturbed)
            for block in level.blocks
        ),
        quantiles={name: significant(value) for name, value in level.quantiles.items()},
        values={name: significant(value) for name, value in values.items()},
        rss_slope=level.metric("rss_slope").value,
        agents={agent: _agent(level, agent) for agent in level.agents},
        services={
            name: significant(value)
            for name, metrics in level.services.items()
            if (value := metrics["response_p50"].value) is not None
        },
        errors=level.errors,
    )


def _agent(level: LevelSummary, agent: str) -> AgentReading:
    metrics, blocks = level.agents[agent], level.agent_blocks.get(agent, ())
    return AgentReading(
        p50=_median([block.p50 for block in blocks]),
        p95=_median([block.p95 for block in blocks]),
        busy_s=significant(metrics["busy"].value or 0.0),
        wait_s=significant(metrics["waiting"].value or 0.0),
    )


def _median(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return significant(float(np.median(found))) if found else None


def _short(value: float | None) -> float | None:
    return None if value is None else significant(value)


def significant(value: float) -> float:
    """Six significant digits: a millionth is far below any noise, and keeps baselines short and readable."""
    return float(f"{value:.6g}")
