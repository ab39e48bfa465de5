"""What GitHub shows beside the lines of a limits file: workflow commands, one a broken or undecided limit.

A runner reads them from what a step prints, and shows at most ten of a kind; what is left is summed up in a notice.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.report.rows import plain
from harness.verdict.check import Check, Result
from harness.verdict.judge import LIMITS_FILE, JudgedRun
from harness.verdict.limits import limit_lines

SHOWN_MAX = 10
"""Of each kind in a step; GitHub drops the others without a word."""

Kind = Literal["error", "warning"]
KINDS: dict[Result, Kind] = {"breached": "error", "cut": "error", "unsure": "warning"}


@dataclass(frozen=True, slots=True)
class Annotated:
    """A judged run, and the limits file that it was judged by; None where there is none."""

    judged: JudgedRun
    limits_path: Path | None


def asked_for() -> bool:
    """Whether a runner of GitHub's reads what we print."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def workflow_commands(runs: Sequence[Annotated], workspace: Path) -> list[str]:
    """The lines to print for all runs of one step. `workspace` is the repository's folder, which paths begin at."""
    found = [line for run in runs for line in _of_run(run, workspace)]
    shown, left = Counter[Kind](), Counter[Kind]()
    lines = []
    for kind, line in found:
        (shown if shown[kind] < SHOWN_MAX else left)[kind] += 1
        if not left[kind]:
            lines.append(line)
    if left:
        text = " and ".join(f"{left[kind]} more {kind}s" for kind in ("error", "warning") if left[kind])
        lines.append(f"::notice title=harness::{_message(f'{text}: see the step summary, or report.md')}")
    return lines


def _of_run(run: Annotated, workspace: Path) -> Iterator[tuple[Kind, str]]:
    """One line for each check that did not hold."""
    scenario, copy = run.judged.manifest.scenario, run.judged.run_dir / LIMITS_FILE
    # The copy is what was judged; the file itself may have been edited since.
    lines = limit_lines(copy.read_text(encoding="utf-8-sig")) if run.limits_path and copy.exists() else {}
    for check in run.judged.verdict.checks:
        if check.result in KINDS:
            kind = KINDS[check.result]
            place = _place(check, run.limits_path, lines, workspace)
            properties = ",".join(
                f"{key}={_property(value)}" for key, value in {**place, "title": f"{scenario}: {check.name}"}.items()
            )
            yield kind, f"::{kind} {properties}::{_message(plain(check.sentence))}"


def _place(check: Check, path: Path | None, lines: dict[str, int], workspace: Path) -> dict[str, str]:
    """File and line of a limit; an invariant is written in no file."""
    if path is None or check.name not in lines:
        return {}
    full, root = path.resolve(), workspace.resolve()
    file = full.relative_to(root) if full.is_relative_to(root) else full
    return {"file": file.as_posix(), "line": str(lines[check.name])}


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
