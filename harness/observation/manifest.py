"""`run.json`: what a run was, so that its files can be judged years later on another machine."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from harness.errors import RunInvalid
from harness.observation.build import Build
from harness.observation.json_file import replace_json
from harness.observation.observation import SCHEMA_VERSION

FILE = "run.json"

LevelStatus = Literal[
    "complete", "target_died", "target_unavailable", "interrupted", "budget_spent", "replay_ended", "harness_failed"
]
"""`budget_spent`: the next call to a real model could have passed the cap on cost; `replay_ended`: a call was made that
the recording holds nothing like. Both end the level early."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where the run was measured."""

    system: str
    cpu: str
    cores: int
    memory_bytes: int
    python: str
    versions: dict[str, str]  # of the packages that carry the measurement
    architecture: str = ""
    libc: str = ""
    hypervisor: str = ""  # who made the virtual machine; empty: none is known
    quota_cores: float | None = None  # CPU that the control group allows; None: no quota


class ServiceUsed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A real server that a run used, and where it came from. Never holds credentials."""

    service: str  # redis | postgres
    provider: str  # url | container | embedded | program
    version: str
    address: str  # host and port
    detail: str = ""  # the image and its digest, the program's path
    passed_over: tuple[str, ...] = ()  # the providers tried before it, each with the reason why not


class LevelEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How one level ended. `message` says why when it is not `complete`."""

    level: str
    status: LevelStatus
    message: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Written when a run starts and again when it ends; `finished` is False in a run that was killed."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    scenario: str
    target: str
    seed: int
    started_at: str  # ISO 8601, UTC
    command: str  # repeats the run
    levels: tuple[str, ...]  # labels, in the order they run
    machine: Machine
    t0: float  # the run's zero on the machine's monotonic clock
    load_processes: int = 1
    state: str = "memory"  # where the embedded orchestrator kept its state
    services: tuple[ServiceUsed, ...] = ()
    build: Build = Build()
    llm: str = ""  # what answered calls to models: simulated, live, replay; empty: there was none
    witness: bool = False  # one ran, so its ledger must be there and whole
    sizes: dict[str, int] = {}  # of the files of lines when the run ended, in bytes: what is shorter now was cut
    unremoved: tuple[str, ...] = ()  # what was ours and could not be taken away, like documents in a server that died
    finished: bool = False
    ended: tuple[LevelEnd, ...] = ()

    def write(self, run_dir: Path) -> None:
        """Write the run's manifest, or replace it."""
        replace_json(run_dir / FILE, self)


def sizes_of(run_dir: Path) -> dict[str, int]:
    """File -> bytes, of everything that was measured."""
    return {path.name: path.stat().st_size for path in sorted(run_dir.glob("*.jsonl"))}


def read_manifest(run_dir: Path) -> Manifest:
    """The run's manifest. Raises RunInvalid when it is not a run of a version this harness reads."""
    try:
        manifest = msgspec.json.decode((run_dir / FILE).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise RunInvalid(f"{run_dir} is not a run: it has no {FILE}") from None
    except msgspec.DecodeError as error:
        raise RunInvalid(f"{run_dir / FILE} cannot be read: {error}") from None
    if manifest.schema_version != SCHEMA_VERSION:
        raise RunInvalid(
            f"{run_dir / FILE} has schema version {manifest.schema_version}; this harness reads {SCHEMA_VERSION}"
        )
    return manifest
