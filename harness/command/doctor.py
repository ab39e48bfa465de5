"""`harness doctor`: how noisy is this machine, and what could be seen here?"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.command.arguments import SCENARIOS
from harness.errors import UsageError
from harness.terminal import EXIT_INTERRUPTED, progress_console, signals

if TYPE_CHECKING:
    from harness.run.plan import Plan

WARMUP_S = 1.0  # at most; a third of what is measured


@click.command()
@click.argument("scenario", required=False)
@click.option("--rounds", type=click.IntRange(3, 100), default=6, show_default=True, help="How often each is run.")
@click.option("--level", metavar="LABEL", help="Of the scenario; its first when left out.")
@click.option("--seconds", type=click.FloatRange(0.5, 3600), default=3.0, show_default=True, help="Measured a round.")
@click.option("--allow-remote", is_flag=True, help="Let the scenario name hosts other than this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print only JSON on standard output.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
def doctor(
    scenario: str | None,
    rounds: int,
    level: str | None,
    seconds: float,
    allow_remote: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """How noisy this machine is, and what change of SCENARIO (or of the frozen reference) could be seen here."""
    import msgspec

    from harness.gate.doctor import Doctor
    from harness.report.doctor import write_diagnosis
    from harness.run.listening import Interrupt

    plan = planned(scenario, level, seconds, allow_remote=allow_remote)
    errors, interrupt = progress_console(quiet=quiet), Interrupt()
    with (
        tempfile.TemporaryDirectory(prefix="harness-doctor-") as reports,
        signals(interrupt, errors),
    ):
        examining = Doctor(
            rounds=rounds,
            seconds=seconds,
            reports=Path(reports),
            interrupt=interrupt,
            tell=lambda line: errors.print(line, highlight=False),
        )
        diagnosis = examining.examine(plan, is_reference=scenario is None)
    if diagnosis is None:
        click.echo("harness: interrupted before there were enough rounds to say anything", err=True)
        raise click.exceptions.Exit(EXIT_INTERRUPTED)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(diagnosis), indent=2).decode())
    else:
        write_diagnosis(diagnosis, sys.stdout)
    if interrupt.asked.is_set():
        raise click.exceptions.Exit(EXIT_INTERRUPTED)


def planned(name: str | None, level: str | None, seconds: float, *, allow_remote: bool) -> Plan:
    """One level of the scenario, or of the reference as it ships, cut to a round's length. Raises UsageError."""
    from dataclasses import replace

    from harness.gate.reference import SCENARIO
    from harness.run.plan import Options, prepare, scenario_files

    if name is None and level is not None:
        raise UsageError(f"--level {level}: is one of a scenario's; name the scenario, too")
    files = [SCENARIO] if name is None else scenario_files([name], SCENARIOS)
    if len(files) != 1:
        raise UsageError(f"{name}: holds {len(files)} scenarios; name one of them")
    options = Options(levels=(level,) if level else (), measure_s=seconds, allow_remote=allow_remote)
    plan = prepare(files[0], options, command="harness doctor")
    load = replace(plan.scenario.load, warmup=min(WARMUP_S, seconds / 3, plan.scenario.load.warmup), until_ok=None)
    return replace(plan, scenario=replace(plan.scenario, load=load), limits_path=None, levels=plan.levels[:1])
