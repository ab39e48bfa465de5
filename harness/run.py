"""From a scenario to a run's folder: `prepare` checks everything before anything starts, `execute` does it.

The only place that wires the stages together. It prints nothing and decides no exit code; it tells a `Listener`.
"""

from __future__ import annotations

import secrets
import shlex
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from harness.child import Children
from harness.errors import HarnessError, TargetUnavailable, UsageError
from harness.observation.machine import this_machine
from harness.observation.manifest import LevelEnd, Manifest
from harness.scenario.scenario import Level, Scenario
from harness.stage import Interrupt, Listener, Stage
from harness.target import TARGETS

HOST_READY_S = 60.0
LOAD_OVERTIME_S = 30.0  # past its last possible moment; then the load process is stuck
SOCKET_PATH_MAX = 100  # sun_path holds 107 bytes on Linux, 103 on macOS


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a person may say beside the scenario's name."""

    levels: tuple[str, ...] = ()  # labels; all of the scenario's when empty
    seed: int | None = None  # the rest, when given, instead of the scenario's own
    time_scale: float | None = None
    warmup_s: float | None = None
    measure_s: float | None = None
    allow_remote: bool = False
    baselines: Path | None = None  # beside the scenario's folder, or in the current one
    reports: Path = Path("reports")

    def words(self) -> list[str]:
        """The command-line words that ask for the same measurement again."""
        words = [word for label in self.levels for word in ("--level", label)]
        for name, value, unit in (
            ("--seed", self.seed, ""),
            ("--time-scale", self.time_scale, ""),
            ("--warmup", self.warmup_s, " s"),
            ("--measure", self.measure_s, " s"),
        ):
            if value is not None:
                words += [name, f"{value:g}{unit}" if isinstance(value, float) else str(value)]
        return [*words, *(["--allow-remote"] if self.allow_remote else [])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A scenario that was checked in full and can be executed."""

    scenario: Scenario
    scenario_path: Path
    limits_path: Path | None
    levels: tuple[Level, ...]
    reports: Path
    command: str


def scenario_files(names: Sequence[str], folder: Path) -> list[Path]:
    """Files as given; a folder stands for its files, a bare name for `NAME.toml` in `folder`."""
    files: list[Path] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            found = sorted(path.glob("*.toml"))
            if not found:
                raise UsageError(f"{path}: no scenario (*.toml) in this folder")
            files.extend(found)
        elif path.suffix != ".toml" and not path.exists() and path.name == name:
            files.append(folder / f"{name}.toml")
        else:
            files.append(path)
    return files


def prepare(path: Path, options: Options, command: str) -> Plan:
    """Load and check the scenario and its limits. Raises UsageError with every mistake; starts nothing."""
    from harness.llm.latency import MODELS
    from harness.scenario.loading import Known, load_scenario
    from harness.verdict.limits import load_limits

    known = Known(targets=TARGETS, models=MODELS)
    scenario = _with(load_scenario(path, known=known, allow_remote=options.allow_remote), options)
    levels = {level.label: level for level in scenario.load.levels}
    mistakes = [f"--level {label}: not a level of {path} (levels: {', '.join(levels)})" for label in options.levels
                if label not in levels]  # fmt: skip
    if mistakes:
        raise UsageError(mistakes)
    limits_path = _find_limits(path, scenario.name, options.baselines)
    if limits_path is not None:
        load_limits(
            limits_path,
            levels=list(levels),
            agents=list(scenario.agent),
            drain_s=scenario.load.drain,
            target=scenario.target,
        )
    return Plan(
        scenario=scenario,
        scenario_path=path.resolve(),
        limits_path=limits_path,
        levels=tuple(levels[label] for label in (options.levels or levels)),
        reports=options.reports,
        command=command,
    )


def _find_limits(scenario_path: Path, name: str, baselines: Path | None) -> Path | None:
    """The scenario's limits file: in the folder that was named, where it must be; else in the nearest `baselines`."""
    if baselines is not None:
        if not (baselines / f"{name}.toml").is_file():
            raise UsageError(f"{baselines}: has no {name}.toml with the limits of {scenario_path}")
        return baselines / f"{name}.toml"
    here = scenario_path.resolve().parent
    for folder in (here, here.parent, here.parent.parent, Path.cwd()):
        if (folder / "baselines" / f"{name}.toml").is_file():
            return folder / "baselines" / f"{name}.toml"
    return None


def _with(scenario: Scenario, options: Options) -> Scenario:
    """The scenario as the person asked for it on the command line."""
    load = replace(
        scenario.load,
        warmup=scenario.load.warmup if options.warmup_s is None else options.warmup_s,
        measure=scenario.load.measure if options.measure_s is None else options.measure_s,
    )
    return replace(
        scenario,
        load=load,
        seed=scenario.seed if options.seed is None else options.seed,
        time_scale=scenario.time_scale if options.time_scale is None else options.time_scale,
    )


def execute(plan: Plan, listener: Listener, interrupt: Interrupt) -> Path:
    """Run every level of the plan, each against a fresh target, and return the run's folder.

    Whatever happens, what was measured is in the folder and nothing that was started is left. Raises
    TargetUnavailable when nothing answers at a black box's address, UsageError when a target's host says that there
    is no such target, HarnessError when the run's folder cannot be written.
    """
    if plan.scenario.http is not None:
        _check_reachable(plan.scenario.http.submit.url)
    run_dir, manifest = _open_run(plan)
    ended: list[LevelEnd] = []
    try:
        with _stages(plan, run_dir, manifest) as (children, stage_of):
            for index, level in enumerate(plan.levels):
                if interrupt.asked.is_set():
                    break
                try:
                    end = stage_of(level).run(listener, interrupt, index)
                except TargetUnavailable as error:
                    end = LevelEnd(level=level.label, status="target_unavailable", message=str(error))
                ended.append(end)
                msgspec.structs.replace(manifest, ended=tuple(ended)).write(run_dir)
                listener.level_ended(end)
                if end.status != "complete":
                    break
        if children.leftovers and all(end.status == "complete" for end in ended):
            ended.append(LevelEnd(level="", status="harness_failed", message=_left(children.leftovers)))
    except UsageError:
        shutil.rmtree(run_dir)  # its host says that there is no such target: nothing was started
        raise
    except OSError as error:
        raise HarnessError(f"cannot write into the run's folder {run_dir}: {error.strerror}") from error
    _finish(manifest, ended, run_dir)
    return run_dir


@contextmanager
def _stages(plan: Plan, run_dir: Path, manifest: Manifest) -> Iterator[tuple[Children, Callable[[Level], Stage]]]:
    """What the levels of a run share: their processes, which end on leaving, and a short folder for their sockets."""
    with Children(manifest.run_id, run_dir / "logs") as children:
        sockets = Path(tempfile.mkdtemp(prefix="harness-", dir=_short_folder()))
        children.register_folder(sockets)
        yield (
            children,
            lambda level: Stage(
                scenario=plan.scenario,
                folder=plan.scenario_path.parent,
                level=level,
                run_dir=run_dir,
                manifest=manifest,
                children=children,
                socket=sockets / f"{plan.levels.index(level)}.sock",
            ),
        )


def _finish(manifest: Manifest, ended: Sequence[LevelEnd], run_dir: Path) -> None:
    """The manifest's last words. On a full disk the run stays marked as unfinished, which it then is."""
    try:
        msgspec.structs.replace(manifest, ended=tuple(ended), finished=True).write(run_dir)
    except OSError as error:
        raise HarnessError(f"cannot write the end of {run_dir}: {error.strerror}; make room and run again") from error


def _check_reachable(url: str) -> None:
    """A black box that nobody answers for is said at once, not after a level full of failures."""
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    try:
        socket.create_connection(address, timeout=5.0).close()
    except OSError as error:
        raise TargetUnavailable(f"nothing answers at {url}: {error}; start the service, then run again") from error


def _left(leftovers: Sequence[str]) -> str:
    return "processes were left behind, by the target or by us, and had to be ended: " + "; ".join(leftovers)


def _open_run(plan: Plan) -> tuple[Path, Manifest]:
    """Create the run's folder with everything that is known before the first workflow."""
    started_at = datetime.now(UTC)
    run_id = f"{started_at:%Y%m%d-%H%M%S}-{plan.scenario.name}-{secrets.token_hex(2)}"
    run_dir = (plan.reports / run_id).resolve()
    try:
        run_dir.mkdir(parents=True)
        shutil.copyfile(plan.scenario_path, run_dir / "scenario.toml")
        (run_dir / "scenario.json").write_bytes(msgspec.json.encode(plan.scenario))
        if plan.limits_path:
            shutil.copyfile(plan.limits_path, run_dir / "limits.toml")
        (run_dir / "journal.jsonl").touch()
        (run_dir / "resources.jsonl").touch()
        manifest = Manifest(
            run_id=run_id,
            scenario=plan.scenario.name,
            target=plan.scenario.target,
            seed=plan.scenario.seed,
            started_at=started_at.isoformat(timespec="seconds"),
            command=plan.command,
            levels=tuple(level.label for level in plan.levels),
            machine=this_machine(),
            t0=time.monotonic(),
        )
        manifest.write(run_dir)
    except OSError as error:
        raise HarnessError(f"cannot write the run's folder {run_dir}: {error.strerror}") from error
    return run_dir, manifest


def _short_folder() -> str:
    """A folder for Unix sockets, whose paths must be short; the usual temporary folder may be deep."""
    usual = tempfile.gettempdir()
    return usual if len(usual) + 30 < SOCKET_PATH_MAX else "/tmp"


@contextmanager
def serving(plan: Plan) -> Iterator[str]:
    """Start the plan's target for a hand-started locust; yields the line that starts one. Ends all on leaving."""
    run_dir, manifest = _open_run(plan)
    try:
        with _stages(plan, run_dir, manifest) as (_, stage_of):
            stage = stage_of(plan.levels[0])
            host = stage.start_target()
            served = run_dir / "serve.json"
            served.write_bytes(msgspec.json.encode(stage.load_config(host)))
            locustfile = Path(__file__).parent / "load" / "locustfile.py"
            yield f"HARNESS_SERVE={shlex.quote(str(served))} locust -f {shlex.quote(str(locustfile))}"
    finally:
        msgspec.structs.replace(manifest, finished=True).write(run_dir)
