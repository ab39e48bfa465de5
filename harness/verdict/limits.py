"""Limits as a person writes them: `baselines/<scenario>.toml`, read and checked before anything starts.

[limits."10"]              the floor, judged for every target
success = ">= 80 %"
p95     = "< 5 s"
[ours."10"]                tighter, judged only for the embedded orchestrator
"agent.data.pool_use" = ">= 90 %"
"""

from __future__ import annotations

import operator
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.errors import unknown_name
from harness.scenario.lines import KeyLines
from harness.scenario.loading import read_toml, report_mistakes
from harness.scenario.mistakes import KeyPath, Mistake
from harness.scenario.units import EXAMPLES, parse, render
from harness.statistics.metrics import METRICS, PARTS, SERVICES, MetricType, metric_type, split_part

Operator = Literal["<", "<=", ">", ">=", "=="]
Section = Literal["limits", "ours"]

OPERATORS: Mapping[Operator, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq,
}  # fmt: skip
SECTIONS: tuple[Section, ...] = ("limits", "ours")
LATENCIES = ("p50", "p95", "p99", "service_p50", "service_p95", "service_p99")
"""What a workflow that is still unfinished when the drain ends would have changed."""

CORES = ("cpu", "sdk_cpu", "llm_cpu")
"""Shares of one core, of which there are several."""

LIMIT = re.compile(r"\s*(<=|>=|==|<|>)\s*(.*?)\s*\Z")


@dataclass(frozen=True, slots=True)
class Limit:
    """A number to hold. `name` is stable, so that CI can demand that this very limit fails."""

    section: Section
    level: str
    metric: str
    operator: Operator
    bound: float  # in the metric's unit
    text: str  # as written

    @property
    def name(self) -> str:
        return f'{self.section}."{self.level}".{self.metric}'

    def holds(self, value: float) -> bool:
        """Whether `value` is within the limit."""
        return OPERATORS[self.operator](value, self.bound)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that a run is judged by; the others of the file were checked all the same."""

    limits: tuple[Limit, ...] = ()

    def of(self, level: str) -> tuple[Limit, ...]:
        """The limits of one level, in the order of the file."""
        return tuple(limit for limit in self.limits if limit.level == level)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What of the scenario a limits file must agree with. Without declared agents their names cannot be checked."""

    levels: Sequence[str]
    agents: Sequence[str]
    drain_s: float

    def names(self, part: str) -> Sequence[str]:
        """The agents or services there are; empty when any name is taken."""
        return self.agents if part == "agent" else SERVICES


def load_limits(path: Path, *, levels: Sequence[str], agents: Sequence[str], drain_s: float, target: str) -> Limits:
    """The limits of the file at `path` that apply to `target`.

    `levels` and `agents` are the scenario's (no agents: any name is taken), `drain_s` its drain. Raises UsageError
    with every mistake, each with its line and key path.
    """
    text, document = read_toml(path)
    known = _Known(levels=levels, agents=agents, drain_s=drain_s)
    limits: dict[KeyPath, Limit] = {}
    mistakes = list(_read(document, known, limits))
    mistakes += _contradictions(limits)
    mistakes += _levels_without_limits(document, known)
    report_mistakes(path, text, mistakes)
    return Limits(tuple(limit for limit in limits.values() if limit.section == "limits" or target == "embedded"))


def _read(document: Mapping[str, Any], known: _Known, limits: dict[KeyPath, Limit]) -> Iterator[Mistake]:
    """Put every readable limit into `limits`, by its place; yield what is wrong with the others."""
    for section, by_level in document.items():
        if section not in SECTIONS:
            yield Mistake((section,), unknown_name("section", section, SECTIONS))
            continue
        if not isinstance(by_level, Mapping):
            yield Mistake((section,), f'must hold a table a level, like [{section}."{known.levels[0]}"]')
            continue
        for level, written in by_level.items():
            here: KeyPath = (section, level)
            if level not in known.levels:
                yield Mistake(here, unknown_name("level", level, known.levels))
            if not isinstance(written, Mapping):
                yield Mistake(here, 'must be a table of limits, like success = ">= 80 %"')
                continue
            for place, metric, value in _flat(here, written):
                limit = _limit(section, level, metric, value, known)
                if not isinstance(limit, Limit):
                    yield Mistake(place, limit)
                elif level in known.levels:
                    limits[place] = limit


def limit_lines(text: str) -> dict[str, int]:
    """Name of a limit -> the line of `text`, a limits file that was read before, which says it."""
    lines = KeyLines(text)
    found: dict[str, int] = {}
    for section, by_level in tomllib.loads(text).items():
        for level, written in by_level.items():
            for place, metric, _ in _flat((section, level), written):
                if (line := lines.line(place)) is not None:
                    found[f'{section}."{level}".{metric}'] = line
    return found


def _flat(here: KeyPath, table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[KeyPath, str, Any]]:
    """Place, metric and value of each entry: `agent.data.p95` is the same metric quoted or as nested tables."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat((*here, key), value, f"{prefix}{key}.")
        else:
            yield (*here, key), f"{prefix}{key}", value


def _limit(section: Section, level: str, metric: str, value: object, known: _Known) -> Limit | str:
    """The limit, or what is wrong with it."""
    kind = metric_type(metric)
    if kind is None:
        return _unknown_metric(metric, known)
    split = split_part(metric)
    names = known.names(split.part) if split else ()
    if split and names and split.name not in names:
        return unknown_name(split.part, split.name, names)
    example = f'"< {EXAMPLES[kind.unit].split(" or ")[0][1:]}'
    match = LIMIT.match(value) if isinstance(value, str) else None
    if match is None:
        return f"{value!r} is not a limit: write an operator ({' '.join(OPERATORS)}) and a {kind.unit}, like {example}"
    try:
        bound = parse(match[2], kind.unit)
    except ValueError as error:
        return str(error)
    limit = Limit(section, level, metric, _operator(match[1]), bound, f"{match[1]} {match[2]}")
    return _never(limit, kind) or _beyond_drain(limit, known) or limit


def _operator(text: str) -> Operator:
    return next(known for known in OPERATORS if known == text)


def _unknown_metric(metric: str, known: _Known) -> str:
    split = split_part(metric)
    if split is None:
        return unknown_name("metric", metric, METRICS)
    owner = split.name or next(iter(known.names(split.part)), "NAME")
    return unknown_name("metric", metric, [f"{split.part}.{owner}.{name}" for name in PARTS[split.part]])


def _never(limit: Limit, kind: MetricType) -> str | None:
    """A limit that no measurement can hold or none can break says nothing."""
    if kind.unit == "share" and limit.metric not in CORES and limit.bound > 1:
        return f"{limit.text}: this share is never above 100 %"
    if limit.operator == "<" and limit.bound == 0:
        return f"{limit.text}: nothing measured is below zero; write == 0 or <= 0"
    return None


def _beyond_drain(limit: Limit, known: _Known) -> str | None:
    """A latency limit longer than the drain could be broken by workflows that nobody waited for."""
    if limit.metric in LATENCIES and limit.operator in ("<", "<=", "==") and limit.bound > known.drain_s:
        drain = render(known.drain_s, "duration")
        return f"{limit.text}: the scenario's load.drain is only {drain}; make it at least as long as this limit"
    return None


def _contradictions(limits: Mapping[KeyPath, Limit]) -> Iterator[Mistake]:
    """Limits on the same metric of the same level, of either section, that no value holds together."""
    seen: dict[tuple[str, str], list[Limit]] = {}
    for place, limit in limits.items():
        others = seen.setdefault((limit.level, limit.metric), [])
        for other in others:
            if other.section == limit.section:
                yield Mistake(place, f"given twice: {other.text} and {limit.text}")
            elif not _compatible(other, limit):
                yield Mistake(place, f"{limit.text} contradicts {other.text} of {other.name}")
        others.append(limit)


def _compatible(one: Limit, other: Limit) -> bool:
    """Whether some value holds both: their bounds, or any value between or beside them, is enough to try."""
    low, high = sorted((one.bound, other.bound))
    tried = (low, high, (low + high) / 2, low - 1, high + 1)
    return any(one.holds(value) and other.holds(value) for value in tried)


def _levels_without_limits(document: Mapping[str, Any], known: _Known) -> Iterator[Mistake]:
    """A level that the file forgot would pass unjudged."""
    tables = [document.get(section, {}) for section in SECTIONS]
    for level in known.levels:
        if not any(isinstance(table, Mapping) and table.get(level) for table in tables):
            yield Mistake(("limits", level), f'level {level} of the scenario has no limits; add [limits."{level}"]')
