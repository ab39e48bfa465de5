"""The gate's part of a report: what changed against the baseline, by how much, who carries it, and the picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.observation.ids import file_stem
from harness.report.dots import duet_text
from harness.report.picture import duet_svg
from harness.scenario.units import render
from harness.statistics.change import Change
from harness.verdict.explanation import TITLES, against, interval, signed, size
from harness.verdict.gate import LevelGate, margin_of
from harness.verdict.judge import JudgedRun

CHANGE_HEADINGS = ("gate", "metric", "change", "interval", "would see", "said by")
PART_HEADINGS = ("time of", "before", "after", "change", "95 % bounds")


def change_rows(gates: Sequence[LevelGate]) -> list[list[str]]:
    """A row for every metric that was compared, under its level."""
    rows = []
    for gate in gates:
        head = f"{gate.level}: {gate.decision.outcome}"
        for change in gate.decision.changes:
            mark = "worse" if change.metric in gate.decision.worse else ""
            mark = "better" if change.metric in gate.decision.better else mark
            mark = "open" if change.metric in gate.decision.undecided else mark
            of = f"{change.n} {'pairs' if change.basis == 'duet' else 'sittings'}"
            rows.append(
                [
                    head,
                    TITLES[change.metric],
                    signed(change),
                    interval(change),
                    size(change.metric, change.mde, is_log=change.is_log),
                    f"{of} {mark}".rstrip(),
                ]
            )
            head = ""
    return rows


def part_rows(gate: LevelGate) -> list[list[str]]:
    """The parts of a workflow's time that changed, the largest change first."""
    rows = []
    for part in gate.decision.parts:
        share = f"{part.change_s / part.before_s:+.1%}" if part.before_s > 0 else "new"
        bounds = ""
        if part.lower_s is not None and part.upper_s is not None:
            bounds = f"{_signed_s(part.lower_s)} to {_signed_s(part.upper_s)}"
        before, after = render(part.before_s, "duration"), render(part.after_s, "duration")
        rows.append([part.part, before, after, f"{_signed_s(part.change_s)} ({share})", bounds])
    return rows


def lines_of(gate: LevelGate) -> Iterator[str]:
    """What a level was compared with, and how to do that again."""
    yield f"level {gate.level} against {against(gate)}"
    for name, (ours, theirs) in gate.unlike.items():
        yield f"level {gate.level}: {name} was {theirs}, and is {ours} now"
    if gate.command:
        yield f"repeat: {gate.command}"


def write_pictures(judged: JudgedRun) -> None:
    """Write `gate-<level>.svg` into the run's folder for every level that was confirmed by a duet."""
    for gate in judged.verdict.gate:
        image = svg_picture(gate, judged.manifest.scenario)
        if image is not None:
            (judged.run_dir / picture_name(gate)).write_text(image, encoding="utf-8")


def picture_name(gate: LevelGate) -> str:
    """The file of a level's picture, in the run's folder."""
    return f"gate-{file_stem(gate.level)}.svg"


def text_picture(gate: LevelGate) -> list[str]:
    """The pairs' dots and the shift function in lines of text; none where there was no duet."""
    shown = _pictured(gate)
    if shown is None:
        return []
    return duet_text(
        TITLES[shown.metric],
        gate.decision.dots[shown.metric],
        shown,
        gate.decision.shifts,
        margin=margin_of(shown.metric, gate.margin),
    )


def svg_picture(gate: LevelGate, scenario: str) -> str | None:
    """The same as an image; None where there was no duet."""
    shown = _pictured(gate)
    if shown is None:
        return None
    title = f"{TITLES[shown.metric]} of {scenario} at {gate.level}"
    margin = margin_of(shown.metric, gate.margin)
    return duet_svg(title, gate.sentence, gate.decision.dots[shown.metric], shown, gate.decision.shifts, margin=margin)


def _pictured(gate: LevelGate) -> Change | None:
    """The change that is worth a picture: the first of those whose pairs were kept."""
    return next((change for metric in gate.decision.dots if (change := gate.decision.change(metric))), None)


def _signed_s(seconds: float) -> str:
    return f"{'-' if seconds < 0 else '+'}{render(abs(seconds), 'duration')}"
