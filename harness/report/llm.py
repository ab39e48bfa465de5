"""What reports say of calls to models: a row a level, and a remark where the SDKs are most of what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.report.rows import cell
from harness.scenario.units import render
from harness.statistics.level import LevelSummary
from harness.statistics.metrics import Metric

LLM_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "calls": ("call_rate",),
    "TTFT p50/p95": ("ttft_p50", "ttft_p95"),
    "call p50/p95": ("llm_p50", "llm_p95"),
    "amplification": ("amplification",),
    "429": ("rate_limited",),
    "errors": ("llm_errors",),
    "tokens out": ("output_tokens",),
    "cost": ("cost",),
    "a success": ("cost_per_success",),
    "overhead p50/p95": ("overhead_p50", "overhead_p95"),
    "SDK CPU": ("sdk_cpu",),
    "of its process": ("sdk_share",),
}
"""Heading -> the metrics of its cell; a column in which no level has a number is left out."""

AGENT_LLM_COLUMNS = (
    "calls", "ttft_p50", "ttft_p95", "tpot_p50", "llm_p50", "llm_p95", "llm_p99", "amplification", "rate_limited",
    "llm_errors", "input_tokens", "output_tokens", "cost", "overhead_p50", "overhead_p95",
)  # fmt: skip

SDK_SHARE_TOLD = 0.3
"""From this share of its process's CPU on, the CPU is no measure of orchestration."""


def has_calls(level: LevelSummary) -> bool:
    """Whether the level asked any model."""
    return "attempts" in level.metrics


NARROW: Mapping[str, str] = {
    "calls": "calls", "TTFT p50/p95": "TTFT p50/p95", "call p50/p95": "call p50/p95", "amplification": "tries",
    "429": "429", "a success": "cost a success", "overhead p50/p95": "overhead p50/p95", "of its process": "SDK CPU",
}  # fmt: skip
"""The columns that a terminal has room for, and their headings there."""


def llm_table(levels: Sequence[LevelSummary], *, narrow: bool = False) -> tuple[list[str], list[list[str]]]:
    """Headings and rows, a level each; no rows where no model was asked."""
    asking = [level for level in levels if has_calls(level)]
    headings = NARROW if narrow else {heading: heading for heading in LLM_COLUMNS}
    columns = {
        headings[heading]: names
        for heading, names in LLM_COLUMNS.items()
        if heading in headings and any(level.metric(name).value is not None for level in asking for name in names)
    }
    rows = [[level.level, *(_cell(level, names) for names in columns.values())] for level in asking]
    return ["LLM", *columns], rows


def _cell(level: LevelSummary, names: Sequence[str]) -> str:
    if names == ("output_tokens",):  # a total says nothing beside levels of other lengths
        tokens = level.metric("output_tokens").value
        return "-" if tokens is None or not level.measure_s else render(tokens / level.measure_s, "rate")
    return " / ".join(cell(level.metric(name), name) for name in names)


def agents_asking(level: LevelSummary) -> dict[str, dict[str, Metric]]:
    """The agents that asked a model, with their metrics."""
    return {name: metrics for name, metrics in level.agents.items() if "calls" in metrics}


def llm_remarks(levels: Sequence[LevelSummary]) -> Iterator[str]:
    """A line for each level whose CPU is largely the SDKs'."""
    for level in levels:
        share = level.metric("sdk_share").value
        if share is not None and share >= SDK_SHARE_TOLD:
            yield f"level {level.level}: the SDKs took {share:.0%} of their process's CPU: that is not orchestration"
        if has_calls(level) and level.metric("cost").value is None:
            yield f"level {level.level}: what its calls cost is not known: a model has no price; give it with --prices"
