"""The commands, each a function; everything heavy is imported when its command runs."""

from __future__ import annotations

import functools
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness import __version__
from harness.arguments import (
    EXISTING_FOLDER,
    FOLDER,
    STORES,
    Factor,
    GateWords,
    LlmWords,
    Unit,
    gate_options,
    llm_options,
)
from harness.doctor_command import doctor as doctor_command
from harness.duet_command import duet as duet_command
from harness.errors import UsageError
from harness.history_command import history as history_command
from harness.llm_command import llm as llm_command
from harness.terminal import forget_stdout, progress_console, shown, signals

if TYPE_CHECKING:
    from harness.gating import GateOptions
    from harness.plan import Options, Plan
    from harness.verdict.judge import JudgedRun

EXIT_USAGE = 2
EXIT_UNAVAILABLE = 3
EXIT_HARNESS = 4
EXIT_INTERRUPTED = 130
SCENARIOS = Path("scenarios")
BASELINES_HELP = "Folder of the limits files.  [default: baselines/ beside the scenarios' folder, or here]"

EXIT_CODES = """Exit codes: 0 pass or improved · 1 failed or regressed · 2 usage error, nothing started ·
3 inconclusive, or nothing measured · 4 the harness itself failed or was cut short · 130 interrupted."""


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="harness")
def commands() -> None:
    """Load and resilience tests for multi-agent workflow orchestrators."""


@commands.command()
@click.argument("scenario", nargs=-1, required=True)
@click.option("--level", "levels", multiple=True, metavar="LABEL", help="Only this level; may be repeated.")
@click.option("--state", type=STORES, help="Where workflows keep their state, instead of the scenario's own choice.")
@click.option(
    "--redis-url", metavar="URL", help="Use this Redis.  [env: HARNESS_REDIS_URL; else one is found or started]"
)
@click.option("--postgres-url", metavar="URL", help="Use this PostgreSQL.  [env: DATABASE_URL; else as above]")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Instead of the scenario's seed.")
@click.option("--time-scale", type=Factor(), help="Instead of the scenario's time_scale.")
@click.option("--warmup", type=Unit("duration"), metavar="TIME", help='Instead of the scenario\'s, like "1 s".')
@click.option("--measure", type=Unit("duration"), metavar="TIME", help='Instead of the scenario\'s, like "60 s".')
@click.option("--baselines", type=EXISTING_FOLDER, help=BASELINES_HELP)
@click.option("--reports", type=FOLDER, default=Path("reports"), show_default=True)
@gate_options
@llm_options
@click.option("--allow-remote", is_flag=True, help="Let a scenario name hosts other than this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print only the JSON report on standard output.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
def run(
    scenario: tuple[str, ...],
    levels: tuple[str, ...],
    state: str | None,
    redis_url: str | None,
    postgres_url: str | None,
    seed: int | None,
    time_scale: float | None,
    warmup: float | None,
    measure: float | None,
    baselines: Path | None,
    reports: Path,
    gate: GateWords,
    llm: LlmWords,
    allow_remote: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run scenarios (files, folders, or names in scenarios/) and judge them."""
    from harness.plan import Options

    options = Options(
        levels=levels,
        seed=seed,
        time_scale=time_scale,
        warmup_s=warmup,
        measure_s=measure,
        state=state,
        redis_url=redis_url,
        postgres_url=postgres_url,
        llm=llm.choice(),
        allow_remote=allow_remote,
        baselines=baselines,
        reports=reports,
    )
    comparing = gate.options()
    plans = _prepare_all(scenario, options, gate.words())
    if as_json and len(plans) > 1:
        raise UsageError("--json prints one document; run one scenario at a time with it")
    codes = [_run_one(plan, comparing, as_json=as_json, quiet=quiet) for plan in plans]
    raise click.exceptions.Exit(_worst(codes))


def _prepare_all(names: Sequence[str], options: Options, further: Sequence[str] = ()) -> list[Plan]:
    """A plan for every scenario named. Raises UsageError with the mistakes of all of them."""
    from harness.plan import prepare, scenario_files

    plans: list[Plan] = []
    mistakes: list[str] = []
    for path in scenario_files(names, SCENARIOS):
        try:
            plans.append(
                prepare(path, options, command=shlex.join(["harness", "run", shown(path), *options.words(), *further]))
            )
        except UsageError as error:
            mistakes.extend(error.mistakes)
    if mistakes:
        raise UsageError(mistakes)
    return plans


def _run_one(plan: Plan, comparing: GateOptions | None, *, as_json: bool, quiet: bool) -> int:
    """Execute, judge and report one plan, compared with its baseline if that was asked for; its exit code."""
    from harness.report.live import LiveProgress
    from harness.run import execute
    from harness.stage import Interrupt
    from harness.verdict.judge import judge_run

    errors = progress_console(quiet=quiet)
    errors.print(f"{plan.scenario.name} · seed {plan.scenario.seed}", highlight=False)
    interrupt = Interrupt()
    with signals(interrupt, errors), LiveProgress(errors) as progress:
        if comparing is None:
            run_dir = execute(plan, progress, interrupt)
        else:
            from harness.gating import Gating

            tell = functools.partial(errors.print, highlight=False, soft_wrap=True)
            run_dir = Gating(plan=plan, options=comparing, listener=progress, interrupt=interrupt, tell=tell).run()
    judged = judge_run(run_dir)
    _write_reports(judged, run_dir)
    try:
        _report(judged, "json" if as_json else "console", sys.stdout)
        if not as_json:
            click.echo(f"\nreports: {shown(run_dir)}")
        sys.stdout.flush()
    except BrokenPipeError:  # the verdict stands, whoever reads it
        forget_stdout()
    return EXIT_INTERRUPTED if interrupt.asked.is_set() else judged.verdict.exit_code


def _write_reports(judged: JudgedRun, run_dir: Path) -> None:
    from harness.report.gate import write_pictures

    write_pictures(judged)
    for name, file in (("markdown", "report.md"), ("junit", "junit.xml"), ("json", "report.json")):
        with (run_dir / file).open("w", encoding="utf-8") as out:
            _report(judged, name, out)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with open(summary, "a", encoding="utf-8") as out:
            _report(judged, "markdown", out)


def _report(judged: JudgedRun, name: str, out: Any) -> None:
    from harness.report import reporter

    reporter(name).write(judged, out)


@commands.command()
@click.argument("run_dir", metavar="RUN", type=FOLDER)
@click.option("--against", type=EXISTING_FOLDER, help="Judge by the limits in this folder instead.")
@click.option("--json", "as_json", is_flag=True, help="Print only the JSON report on standard output.")
def judge(run_dir: Path, against: Path | None, as_json: bool) -> None:
    """Judge a run again from its files, by the limits it was run with."""
    from harness.verdict.judge import judge_run

    judged = judge_run(run_dir, against=against)
    _report(judged, "json" if as_json else "console", sys.stdout)
    raise click.exceptions.Exit(judged.verdict.exit_code)


@commands.command()
@click.argument("run_dir", metavar="RUN", type=FOLDER)
@click.option("--format", "name", default="console", show_default=True, help="console, markdown, json or junit.")
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
    from harness.plan import Options

    for plan in _prepare_all(scenario, Options(allow_remote=allow_remote, baselines=baselines)):
        limits = f"limits {shown(plan.limits_path)}" if plan.limits_path else "no limits, so a run is inconclusive"
        click.echo(f"{shown(plan.scenario_path)}: ok, {limits}")


@commands.command()
def schema() -> None:
    """Print the JSON Schema of scenario files, for editors."""
    from harness.scenario.loading import scenario_schema

    click.echo(json.dumps(scenario_schema(), indent=2))


@commands.command()
@click.argument("scenario")
@click.option("--level", "levels", multiple=True, metavar="LABEL", help="The level whose deadlines and ids are used.")
@click.option("--reports", type=FOLDER, default=Path("reports"), show_default=True)
@click.option("--allow-remote", is_flag=True, help="Let a scenario name hosts other than this machine.")
def serve(scenario: str, levels: tuple[str, ...], reports: Path, allow_remote: bool) -> None:
    """Start a scenario's target and print the line that a hand-started locust reads; Ctrl-C ends it."""
    from harness.plan import Options
    from harness.run import serving
    from harness.stage import Interrupt

    [plan] = _prepare_all([scenario], Options(levels=levels, reports=reports, allow_remote=allow_remote))
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


def _worst(codes: Sequence[int]) -> int:
    """4 > 1 > 3 > 0; an interruption is above all."""
    return max(codes, key=(0, 3, 1, 2, 4, EXIT_INTERRUPTED).index)


commands.add_command(llm_command)
commands.add_command(history_command)
commands.add_command(doctor_command)
commands.add_command(duet_command)
