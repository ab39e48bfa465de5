"""The tables of one level that reports of more than a screen show, cell by cell, whatever they are written in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from harness.observation.manifest import Manifest
from harness.report.llm import AGENT_LLM_COLUMNS, agents_asking, has_calls
from harness.report.rows import (
    BREAKER_COLUMNS,
    FAULT_COLUMNS,
    RECOVERY_COLUMNS,
    bounds,
    breaker_cells,
    cell,
    counted,
    fault_cells,
    recovery_cells,
)
from harness.scenario.units import render
from harness.statistics.level import LevelSummary
from harness.statistics.metrics import FAULT_METRICS, LLM_METRICS, METRICS, SERVICE_METRICS, STATE_METRICS, Metric

BOUNDS = "95 % bounds, each one-sided"
KIND_COLUMNS = ("arrivals", "success", "error", "p50", "p95", "p99")
AGENT_COLUMNS = ("steps", "p50", "p95", "p99", "wait_p50", "wait_p95", "wait_p99", "pool_use", "failed", "retries")
WORKER_COLUMNS = ("load process", "CPU", "longest stall", "latest start", "clock ahead", "lost")


class Table(NamedTuple):
    """Headings, and rows of as many cells."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def length_line(level: LevelSummary) -> str:
    """How the level ended, how long it was measured, and how much of it there was."""
    length = "never reached" if level.measure_s is None else render(level.measure_s, "duration")
    return f"{level.status.replace('_', ' ')}; measured for {length}, {counted(level)} workflows ended."


def metrics_table(level: LevelSummary) -> Table:
    """Every metric that has a value."""
    found = {name: level.metric(name) for name in METRICS}
    rows = [
        [name, cell(metric, name), bounds(metric, name), str(metric.n)]
        for name, metric in found.items()
        if metric.value is not None
    ]
    return Table(["metric", "value", BOUNDS, "n"], rows)


def not_measured(level: LevelSummary) -> list[str]:
    """Metrics without a value that the level could have had."""
    absent = {*STATE_METRICS, *FAULT_METRICS, *(() if has_calls(level) else LLM_METRICS)}
    return [name for name in METRICS if level.metric(name).value is None and name not in absent]


def part_tables(level: LevelSummary) -> Iterator[Table]:
    """Kinds of workflows, agents, their models, services."""
    yield _by_name("workflows", level.kinds, KIND_COLUMNS)
    yield _by_name("agent", level.agents, AGENT_COLUMNS, "agent")
    yield _by_name("agent's model", agents_asking(level), AGENT_LLM_COLUMNS, "agent")
    yield _by_name("service", level.services, tuple(SERVICE_METRICS), "service")


def event_tables(level: LevelSummary) -> Iterator[Table]:
    """Faults, breakers, crashes, errors, degradations, and who broke a promise."""
    yield Table(FAULT_COLUMNS, [fault_cells(fault) for fault in level.faults])
    yield Table(BREAKER_COLUMNS, [breaker_cells(use) for use in level.breakers])
    yield Table(RECOVERY_COLUMNS, [recovery_cells(recovery) for recovery in level.crashes])
    yield Table(["error class", "count"], [[name, str(count)] for name, count in level.errors.items()])
    yield Table(["degraded", "count"], [[name, str(count)] for name, count in level.degraded.items()])
    yield Table(["broken promise", "by"], [[metric, name] for metric, them in level.offenders.items() for name in them])


def generator_line(level: LevelSummary) -> str:
    """Whether the load itself was sound."""
    generator = level.generator
    if generator.cpu is None or generator.hub_lag_max_s is None:
        return "The load process was not watched."
    sound = "; ".join(level.contaminated) or "sound"
    cpu, lag = render(generator.cpu, "share"), render(generator.hub_lag_max_s, "duration")
    if not generator.workers:
        return f"Load process: {cpu} of a core, longest stall {lag}: {sound}."
    return f"{len(generator.workers)} load processes, the busiest at {cpu} of a core, longest stall {lag}: {sound}."


def worker_table(level: LevelSummary) -> Table:
    """Of several load processes, a row each."""
    rows = [
        [
            each.name,
            render(each.cpu, "share") if each.cpu is not None else "",
            render(each.hub_lag_max_s, "duration") if each.hub_lag_max_s is not None else "",
            render(each.late_max_s, "duration") if each.late_max_s is not None else "",
            f"{each.clock_offset_s * 1e3:+.3g} ms, within {render(each.clock_error_s, 'duration')}",
            each.lost,
        ]
        for each in level.generator.workers
    ]
    return Table(WORKER_COLUMNS, rows)


def services_table(manifest: Manifest) -> Table:
    """Which servers were used, and why not others."""
    rows = [
        [used.service, used.provider, used.version, used.address, used.detail, "; ".join(used.passed_over)]
        for used in manifest.services
    ]
    return Table(["service", "from", "version", "address", "detail", "passed over"], rows)


def conditions(manifest: Manifest) -> Iterator[str]:
    """When and on what machine, with which versions."""
    machine = manifest.machine
    memory = render(machine.memory_bytes, "size")
    yield f"started {manifest.started_at} on {machine.cpu}, {machine.cores} cores, {memory}"
    yield f"{machine.system}, Python {machine.python}"
    yield ", ".join(f"{name} {version}" for name, version in machine.versions.items())


def _by_name(what: str, table: Mapping[str, Mapping[str, Metric]], columns: Sequence[str], part: str = "") -> Table:
    """`part` is what a limit's name begins with, like `agent`; empty for metrics of the level itself."""
    rows = [
        [name, *(cell(metrics.get(column), f"{part}.{name}.{column}" if part else column) for column in columns)]
        for name, metrics in table.items()
    ]
    return Table([what, *columns], rows)
