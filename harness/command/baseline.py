"""`harness baseline`: the only commands that write accepted runs, and those that look at them."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.command.arguments import EXISTING_FOLDER, FOLDER, Unit
from harness.errors import UsageError
from harness.terminal import shown

if TYPE_CHECKING:
    from harness.verdict.baseline import Baseline

BASELINES = Path("baselines")
_BY = click.option("--by", metavar="NAME", help="Who says so.  [default: git's user.name, or the user]")
_STORE = click.option("--baselines", type=FOLDER, default=BASELINES, show_default=True, help="Folder of baselines.")
_LEVEL = click.option("--level", "levels", multiple=True, metavar="LABEL", help="Only this level; may be repeated.")


@click.group()
def baseline() -> None:
    """Accepted runs, which later ones are compared with. Nothing but these commands writes them."""


@baseline.command()
@click.argument("run_dir", metavar="RUN", type=EXISTING_FOLDER)
@_LEVEL
@_BY
@_STORE
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
def accept(run_dir: Path, levels: tuple[str, ...], by: str | None, baselines: Path, dry_run: bool) -> None:
    """Add a run that passed to its baselines, a level each. All levels are accepted, or none."""
    from harness.gate.accepting import accept as accept_run

    for line in accept_run(run_dir, baselines, levels=levels, by=by or _person(), at=_now(), dry_run=dry_run):
        click.echo(line)


@baseline.command()
@click.argument("scenario")
@_LEVEL
@click.option("--why", required=True, help="What changed, for whoever wonders in a year.")
@_BY
@_STORE
def epoch(scenario: str, levels: tuple[str, ...], why: str, by: str | None, baselines: Path) -> None:
    """From here on SCENARIO is meant to be different: earlier runs are kept, and not compared with."""
    from harness.verdict.baseline_file import begin_epoch

    if not why.strip():
        raise UsageError("--why: say what changed")
    for path, _ in _known(baselines, scenario, levels):
        begun = begin_epoch(path, by=by or _person(), why=why.strip(), at=_now())
        click.echo(f"{shown(path)}: epoch {begun.number} begins, by {begun.by}: {begun.why}")


@baseline.command()
@click.argument("scenario")
@_LEVEL
@_STORE
@click.option("--margin", type=Unit("share"), default="10 %", show_default=True, help="What it should be able to see.")
@click.option("--json", "as_json", is_flag=True, help="Print the baselines as JSON.")
def show(scenario: str, levels: tuple[str, ...], baselines: Path, margin: float, as_json: bool) -> None:
    """What has been accepted, and the smallest change that it would see."""
    from harness.report.baselines import print_baselines

    known = _known(baselines, scenario, levels)
    print_baselines(known, sys.stdout, margin=margin, at=_now(), as_json=as_json)


@baseline.command()
@click.argument("folder", metavar="[DIR]", type=EXISTING_FOLDER, default=BASELINES)
def doctor(folder: Path) -> None:
    """Look at every baseline: edited, cut, mixed, expired, without samples, or out of order."""
    from harness.verdict.baseline_check import findings

    found = list(findings(folder, at=_now()))
    for line in found:
        click.echo(line)
    if not found:
        click.echo(f"{shown(folder)}: every baseline is as it was written")
    raise click.exceptions.Exit(1 if found else 0)


@baseline.command()
@click.argument("scenario")
@click.option("--level", "levels", multiple=True, metavar="LABEL", help="Only this level; may be repeated.")
@click.option("--measure", type=Unit("duration"), metavar="TIME", help='Instead of the scenario\'s, like "60 s".')
@_BY
@click.option("--baselines", type=EXISTING_FOLDER, help="Folder of limits and baselines.")
@click.option("--reports", type=FOLDER, default=Path("reports"), show_default=True)
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
def record(
    scenario: str,
    levels: tuple[str, ...],
    measure: float | None,
    by: str | None,
    baselines: Path | None,
    reports: Path,
    quiet: bool,
) -> None:
    """Run SCENARIO with the frozen reference beside it, and accept the run if nothing speaks against it."""
    from harness.command.run import prepare_all, run_one
    from harness.gate.accepting import accept as accept_run
    from harness.gate.gating import GateOptions
    from harness.run.plan import Options

    options = Options(levels=levels, measure_s=measure, baselines=baselines, reports=reports)
    [plan] = prepare_all([scenario], options)
    code, judged = run_one(plan, GateOptions(duet=False), as_json=False, quiet=quiet)
    if code not in (0, 3):
        click.echo("not accepted: the run broke a promise, see above", err=True)
        raise click.exceptions.Exit(code)
    named = [level.label for level in plan.levels]
    for line in accept_run(judged.run_dir, plan.baselines, levels=named, by=by or _person(), at=_now(), dry_run=False):
        click.echo(line)


def _known(baselines: Path, scenario: str, levels: tuple[str, ...]) -> list[tuple[Path, Baseline]]:
    """The scenario's baselines of every class of machines. Raises UsageError when there is none."""
    from harness.verdict.baseline_file import read_baseline

    found = [(path, read_baseline(path)) for path in sorted((baselines / scenario).glob("*/*.json"))]
    if not found:
        known = sorted({path.parent.parent.name for path in baselines.glob("*/*/*.json")})
        others = f"; there are some of {', '.join(known)}" if known else ""
        raise UsageError(
            f"{baselines / scenario}: has no baseline{others}; `harness baseline record {scenario}` begins one"
        )
    labels = {each.level for _, each in found}
    if missing := [label for label in levels if label not in labels]:
        raise UsageError(
            [f"--level {label}: {scenario} has baselines of {', '.join(sorted(labels))}" for label in missing]
        )
    return [(path, each) for path, each in found if not levels or each.level in levels]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _person() -> str:
    """Who is at the keyboard, as git knows them."""
    try:
        named = subprocess.run(
            ["git", "config", "user.name"], capture_output=True, text=True, check=False
        ).stdout.strip()
    except OSError:
        named = ""
    try:
        return named or os.environ.get("USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        raise UsageError("--by: neither git nor this machine knows who you are; say it") from None
