"""The reports of a duet that was run for its own sake: `duet.json` stays what it was, these are beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import msgspec

from harness.observation.json_file import replace_json
from harness.report.gate import CHANGE_HEADINGS, PART_HEADINGS, change_rows, part_rows, svg_picture, text_picture
from harness.report.rows import aligned, markdown_table, plain
from harness.verdict.duet import JudgedDuet
from harness.verdict.explanation import build_name

PICTURE = "duet.svg"


def print_duet(judged: JudgedDuet, out: TextIO, *, as_json: bool) -> None:
    """Print it: one JSON document, or what a person reads."""
    if as_json:
        out.write(msgspec.json.format(msgspec.json.encode(_document(judged)), indent=2).decode() + "\n")
        return
    for line in _lines(judged):
        out.write(line + "\n")


def write_duet(judged: JudgedDuet, folder: Path) -> None:
    """Write `verdict.json`, `report.md` and the picture into the duet's folder."""
    replace_json(folder / "verdict.json", _document(judged))
    image = svg_picture(judged.gate, judged.duet.scenario)
    if image is not None:
        (folder / PICTURE).write_text(image, encoding="utf-8")
    (folder / "report.md").write_text(
        "\n".join(_markdown(judged, has_picture=image is not None)) + "\n", encoding="utf-8"
    )


def _document(judged: JudgedDuet) -> dict[str, object]:
    """The verdict under the name that run reports have it under."""
    verdict = {"word": judged.word, "exit_code": judged.exit_code, "sentences": judged.sentences}
    return {"schema_version": judged.schema_version, "verdict": verdict, "gate": judged.gate, "duet": judged.duet}


def _lines(judged: JudgedDuet) -> Iterator[str]:
    duet, gate = judged.duet, judged.gate
    sides = " and ".join(f"{side.named} ({build_name(side.build)})" for side in (duet.a, duet.b))
    yield f"seed {duet.seed}, scenario {duet.scenario} at {duet.level}: {sides}"
    yield ""
    yield from aligned([list(CHANGE_HEADINGS), *change_rows([gate])])
    if rows := part_rows(gate):
        yield ""
        yield from aligned([list(PART_HEADINGS), *rows])
    if picture := text_picture(gate):
        yield from ("", *picture)
    yield from ("", judged.word)
    yield from (f"  {plain(sentence)}" for sentence in judged.sentences)
    yield f"repeat: {duet.command}"


def _markdown(judged: JudgedDuet, *, has_picture: bool) -> Iterator[str]:
    duet = judged.duet
    yield from (f"## {duet.scenario} at {duet.level}: {judged.word}", "")
    yield from (f"- {plain(sentence)}" for sentence in judged.sentences)
    yield from ("", f"Seed {duet.seed}; repeat: `{duet.command}`", "")
    for headings, rows in ((CHANGE_HEADINGS, change_rows([judged.gate])), (PART_HEADINGS, part_rows(judged.gate))):
        yield from markdown_table(headings, rows)
    if picture := text_picture(judged.gate):
        yield from ("```", *picture, "```", "")
    if has_picture:
        yield f"![each pair, and each quantile]({PICTURE})"
