"""From a plan to a run's folder: `execute` runs every level, `serving` only starts the target.

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
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from harness.child import Children
from harness.errors import HarnessError, ServiceUnavailable, TargetUnavailable, UsageError
from harness.observation.build import this_build
from harness.observation.machine import this_machine
from harness.observation.manifest import LevelEnd, Manifest, sizes_of
from harness.run.listening import Interrupt, Listener
from harness.run.plan import Plan
from harness.run.provider import KEYS
from harness.run.provisions import Provisions, provisioned
from harness.run.stage import Stage
from harness.scenario.llm_checks import needs_llm
from harness.scenario.scenario import Level

SOCKET_PATH_MAX = 100  # sun_path holds 107 bytes on Linux, 103 on macOS


def execute(plan: Plan, listener: Listener, interrupt: Interrupt) -> Path:
    """Run every level of the plan, each against a fresh target, and return the run's folder.

    Whatever happens, what was measured is in the folder and nothing that was started is left. Raises
    TargetUnavailable when nothing answers at a black box's address or no server can be had, UsageError when a
    target's host says that there is no such target, HarnessError when the run's folder cannot be written.
    """
    if plan.scenario.http is not None:
        _check_reachable(plan.scenario.http.submit.url)
    run_dir, manifest = _open_run(plan)
    ended: list[LevelEnd] = []
    try:
        with _stages(plan, run_dir, manifest) as (children, provisions, stage_of):
            has_witness = provisions.witness is not None
            manifest = msgspec.structs.replace(manifest, services=provisions.used, witness=has_witness)
            for level in plan.levels:
                if interrupt.asked.is_set():
                    break
                try:
                    end = stage_of(level).run(listener, interrupt)
                except TargetUnavailable as error:
                    end = LevelEnd(level=level.label, status="target_unavailable", message=str(error))
                ended.append(end)
                msgspec.structs.replace(manifest, ended=tuple(ended)).write(run_dir)
                listener.level_ended(end)
                if end.status != "complete":
                    break
        manifest = msgspec.structs.replace(manifest, unremoved=children.unremoved)
        if children.leftovers and all(end.status == "complete" for end in ended):
            ended.append(LevelEnd(level="", status="harness_failed", message=_left(children.leftovers)))
    except (ServiceUnavailable, UsageError):
        shutil.rmtree(run_dir)  # there is no such server, or no such target: nothing was driven
        raise
    except OSError as error:
        raise HarnessError(f"cannot write into the run's folder {run_dir}: {error.strerror}") from error
    _finish(manifest, ended, run_dir)
    return run_dir


@contextmanager
def _stages(
    plan: Plan, run_dir: Path, manifest: Manifest
) -> Iterator[tuple[Children, Provisions, Callable[[Level], Stage]]]:
    """What the levels of a run share: their processes and servers, which end on leaving, and a folder for sockets."""
    hidden = KEYS if plan.llm.mode == "live" else ()
    with Children(manifest.run_id, run_dir / "logs", hidden=hidden) as children:
        sockets = Path(tempfile.mkdtemp(prefix="harness-", dir=_short_folder()))
        children.register_folder(sockets)
        with provisioned(
            plan.scenario,
            manifest,
            children,
            run_dir=run_dir,
            sockets=sockets,
            redis_url=plan.redis_url,
            postgres_url=plan.postgres_url,
            llm=plan.llm,
        ) as provisions:
            yield (
                children,
                provisions,
                lambda level: Stage(
                    scenario=plan.scenario,
                    folder=plan.folder,
                    python=plan.arm.python if plan.arm else None,
                    level=level,
                    index=plan.levels.index(level),
                    run_dir=run_dir,
                    manifest=manifest,
                    children=children,
                    provisions=provisions,
                    llm=plan.llm,
                    crew=plan.crew,
                    socket=sockets / f"{plan.levels.index(level)}.sock",
                ),
            )


def _finish(manifest: Manifest, ended: Sequence[LevelEnd], run_dir: Path) -> None:
    """The manifest's last words. On a full disk the run stays marked as unfinished, which it then is."""
    try:
        last = msgspec.structs.replace(manifest, ended=tuple(ended), sizes=sizes_of(run_dir), finished=True)
        last.write(run_dir)
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
    return "something was left behind, by the target or by us, and had to be cleared away: " + "; ".join(leftovers)


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
            machine=this_machine(asks_models=needs_llm(plan.scenario)),
            build=plan.arm.build if plan.arm else this_build(plan.scenario.target, plan.folder),
            t0=time.monotonic(),
            state=plan.scenario.state.store,
            llm=plan.llm.mode if needs_llm(plan.scenario) else "",
            load_processes=plan.crew.size if plan.crew else 1,
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
    """Start the plan's target for a hand-started locust; yields the line that starts one. Ends all on leaving.

    It is not made to crash: nobody looks after it here, so it would stay away.
    """
    plan = replace(plan, scenario=replace(plan.scenario, crash=None))
    run_dir, manifest = _open_run(plan)
    try:
        with _stages(plan, run_dir, manifest) as (_, _, stage_of), ExitStack() as ending:
            stage = stage_of(plan.levels[0])
            models = ending.enter_context(stage.models())
            fleet = stage.host_target(models)
            if fleet is not None:
                ending.callback(fleet.end)
            if models is not None:
                models.measure_began(time.monotonic() - manifest.t0)  # nobody says when it does
            served = run_dir / "serve.json"
            served.write_bytes(msgspec.json.encode(stage.load_config()))
            locustfile = Path(__file__).parents[1] / "load" / "locustfile.py"
            yield f"HARNESS_SERVE={shlex.quote(str(served))} locust -f {shlex.quote(str(locustfile))}"
    finally:
        msgspec.structs.replace(manifest, finished=True).write(run_dir)
