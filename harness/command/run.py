"""`harness run`: all scenarios are prepared before the first one starts; then executed, judged and reported."""

from __future__ import annotations

import functools
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.command.arguments import (
    EXISTING_FOLDER,
    FOLDER,
    SCENARIOS,
    STORES,
    Factor,
    GateWords,
    LlmWords,
    Unit,
    gate_options,
    llm_options,
)
from harness.command.crew import CrewWords, crew_options
from harness.command.watching import Watching, WatchWords, watch_options
from harness.errors import UsageError
from harness.terminal import EXIT_INTERRUPTED, forget_stdout, progress_console, shown, signals

if TYPE_CHECKING:
    from harness.gate.gating import GateOptions
    from harness.run.listening import Interrupt
    from harness.run.plan import Options, Plan
    from harness.verdict.judge import JudgedRun

BASELINES_HELP = "Folder of the limits files.  [default: baselines/ beside the scenarios' folder, or here]"


@click.command()
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
@crew_options
@gate_options
@llm_options
@watch_options
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
    crew: CrewWords,
    gate: GateWords,
    llm: LlmWords,
    watch: WatchWords,
    allow_remote: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run scenarios (files, folders, or names in scenarios/) and judge them."""
    from harness.report.scorecard import print_scorecard
    from harness.run.plan import Options

    options = Options(
        levels=levels, seed=seed, time_scale=time_scale, warmup_s=warmup, measure_s=measure, state=state,
        redis_url=redis_url, postgres_url=postgres_url, llm=llm.choice(), crew=crew.crew(), allow_remote=allow_remote,
        baselines=baselines, reports=reports,
    )  # fmt: skip
    comparing, plans = gate.options(), prepare_all(scenario, options, gate.words())
    if as_json and len(plans) > 1:
        raise UsageError("--json prints one document; run one scenario at a time with it")
    ended: list[tuple[int, JudgedRun]] = []
    try:
        with watch.watching() as watching:
            for plan in plans:
                ended.append(run_one(plan, comparing, watching, as_json=as_json, quiet=quiet))
                if ended[-1][0] == EXIT_INTERRUPTED:
                    break
    finally:  # also of the runs before one in which the harness failed
        _annotate(plans, [judged for _, judged in ended])
    print_scorecard([judged for _, judged in ended], sys.stdout)
    raise click.exceptions.Exit(_worst([code for code, _ in ended]))


def _annotate(plans: Sequence[Plan], runs: Sequence[JudgedRun]) -> None:
    """Tell a runner of GitHub's, if one reads us, which lines of which limits files were broken."""
    from harness.report.annotations import Annotated, asked_for, workflow_commands

    if asked_for():
        pairs = [Annotated(judged, plan.limits_path) for plan, judged in zip(plans, runs, strict=False)]
        for line in workflow_commands(pairs, Path(os.environ.get("GITHUB_WORKSPACE", ""))):
            click.echo(line, err=True)  # standard output may be one JSON document; the runner reads both


def prepare_all(names: Sequence[str], options: Options, further: Sequence[str] = ()) -> list[Plan]:
    """A plan for every scenario named. Raises UsageError with the mistakes of all of them."""
    from harness.run.plan import prepare, scenario_files

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


def run_one(
    plan: Plan, comparing: GateOptions | None, watching: Watching | None = None, *, as_json: bool, quiet: bool
) -> tuple[int, JudgedRun]:
    """Execute, judge and report one plan, compared with its baseline if that was asked for; with the exit code."""
    from harness.report.writing import write_reports
    from harness.run.listening import Interrupt
    from harness.verdict.judge import judge_run

    interrupt = Interrupt()
    watching = watching or Watching.alone()
    run_dir = _execute(plan, comparing, watching, interrupt, quiet=quiet)
    judged = judge_run(run_dir)
    write_reports(judged)
    watching.judged(judged)
    try:
        print_report(judged, "json" if as_json else "console", sys.stdout)
        if not as_json:
            click.echo(f"\nreports: {shown(run_dir)}")
        sys.stdout.flush()
    except BrokenPipeError:  # the verdict stands, whoever reads it
        forget_stdout()
    return EXIT_INTERRUPTED if interrupt.asked.is_set() else judged.verdict.exit_code, judged


def _execute(
    plan: Plan, comparing: GateOptions | None, watching: Watching, interrupt: Interrupt, *, quiet: bool
) -> Path:
    """Run it, shown on standard error and to whoever watches; the run's folder."""
    from harness.report.live import LiveProgress
    from harness.run.controlled import execute_controlled

    errors = progress_console(quiet=quiet)
    errors.print(f"{plan.scenario.name} · seed {plan.scenario.seed}", highlight=False)
    watching.state.scenario_began(plan.scenario.name, plan.scenario.seed)
    with signals(interrupt, errors), LiveProgress(errors, watching.state) as progress:
        tell = watching.telling(functools.partial(errors.print, highlight=False, soft_wrap=True))
        if comparing is None:
            return execute_controlled(plan, progress, interrupt, tell)
        from harness.gate.gating import Gating

        return Gating(plan=plan, options=comparing, listener=progress, interrupt=interrupt, tell=tell).run()


def print_report(judged: JudgedRun, name: str, out: Any) -> None:
    """Write the report of that name to `out`."""
    from harness.report import reporter

    reporter(name).write(judged, out)


def _worst(codes: Sequence[int]) -> int:
    """4 > 1 > 3 > 0; an interruption is above all."""
    return max(codes, key=(0, 3, 1, 2, 4, EXIT_INTERRUPTED).index)
