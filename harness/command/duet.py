"""`harness duet A B SCENARIO`: two builds side by side, until the answer stands."""

from __future__ import annotations

import functools
import secrets
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.command.arguments import ARM_WORKFLOWS, FOLDER, LOOKS, SCENARIOS, STORES, Unit, chosen_margin
from harness.errors import TargetUnavailable, UsageError
from harness.terminal import EXIT_INTERRUPTED, progress_console, shown, signals

if TYPE_CHECKING:
    from harness.gate.duet import DuetPlan
    from harness.run.plan import Plan
    from harness.scenario.scenario import Level

WARMUP_S = 1.0


@click.command()
@click.argument("a")
@click.argument("b")
@click.argument("scenario")
@click.option("--level", "label", metavar="LABEL", help="Which level; needed when the scenario has several.")
@click.option(
    "--pairs",
    type=click.Choice([str(look) for look in LOOKS]),
    default="30",
    show_default=True,
    help="At most so many.",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=1, show_default=True)
@click.option(
    "--workflows",
    type=click.IntRange(20, 100_000),
    help=f"Successes an arm a pair.  [default: {ARM_WORKFLOWS}]",
)
@click.option("--measure", type=Unit("duration"), metavar="TIME", help="Measure each arm for so long instead.")
@click.option("--warmup", type=Unit("duration"), default="1 s", show_default=True, metavar="TIME")
@click.option("--margin", type=Unit("share"), metavar="SHARE", help='How much worse may pass.  [default: "10 %"]')
@click.option("--strict", is_flag=True, help='The same as --margin "5 %".')
@click.option("--state", type=STORES, help="Where workflows keep their state, instead of the scenario's own choice.")
@click.option("--redis-url", metavar="URL", help="Use this Redis.  [env: HARNESS_REDIS_URL]")
@click.option("--postgres-url", metavar="URL", help="Use this PostgreSQL.  [env: DATABASE_URL]")
@click.option("--baselines", type=FOLDER, help="Folder of limits and baselines.")
@click.option("--reports", type=FOLDER, default=Path("reports"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print only the JSON report on standard output.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
def duet(
    a: str,
    b: str,
    scenario: str,
    label: str | None,
    pairs: str,
    seed: int,
    workflows: int | None,
    measure: float | None,
    warmup: float,
    margin: float | None,
    strict: bool,
    state: str | None,
    redis_url: str | None,
    postgres_url: str | None,
    baselines: Path | None,
    reports: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run build A (the baseline) and build B in turn: is B worse?

    A build is a git revision, a wheel, NAME==VERSION, the folder of a checkout, python:module:attribute, or . for what
    is here; baseline is the newest accepted run's, baseline:first that of the first one of its epoch.
    """
    from harness.run.plan import Options, prepare, scenario_files

    if workflows is not None and measure is not None:
        raise UsageError("--workflows, --measure: either so many workflows an arm, or so long")
    options = Options(state=state, redis_url=redis_url, postgres_url=postgres_url, baselines=baselines, reports=reports)
    files = scenario_files([scenario], SCENARIOS)
    if len(files) > 1:
        raise UsageError(f"{scenario}: is a folder; a duet is of one scenario")
    plan = prepare(files[0], options, command="")
    level = _level(plan, label)
    console = progress_console(quiet=quiet)
    tell = functools.partial(console.print, highlight=False, soft_wrap=True)
    judged_by = chosen_margin(margin, strict=strict)
    further = [*options.words(), *(["--strict"] if strict else []), *_given("--margin", margin, 100, " %")]
    further += _given("--warmup", warmup if warmup != WARMUP_S else None, 1, " s")
    further += _given("--measure", measure, 1, " s")
    planned = _plan(
        plan, level, (a, b), scenario, tell, seed, int(pairs), workflows or ARM_WORKFLOWS, measure, warmup, further
    )
    folder = (reports / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-duet-{plan.scenario.name}-{secrets.token_hex(2)}").resolve()
    raise click.exceptions.Exit(_run(planned, folder, judged_by, tell, as_json=as_json))


def _given(option: str, value: float | None, times: float, unit: str) -> list[str]:
    """The words of an option that was given."""
    return [] if value is None else [option, f"{value * times:g}{unit}"]


def _level(plan: Plan, label: str | None) -> Level:
    if label is None and len(plan.levels) == 1:
        return plan.levels[0]
    known = {level.label: level for level in plan.levels}
    if label is None or label not in known:
        said = "say which" if label is None else f"{label} is none"
        raise UsageError(f"--level: {plan.scenario.name} has the levels {', '.join(known)}: {said}")
    return known[label]


def _plan(
    plan: Plan,
    level: Level,
    names: Sequence[str],
    scenario: str,
    tell: Callable[[str], None],
    seed: int,
    pairs: int,
    workflows: int,
    measure_s: float | None,
    warmup_s: float,
    further: Sequence[str],
) -> DuetPlan:
    """Both builds made ready, and how they are to be run."""
    from harness.gate.accepted import named_builds
    from harness.gate.arms import resolve_arms
    from harness.gate.duet import DuetPlan, command_of

    builds = named_builds(names, plan.baselines, plan.scenario.name, level.label)
    names, locks = [build.name for build in builds], [build.lock for build in builds]
    a, b = resolve_arms(names, target=plan.scenario.target, folder=plan.folder, locks=locks, tell=tell)
    return DuetPlan(
        plan=plan,
        level=level,
        a=a,
        b=b,
        command=command_of(
            names[0], names[1], scenario, level.label, pairs, seed, workflows=workflows, further=further
        ),
        seed=seed,
        pairs_max=pairs,
        workflows=workflows,
        measure_s=measure_s,
        warmup_s=warmup_s,
    )


def _run(planned: DuetPlan, folder: Path, margin: float, tell: Callable[[str], None], *, as_json: bool) -> int:
    """Run, judge and report; the exit code. Arms that cannot be run end it, after what was measured was told."""
    from harness.gate.duet import run_duet
    from harness.run.listening import Interrupt, Silent
    from harness.verdict.duet import decide_duet, read_duet

    interrupt = Interrupt()

    def enough(_pairs: int) -> bool:
        return decide_duet(read_duet(folder), margin=margin, last=False).outcome != "undecided"

    try:
        with signals(interrupt, progress_console()):
            run_duet(planned, folder, Silent(), interrupt, enough=enough, tell=tell)
    except TargetUnavailable:
        if read_duet(folder).pairs:
            _report(folder, margin, as_json=as_json)
        raise
    code = _report(folder, margin, as_json=as_json)
    return EXIT_INTERRUPTED if interrupt.asked.is_set() else code


def _report(folder: Path, margin: float, *, as_json: bool) -> int:
    """Judge what was measured, write and print it; the exit code."""
    from harness.report.duet import print_duet, write_duet
    from harness.verdict.duet import judge_duet

    judged = judge_duet(folder, margin=margin)
    write_duet(judged, folder)
    print_duet(judged, sys.stdout, as_json=as_json)
    if not as_json:
        click.echo(f"\nreports: {shown(folder)}")
    return judged.exit_code
