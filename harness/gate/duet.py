"""Running a duet: baseline and candidate in turn, pair by pair, each time in fresh processes.

An arm of a pair is an ordinary run of one level, with its folder in `pairs/`, so nothing of it is lost. Both arms of a
pair make the same draws; which of them goes first is drawn. Neither is pinned: both may use all usable cores, which is
the same set, and a target that uses several would be measured as something else on one.
"""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

import msgspec

from harness.errors import HarnessError, TargetUnavailable
from harness.gate.reference import only
from harness.observation.duet import (
    ARM_WORKFLOWS,
    ARMS_FILE,
    DUET_FILE,
    LOOKS,
    PAIRS_FOLDER,
    ArmRun,
    ArmUsed,
    Duet,
    Side,
)
from harness.observation.json_file import replace_json
from harness.observation.manifest import read_manifest
from harness.run.arm import Arm
from harness.run.listening import Interrupt, Listener
from harness.run.plan import Plan
from harness.run.run import execute
from harness.scenario.scenario import Level

WARMUP_S = 1.0
FAILED_MAX = 3  # arms without a whole one of their side between them: something is wrong that more will not mend
SEED_BITS = 62


@dataclass(frozen=True, slots=True, kw_only=True)
class DuetPlan:
    """What to run side by side, and for how long."""

    plan: Plan  # of the scenario, checked
    level: Level
    a: Arm  # the baseline
    b: Arm
    command: str
    seed: int = 1
    pairs_max: int = LOOKS[-1]
    workflows: int = ARM_WORKFLOWS  # successes an arm a pair
    measure_s: float | None = None  # how long an arm's measure lasts, instead
    warmup_s: float = WARMUP_S


def run_duet(
    duet: DuetPlan,
    folder: Path,
    listener: Listener,
    interrupt: Interrupt,
    *,
    enough: Callable[[int], bool],
    tell: Callable[[str], None],
    looks: tuple[int, ...] = LOOKS,
) -> None:
    """Run pairs into `folder` until `enough` says so at one of the `looks`, or `pairs_max` are done.

    Raises TargetUnavailable when FAILED_MAX arms in a row failed, be it of one side; what was measured stays.
    """
    record = _open(duet, folder)
    pair, failed = 0, {"a": 0, "b": 0}
    while pair < duet.pairs_max and not interrupt.asked.is_set():
        tell(f"level {duet.level.label}: pair {pair + 1} of at most {duet.pairs_max}")
        for index, side in enumerate(_order(duet.seed, pair)):
            if interrupt.asked.is_set():
                return
            run_dir = _run_arm(duet, pair, side, folder, listener, interrupt)
            _note(folder, ArmRun(pair=pair, side=side, first=index == 0, run=run_dir.name))
            why = next((end.message for end in read_manifest(run_dir).ended if end.status != "complete"), None)
            failed[side] = 0 if why is None else failed[side] + 1
            if why is not None and not interrupt.asked.is_set() and sum(failed.values()) == FAILED_MAX:
                raise TargetUnavailable(f"{FAILED_MAX} arms in a row failed, the last one of {side} ({folder}): {why}")
        pair += 1
        if pair in looks and enough(pair):
            break
    replace_json(folder / DUET_FILE, msgspec.structs.replace(record, finished=not interrupt.asked.is_set()))


def _open(duet: DuetPlan, folder: Path) -> Duet:
    """Write down what will be compared."""
    record = Duet(
        duet_id=f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{duet.plan.scenario.name}-{secrets.token_hex(2)}",
        scenario=duet.plan.scenario.name,
        level=duet.level.label,
        seed=duet.seed,
        pairs_max=duet.pairs_max,
        workflows=duet.workflows if duet.measure_s is None else 0,
        measure_s=duet.measure_s,
        a=_used(duet.a),
        b=_used(duet.b),
        command=duet.command,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    try:
        (folder / PAIRS_FOLDER).mkdir(parents=True)
        replace_json(folder / DUET_FILE, record)
    except OSError as error:
        raise HarnessError(f"cannot write the duet's folder {folder}: {error.strerror}") from error
    return record


def _used(arm: Arm) -> ArmUsed:
    return ArmUsed(named=arm.named, build=arm.build, python=arm.python or "", folder=str(arm.folder))


def _order(seed: int, pair: int) -> tuple[Side, Side]:
    return ("a", "b") if _drawn(seed, pair, "order") % 2 == 0 else ("b", "a")


def _drawn(seed: int, pair: int, purpose: str) -> int:
    """A number for one purpose in one pair, by a keyed hash."""
    return int.from_bytes(blake2b(f"{seed}|{pair}|{purpose}".encode(), digest_size=8).digest()) >> (64 - SEED_BITS)


def _run_arm(duet: DuetPlan, pair: int, side: Side, folder: Path, listener: Listener, interrupt: Interrupt) -> Path:
    """One arm of one pair: one level, until enough workflows were ok, or for as long as was said."""
    arm = duet.a if side == "a" else duet.b
    scenario = duet.plan.scenario
    load = replace(only(scenario.load, duet.level), warmup=duet.warmup_s, until_ok=duet.workflows)
    if duet.measure_s is not None:
        load = replace(load, measure=duet.measure_s, until_ok=None)
    scenario = replace(scenario, load=load, seed=_drawn(duet.seed, pair, "load"), target=arm.target or scenario.target)
    plan = replace(duet.plan, scenario=scenario, levels=(duet.level,), reports=folder / PAIRS_FOLDER, arm=arm)
    return execute(replace(plan, limits_path=None), listener, interrupt)


def _note(folder: Path, run: ArmRun) -> None:
    with (folder / ARMS_FILE).open("ab") as file:
        file.write(msgspec.json.encode(run) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def command_of(
    a: str,
    b: str,
    scenario: str,
    level: str,
    pairs: int,
    seed: int,
    *,
    workflows: int = ARM_WORKFLOWS,
    further: Sequence[str] = (),
) -> str:
    """The command that runs the same duet again; `further` words are of other options."""
    words = ["harness", "duet", a, b, scenario, "--level", level, "--pairs", str(pairs), "--seed", str(seed)]
    return shlex.join([*words, *(["--workflows", str(workflows)] if workflows != ARM_WORKFLOWS else []), *further])
