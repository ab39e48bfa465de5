"""What a person asked for, checked in full before anything starts: from names and options to a `Plan`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.errors import UsageError
from harness.fault import FAULTS
from harness.load.control import Crew
from harness.run.arm import Arm
from harness.run.crew import crew_mistakes
from harness.run.provider import LlmChoice
from harness.scenario.scenario import Level, Scenario, State
from harness.target import TARGETS


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a person may say beside the scenario's name."""

    levels: tuple[str, ...] = ()  # labels or amounts; all of the scenario's when empty
    seed: int | None = None  # the rest, when given, instead of the scenario's own
    time_scale: float | None = None
    warmup_s: float | None = None
    measure_s: float | None = None
    state: str | None = None
    redis_url: str | None = field(default=None, repr=False)
    postgres_url: str | None = field(default=None, repr=False)
    llm: LlmChoice = field(default_factory=LlmChoice)
    crew: Crew | None = None  # several load processes
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
            ("--state", self.state, ""),
        ):
            if value is not None:
                words += [name, f"{value:g}{unit}" if isinstance(value, float) else str(value)]
        for name, url in (("--redis-url", self.redis_url), ("--postgres-url", self.postgres_url)):
            words += [name, "URL"] if url else []  # it may hold a password
        if self.crew is not None:
            words += ["--workers", str(self.crew.here)]
            if self.crew.joining:
                words += ["--join", str(self.crew.joining), "--listen", f"{self.crew.host}:{self.crew.port}"]
        return [*words, *self.llm.words(), *(["--allow-remote"] if self.allow_remote else [])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A scenario that was checked in full and can be executed."""

    scenario: Scenario
    scenario_path: Path
    limits_path: Path | None
    levels: tuple[Level, ...]
    reports: Path
    command: str
    baselines: Path = Path("baselines")  # the folder of limits and of accepted runs
    redis_url: str | None = field(default=None, repr=False)  # of a server to use, instead of finding or starting one
    postgres_url: str | None = field(default=None, repr=False)
    llm: LlmChoice = field(default_factory=LlmChoice)
    crew: Crew | None = None
    arm: Arm | None = None  # the build that the target is, when it is not what is installed here

    @property
    def folder(self) -> Path:
        """From which the target's Python is imported."""
        return self.scenario_path.parent if self.arm is None else self.arm.folder


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
    from harness.llm.models import SERVED
    from harness.scenario.loading import Known, load_scenario
    from harness.scenario.mistakes import dotted
    from harness.scenario.state_checks import state_mistakes
    from harness.statistics.metrics import METRICS, PARTS
    from harness.verdict.limits import load_limits

    served = {name: model.provider for name, model in SERVED.items()}
    known = Known(targets=TARGETS, models=MODELS, served=served, faults=FAULTS, metrics={"": METRICS, **PARTS})
    scenario = _with(load_scenario(path, known=known, allow_remote=options.allow_remote), options)
    levels = {level.label: level for level in scenario.load.levels}
    named = levels | {f"{level.amount:g}": level for level in levels.values()}  # 25 is 25/s where that is what it is of
    mistakes = [f"--level {label}: not a level of {path} (levels: {', '.join(levels)})" for label in options.levels
                if label not in named]  # fmt: skip
    mistakes += [f"{path} with --state {options.state}: {dotted(each.path)}: {each.text}"
                 for each in (state_mistakes(scenario) if options.state else ())]  # fmt: skip
    if options.state and scenario.target == "http":
        mistakes.append(f"--state {options.state}: a black box keeps its own state; leave it out")
    mistakes += _llm_mistakes(scenario, options.llm)
    mistakes += crew_mistakes(scenario, options.crew)
    for name, url in (("--redis-url", options.redis_url), ("--postgres-url", options.postgres_url)):
        if url is not None and not url.strip():
            mistakes.append(f"{name}: is empty; give the server's URL, or leave the option out to have one started")
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
        levels=tuple(dict.fromkeys(named[label] for label in (options.levels or levels))),
        reports=options.reports,
        command=command,
        baselines=_baselines(path, limits_path, options.baselines),
        redis_url=options.redis_url,
        postgres_url=options.postgres_url,
        llm=options.llm,
        crew=options.crew,
    )


def _llm_mistakes(scenario: Scenario, llm: LlmChoice) -> list[str]:
    """What the command line says of models and the scenario cannot follow."""
    from harness.scenario.llm_checks import needs_llm

    if llm.mode == "simulated":
        return []
    if not needs_llm(scenario):
        return [f"--llm {llm.mode}: {scenario.name} asks no model; leave it out"]
    declared = scenario.llm
    only = [f"llm.{key}" for key in ("quota", "fault") if declared is not None and getattr(declared, key)]
    return [f"--llm {llm.mode}: {scenario.name} declares {key}, which only the simulator can play" for key in only]


def _find_limits(scenario_path: Path, name: str, baselines: Path | None) -> Path | None:
    """The scenario's limits file: in the folder that was named, where it must be; else in the nearest `baselines`."""
    if baselines is not None:
        if not (baselines / f"{name}.toml").is_file():
            raise UsageError(f"{baselines}: has no {name}.toml with the limits of {scenario_path}")
        return baselines / f"{name}.toml"
    known = (folder / f"{name}.toml" for folder in _nearby(scenario_path))
    return next((path for path in known if path.is_file()), None)


def _baselines(scenario_path: Path, limits_path: Path | None, named: Path | None) -> Path:
    """Where accepted runs are: beside the limits; without any, in the folder that was named, or the nearest."""
    if limits_path is not None:
        return limits_path.parent
    return named or next((folder for folder in _nearby(scenario_path) if folder.is_dir()), Path.cwd() / "baselines")


def _nearby(scenario_path: Path) -> list[Path]:
    """Where a scenario's limits and accepted runs may be, the nearest first."""
    here = scenario_path.resolve().parent
    return [folder / "baselines" for folder in (here, here.parent, here.parent.parent, Path.cwd())]


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
        state=_state(scenario.state, options.state),
    )


def _state(state: State, store: str | None) -> State:
    """The state kept in the store that the command line chose; what only the file's own store can do is left out."""
    if store is None:
        return state
    return replace(
        state,
        store=store,  # type: ignore[arg-type]  # the command line offers nothing else
        fallback=state.fallback and store == "redis",
    )
