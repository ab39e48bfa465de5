"""What has been accepted, as a table, and how small a change it would let a gate see."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import msgspec
import numpy as np

from harness.report.rows import aligned, plain
from harness.scenario.units import Kind, render
from harness.statistics.change import relative
from harness.statistics.comparison import exclusion
from harness.statistics.reading import COMPARED
from harness.verdict.baseline import Baseline, Entry
from harness.verdict.explanation import TITLES, build_name
from harness.verdict.gate import SEES_AT_MOST
from harness.verdict.sittings import Sittings, history_of, in_window, standing

HEADINGS = ("started", "run", "epoch", "sitting", "build", "n", "p50", "p95", "ok rate", "CPU a workflow", "verdict")
MEASURED: tuple[tuple[str, Kind], ...] = (
    ("p50", "duration"),
    ("p95", "duration"),
    ("throughput", "rate"),
    ("cpu_per_workflow", "duration"),
)


def print_baselines(
    known: Sequence[tuple[Path, Baseline]], out: TextIO, *, margin: float, at: str, as_json: bool
) -> None:
    """Print them, one after the other, or as one JSON list."""
    if as_json:
        documents = [{"path": str(path), "baseline": baseline} for path, baseline in known]
        out.write(msgspec.json.format(msgspec.json.encode(documents), indent=2).decode() + "\n")
        return
    for path, baseline in known:
        for line in _lines(path, baseline, margin, at):
            out.write(line.rstrip() + "\n")


def _lines(path: Path, baseline: Baseline, margin: float, at: str) -> Iterator[str]:
    yield f"{path}"
    for epoch in baseline.epochs:
        yield f"epoch {epoch.number}, {epoch.began_at[:10]}, {plain(epoch.by)}: {plain(epoch.why)}"
    rows = [list(HEADINGS), *([*_cells(entry)] for entry in baseline.entries)]
    yield from aligned(rows)
    sittings = in_window(baseline, at)
    yield f"{standing(sittings)}: {len(sittings)} sittings count now"
    yield from _sight(sittings, margin)
    yield ""


def _cells(entry: Entry) -> Iterator[str]:
    reading = entry.reading
    yield from (entry.started_at[:16].replace("T", " "), entry.run, str(entry.epoch), entry.sitting[-4:])
    yield from (build_name(entry.build), str(reading.ok))
    for name, kind in MEASURED:
        value = reading.value(name)
        yield "-" if value is None else render(value, kind)
    yield entry.verdict


def _sight(sittings: Sittings, margin: float) -> Iterator[str]:
    """The smallest change of each metric that a run would be seen by, and whether that is small enough."""
    if len(sittings) < 2:
        yield "what it would see can be said from two sittings on"
        return
    history = history_of(sittings)
    found = {name: exclusion(name, history[-1][-1], history) for name in (*COMPARED, "success")}
    seen = {name: change for name, change in found.items() if change is not None}
    yield f"centre and spread between sittings: {', '.join(_centres(sittings))}"
    told = ", ".join(
        f"{TITLES[name]} {relative(change.mde) if change.is_log else change.mde:.1%}" for name, change in seen.items()
    )
    yield f"smallest change that would be seen, in four of five runs: {told}"
    p95 = seen.get("p95")
    if p95 is not None and relative(p95.mde) > SEES_AT_MOST * margin:
        yield (
            f"this baseline cannot see {margin:+.0%} at p95: the noise between sittings hides less than "
            f"{relative(p95.mde):.0%}; more sittings, longer runs (--measure), a quieter machine, or the duet"
        )


def _centres(sittings: Sittings) -> Iterator[str]:
    """Of the sittings' own values, before the machine is taken out: geometric means, and standard deviations."""
    for name, kind in MEASURED:
        logs = [
            float(np.mean([math.log(value) for value in values]))
            for sitting in sittings
            if (values := [value for entry in sitting if (value := entry.reading.value(name))])
        ]
        if len(logs) > 1:
            centre = render(math.exp(float(np.mean(logs))), kind)
            yield f"{TITLES[name]} {centre} ± {float(np.std(logs, ddof=1)):.1%}"
