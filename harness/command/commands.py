"""The commands, each a function; everything heavy is imported when its command runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from harness import __version__
from harness.command.arguments import (
    EXISTING_FOLDER,
    FOLDER,
    SCENARIOS,
)
from harness.command.baseline import baseline as baseline_command
from harness.command.capacity import capacity as capacity_command
from harness.command.crew import worker as worker_command
from harness.command.doctor import doctor as doctor_command
from harness.command.duet import duet as duet_command
from harness.command.faults import faults as faults_command
from harness.command.history import history as history_command
from harness.command.init import init as init_command
from harness.command.llm import llm as llm_command
from harness.command.proxy import proxy as proxy_command
from harness.command.run import BASELINES_HELP, prepare_all, print_report
from harness.command.run import run as run_command
from harness.command.runbook import runbook as runbook_command
from harness.command.runbook import write_pages
from harness.errors import UsageError
from harness.terminal import progress_console, shown, signals

EXIT_CODES = """Exit codes: 0 pass or improved · 1 failed or regressed · 2 usage error, nothing started ·
3 inconclusive, or nothing measured · 4 the harness itself failed or was cut short · 130 interrupted."""


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="harness")
def commands() -> None:
    """Load and resilience tests for multi-agent workflow orchestrators."""


@commands.command()
@click.argument("run_dir", metavar="RUN", type=FOLDER)
@click.option("--against", type=EXISTING_FOLDER, help="Judge by the limits in this folder instead.")
@click.option("--json", "as_json", is_flag=True, help="Print only the JSON report on standard output.")
def judge(run_dir: Path, against: Path | None, as_json: bool) -> None:
    """Judge a run again from its files, by the limits it was run with."""
    from harness.verdict.judge import judge_run

    judged = judge_run(run_dir, against=against)
    print_report(judged, "json" if as_json else "console", sys.stdout)
    raise click.exceptions.Exit(judged.verdict.exit_code)


@commands.command()
@click.argument("run_dir", metavar="RUN", type=FOLDER)
@click.option("--format", "name", default="console", show_default=True, help="console, markdown, json, junit or html.")
def report(run_dir: Path, name: str) -> None:
    """Print a run's report."""
    from harness.report import reporter
    from harness.verdict.judge import judge_run

    chosen = reporter(name)  # an unknown format is said before the run is read
    chosen.write(judge_run(run_dir), sys.stdout)


@commands.command()
@click.argument("folder", type=FOLDER, default=SCENARIOS)
def scenarios(folder: Path) -> None:
    """List the scenarios of a folder, a line each."""
    from harness.scenario.loading import list_scenarios

    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; name the one that holds your scenarios")
    found = list_scenarios(folder)
    width = max((len(name) for _, name, _ in found), default=0)
    for _, name, description in found:
        click.echo(f"{name:{width}}  {description}")


@commands.command()
@click.argument("scenario", nargs=-1, required=True)
@click.option("--baselines", type=EXISTING_FOLDER, help=BASELINES_HELP)
@click.option("--allow-remote", is_flag=True, help="Let a scenario name hosts other than this machine.")
def check(scenario: tuple[str, ...], baselines: Path | None, allow_remote: bool) -> None:
    """Check scenarios and their limits completely; start nothing."""
    from harness.run.plan import Options

    for plan in prepare_all(scenario, Options(allow_remote=allow_remote, baselines=baselines)):
        limits = f"limits {shown(plan.limits_path)}" if plan.limits_path else "no limits, so a run is inconclusive"
        click.echo(f"{shown(plan.scenario_path)}: ok, {limits}")


@commands.command()
@click.option("--reference", type=FOLDER, metavar="FOLDER",
              help="Write pages for people instead: every key, every fault, every metric.")  # fmt: skip
def schema(reference: Path | None) -> None:
    """Print the JSON Schema of scenario files, for editors."""
    from harness.scenario.loading import scenario_schema

    if reference is None:
        click.echo(json.dumps(scenario_schema(), indent=2))
        return
    from harness.report.reference import reference as pages_of

    pages = pages_of()
    write_pages(reference, pages)
    click.echo(f"{reference}: {', '.join(pages)}")


@commands.command()
@click.argument("scenario")
@click.option("--level", "levels", multiple=True, metavar="LABEL", help="The level whose deadlines and ids are used.")
@click.option("--reports", type=FOLDER, default=Path("reports"), show_default=True)
@click.option("--allow-remote", is_flag=True, help="Let a scenario name hosts other than this machine.")
def serve(scenario: str, levels: tuple[str, ...], reports: Path, allow_remote: bool) -> None:
    """Start a scenario's target and print the line that a hand-started locust reads; Ctrl-C ends it."""
    from harness.run.listening import Interrupt
    from harness.run.plan import Options
    from harness.run.run import serving

    [plan] = prepare_all([scenario], Options(levels=levels, reports=reports, allow_remote=allow_remote))
    interrupt = Interrupt()
    with signals(interrupt, progress_console()), serving(plan) as line:
        click.echo(line)
        interrupt.asked.wait()


@commands.command()
def services() -> None:
    """Show which real servers can be had here, and why not the others."""
    from harness.service.listing import service_rows

    for line in service_rows():
        click.echo(line)


commands.add_command(init_command)
commands.add_command(llm_command)
commands.add_command(history_command)
commands.add_command(faults_command)
commands.add_command(proxy_command)
commands.add_command(worker_command)
commands.add_command(runbook_command)
commands.add_command(run_command)
commands.add_command(baseline_command)
commands.add_command(doctor_command)
commands.add_command(capacity_command)
commands.add_command(duet_command)
