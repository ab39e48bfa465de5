"""`harness capacity`: how much does this orchestrator hold within an objective, and what gives out first?"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.command.arguments import FOLDER, SCENARIOS, STORES, Unit
from harness.command.crew import CrewWords, crew_options
from harness.errors import UsageError
from harness.terminal import EXIT_INTERRUPTED, progress_console, shown, signals

if TYPE_CHECKING:
    from harness.run.plan import Options, Plan
    from harness.verdict.capacity import Assessment

EXIT_UNKNOWN = 3


@click.command()
@click.argument("scenario")
@click.option("--slo", required=True, metavar="OBJECTIVE", help='Like "p95 < 5 s, success >= 99 %".')
@click.option("--most", type=click.IntRange(1, 100_000), default=200, show_default=True, help="The largest load tried.")
@click.option(
    "--sittings", type=click.IntRange(1, 20), default=3, show_default=True, help="How often each is measured."
)
@click.option("--measure", type=Unit("duration"), metavar="TIME", help='Of each level, like "10 s".')
@click.option("--state", type=STORES, help="Where workflows keep their state, instead of the scenario's own choice.")
@click.option(
    "--what-if", "what_if", multiple=True, metavar="SIZE", help='Another size, like "agent.data.pool = 24"; repeatable.'
)
@crew_options
@click.option("--reports", type=FOLDER, default=Path("reports"), show_default=True)
@click.option("--allow-remote", is_flag=True, help="Let the scenario name hosts other than this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print only JSON on standard output.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
def capacity(
    scenario: str,
    slo: str,
    most: int,
    sittings: int,
    measure: float | None,
    state: str | None,
    what_if: tuple[str, ...],
    crew: CrewWords,
    reports: Path,
    allow_remote: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """How much load SCENARIO's orchestrator holds within an objective: a sweep over loads, each against a fresh one.

    Loads are workflows at once, or arrivals a second where the scenario's load is open. Nothing is told beyond the
    largest load that was measured.
    """
    from harness.run.listening import Interrupt
    from harness.run.plan import Options
    from harness.sweep.sweeping import Sweep
    from harness.sweep.what_if import read_changes
    from harness.verdict.objective import read_objective

    objective = read_objective(slo)
    options = Options(measure_s=measure, state=state, reports=reports, crew=crew.crew(), allow_remote=allow_remote)
    sizes = [f"--what-if={size}" for size in what_if]
    plan = _planned(scenario, options, f"--slo={slo}", f"--most={most}", f"--sittings={sittings}", *sizes)
    errors, interrupt = progress_console(quiet=quiet), Interrupt()
    with signals(interrupt, errors):
        sweep = Sweep(
            plan=plan,
            objective=objective,
            text=slo,
            most=most,
            sittings=sittings,
            interrupt=interrupt,
            tell=lambda line: errors.print(line, highlight=False),
            changes=read_changes(what_if, plan.scenario),
        )
        folder, found = sweep.run()
    _write_page(folder, found, plan)
    _print(folder, found, as_json=as_json)
    if interrupt.asked.is_set():
        raise click.exceptions.Exit(EXIT_INTERRUPTED)
    if found.capacity is None or found.is_ours:
        raise click.exceptions.Exit(EXIT_UNKNOWN)


def _print(folder: Path, found: Assessment, *, as_json: bool) -> None:
    import msgspec

    from harness.report.capacity import print_assessment

    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        print_assessment(found, sys.stdout)
        click.echo(f"\nreports: {shown(folder)}")


def _write_page(folder: Path, found: Assessment, plan: Plan) -> None:
    """The sweep's `report.html`."""
    from harness.report.html.capacity import capacity_page
    from harness.report.writing import HTML_FILE

    page = capacity_page(found, scenario=plan.scenario.name, command=plan.command)
    (folder / HTML_FILE).write_text(page, encoding="utf-8")


def _planned(scenario: str, options: Options, *words: str) -> Plan:
    """The scenario, whose load has a size that can be swept; `words` are the sweep's own. Raises UsageError."""
    from harness.run.plan import prepare, scenario_files

    files = scenario_files([scenario], SCENARIOS)
    if len(files) != 1:
        raise UsageError(f"{scenario}: is a folder; a sweep is of one scenario")
    command = shlex.join(["harness", "capacity", shown(files[0]), *words, *options.words()])
    plan = prepare(files[0], options, command=command)
    if plan.scenario.load.burst:
        raise UsageError(f"{scenario}: arrives in bursts, which have no steady load; use one with closed or open load")
    return plan
