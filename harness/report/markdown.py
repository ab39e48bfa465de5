"""The report in Markdown: `report.md` of a run, and the step summary of a CI job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from harness.observation.manifest import Manifest
from harness.report.gate import (
    CHANGE_HEADINGS,
    PART_HEADINGS,
    change_rows,
    lines_of,
    part_rows,
    picture_name,
    text_picture,
)
from harness.report.llm import AGENT_LLM_COLUMNS, agents_asking, has_calls, llm_remarks, llm_table
from harness.report.rows import (
    BESIDE_COLUMNS,
    BREAKER_COLUMNS,
    FAULT_COLUMNS,
    LEVEL_COLUMNS,
    RECOVERY_COLUMNS,
    ROWS_MAX,
    TOO_FEW_NOTE,
    any_too_few,
    beside_rows,
    bounds,
    breaker_cells,
    cell,
    counted,
    fault_cells,
    level_rows,
    markdown_table,
    markdown_text,
    paired_lines,
    recovery_cells,
    used_services,
)
from harness.report.sparkline import SPARKLINE_NOTE, sparkline
from harness.scenario.units import render
from harness.statistics.level import LevelSummary
from harness.statistics.metrics import FAULT_METRICS, LLM_METRICS, METRICS, SERVICE_METRICS, STATE_METRICS, Metric
from harness.verdict.judge import JudgedRun
from harness.verdict.verdict import Verdict

BYTES_MAX = 900_000
"""A CI step summary of more than 1 MiB is refused as a whole."""

BOUNDS = "95 % bounds, each one-sided"
KIND_COLUMNS = ("arrivals", "success", "error", "p50", "p95", "p99")
AGENT_COLUMNS = ("steps", "p50", "p95", "p99", "wait_p50", "wait_p95", "wait_p99", "pool_use", "failed", "retries")


class MarkdownReporter:
    """Writes everything a person may want to look up, the verdict first."""

    def write(self, judged: JudgedRun, out: TextIO) -> None:
        """Write the report, cut with a remark where it would be too long for a step summary."""
        out.write(_capped("\n".join(_lines(judged)) + "\n"))


def _capped(text: str) -> str:
    encoded = text.encode()
    if len(encoded) <= BYTES_MAX:
        return text
    kept = encoded[:BYTES_MAX].decode(errors="ignore")
    return kept[: kept.rfind("\n") + 1] + "\nThe report was cut here; the rest is in the run's summary.json.\n"


def _lines(judged: JudgedRun) -> Iterator[str]:
    manifest, summary, verdict = judged.manifest, judged.summary, judged.verdict
    yield f"Seed {manifest.seed} · target `{manifest.target}` · run `{manifest.run_id}`"
    yield from ("", f"## {manifest.scenario}: {verdict.word}", "")
    yield from (f"- {markdown_text(sentence)}" for sentence in verdict.sentences[:ROWS_MAX])
    yield ""
    yield from _levels(summary.levels, verdict)
    yield from _models(summary.levels)
    yield from _gate(verdict)
    yield from markdown_table(BESIDE_COLUMNS, beside_rows(verdict))
    yield from (line for text in paired_lines(verdict) for line in (text, ""))
    yield from _checks(verdict)
    for level in summary.levels:
        yield from _level(level)
    yield from _services(manifest)
    yield from ("### Conditions", "")
    machine = manifest.machine
    yield f"- repeat: `{manifest.command}`"
    memory = render(machine.memory_bytes, "size")
    yield f"- started {manifest.started_at} on {markdown_text(machine.cpu)}, {machine.cores} cores, {memory}"
    yield f"- {markdown_text(machine.system)}, Python {machine.python}"
    yield "- " + ", ".join(f"{name} {version}" for name, version in machine.versions.items())


def _levels(levels: Sequence[LevelSummary], verdict: Verdict) -> Iterator[str]:
    rows = []
    for level in levels:
        for row in level_rows(level, verdict):
            cells = [_emphasised(row.cells.get(metric, ""), strong=metric in row.broken) for metric in LEVEL_COLUMNS]
            rows.append([row.head, row.n, *cells])
    yield from markdown_table(["level", "n", *LEVEL_COLUMNS.values()], rows)
    if any(any_too_few(level) for level in levels):
        yield from ("\\" + TOO_FEW_NOTE, "")


def _emphasised(text: str, *, strong: bool) -> str:
    """The mark for too few samples is an asterisk of its own."""
    escaped = text.replace("*", "\\*")
    return f"**{escaped}**" if strong else escaped


def _models(levels: Sequence[LevelSummary]) -> Iterator[str]:
    """Calls to models, if there were any."""
    headings, rows = llm_table(levels)
    yield from markdown_table(headings, [[text.replace("*", "\\*") for text in row] for row in rows])
    yield from (line for remark in llm_remarks(levels) for line in (markdown_text(remark), ""))


def _gate(verdict: Verdict) -> Iterator[str]:
    """What changed against the baselines, if the run was compared with any."""
    if not verdict.gate:
        return
    yield from ("### Against the baseline", "")
    yield from markdown_table(CHANGE_HEADINGS, change_rows(verdict.gate))
    for gate in verdict.gate:
        yield from (f"- {markdown_text(text)}" for text in lines_of(gate))
        yield ""
        yield from markdown_table(PART_HEADINGS, part_rows(gate))
        if picture := text_picture(gate):
            yield from ("```", *picture, "```", "", f"![each pair, and each quantile]({picture_name(gate)})", "")


def _checks(verdict: Verdict) -> Iterator[str]:
    yield from ("### Limits and invariants", "")
    rows = [
        [
            f"`{check.name}`",
            cell(check.measured, check.metric),
            bounds(check.measured, check.metric),
            check.limit,
            check.result if check.result == "held" else f"**{check.result}**",
        ]
        for check in verdict.checks
    ]
    yield from markdown_table(["name", "measured", BOUNDS, "limit", "result"], rows)


def _level(level: LevelSummary) -> Iterator[str]:
    length = "never reached" if level.measure_s is None else render(level.measure_s, "duration")
    yield from (f"### Level {level.level}", "")
    yield f"{level.status.replace('_', ' ')}; measured for {length}, {counted(level)} workflows ended."
    yield ""
    found = {name: level.metric(name) for name in METRICS}
    rows = [
        [name, cell(metric, name), bounds(metric, name), str(metric.n)]
        for name, metric in found.items()
        if metric.value is not None
    ]
    yield from markdown_table(["metric", "value", BOUNDS, "n"], rows)
    absent = {*STATE_METRICS, *FAULT_METRICS, *(() if has_calls(level) else LLM_METRICS)}
    missing = [name for name, metric in found.items() if metric.value is None and name not in absent]
    if missing:
        yield from (f"Not measured: {', '.join(missing)}.", "")
    yield from _by_name("workflows", level.kinds, KIND_COLUMNS)
    yield from _by_name("agent", level.agents, AGENT_COLUMNS, "agent")
    yield from _by_name("agent's model", agents_asking(level), AGENT_LLM_COLUMNS, "agent")
    yield from _by_name("service", level.services, tuple(SERVICE_METRICS), "service")
    yield from _series(level)
    yield from markdown_table(FAULT_COLUMNS, [fault_cells(fault) for fault in level.faults])
    yield from markdown_table(BREAKER_COLUMNS, [breaker_cells(use) for use in level.breakers])
    yield from markdown_table(RECOVERY_COLUMNS, [recovery_cells(recovery) for recovery in level.crashes])
    yield from markdown_table(["error class", "count"], [[name, str(count)] for name, count in level.errors.items()])
    yield from markdown_table(["degraded", "count"], [[name, str(count)] for name, count in level.degraded.items()])
    broken = [[f"`{metric}`", name] for metric, named in level.offenders.items() for name in named]
    yield from markdown_table(["broken promise", "by"], broken)
    yield from (_generator(level), "")
    yield from _load_processes(level)


def _series(level: LevelSummary) -> Iterator[str]:
    """How the services answered as the level went on, a character a stretch."""
    for service, series in level.service_series.items():
        yield f"{service}, worst answer in each {render(series.step_s, 'duration')}: `{sparkline(series.worst_s)}`"
        yield ""
    if level.service_series:
        yield from (SPARKLINE_NOTE, "")


def _services(manifest: Manifest) -> Iterator[str]:
    """Which servers were used, and why not others."""
    if not used_services(manifest):
        return
    yield from ("### Services", "", f"State was kept in: {manifest.state}.", "")
    rows = [
        [used.service, used.provider, used.version, used.address, used.detail, "; ".join(used.passed_over)]
        for used in manifest.services
    ]
    yield from markdown_table(["service", "from", "version", "address", "detail", "passed over"], rows)


def _generator(level: LevelSummary) -> str:
    generator = level.generator
    if generator.cpu is None or generator.hub_lag_max_s is None:
        return "The load process was not watched."
    sound = "; ".join(markdown_text(reason) for reason in level.contaminated) or "sound"
    cpu, lag = render(generator.cpu, "share"), render(generator.hub_lag_max_s, "duration")
    if not generator.workers:
        return f"Load process: {cpu} of a core, longest stall {lag}: {sound}."
    return f"{len(generator.workers)} load processes, the busiest at {cpu} of a core, longest stall {lag}: {sound}."


def _load_processes(level: LevelSummary) -> Iterator[str]:
    """Of several, a row each."""
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
    yield from markdown_table(["load process", "CPU", "longest stall", "latest start", "clock ahead", "lost"], rows)


def _by_name(
    what: str, table: Mapping[str, Mapping[str, Metric]], columns: Sequence[str], part: str = ""
) -> Iterator[str]:
    """`part` is what a limit's name begins with, like `agent`; empty for metrics of the level itself."""
    rows = [
        [name, *(cell(metrics.get(column), f"{part}.{name}.{column}" if part else column) for column in columns)]
        for name, metrics in table.items()
    ]
    yield from markdown_table([what, *columns], rows)
