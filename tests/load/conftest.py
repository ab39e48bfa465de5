"""A peer to load, a scenario to load it with, and the load process itself, all as real processes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.load.control import Done, LoadConfig, LoadFailed, LoadReport, Stop
from harness.observation.journal import Damage, read_journal
from harness.observation.observation import JournalLine, Observation
from harness.scenario.scenario import Load, Scenario, Workflow

PEER = Path(__file__).parent / "peer.py"
PATIENCE_S = 60.0


class Peer:
    """A running `peer.py`; `end` stops it and returns what it knows."""

    def __init__(self, socket: str, t0: float, **switches: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PEER), json.dumps({"socket": socket, "t0": t0, **switches})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()
        self._process.wait(PATIENCE_S)

    def end(self) -> dict[str, Any]:
        """Its truth: {"ran": {id: {accepted, ended, submits, runs}}, "rejected": …, "in_flight_max": …, "kinds": …}."""
        out, _ = self._process.communicate(timeout=PATIENCE_S)
        truth: dict[str, Any] = json.loads(out)
        return truth


@dataclass
class Driven:
    """What a load process said and wrote."""

    exit_code: int
    reports: list[LoadReport]
    lines: list[JournalLine]
    stderr: str
    observations: list[Observation] = field(init=False)

    def __post_init__(self) -> None:
        self.observations = [line for line in self.lines if isinstance(line, Observation)]

    @property
    def done(self) -> Done:
        """The last report."""
        last = self.reports[-1]
        assert isinstance(last, Done), (last, self.stderr)
        return last

    @property
    def failed(self) -> LoadFailed:
        """The last report."""
        last = self.reports[-1]
        assert isinstance(last, LoadFailed), (last, self.stderr)
        return last

    def of(self, kind: type[Any]) -> list[Any]:
        """The journal lines of one type (Opened, PhaseMark, LoadCheck, Observation)."""
        return [line for line in self.lines if isinstance(line, kind)]

    def said(self, kind: type[Any]) -> list[Any]:
        """The reports of one type."""
        return [report for report in self.reports if isinstance(report, kind)]


class Worker:
    """A running load process."""

    def __init__(
        self, bench: Bench, config: LoadConfig, prefix: list[str], module: str = "harness.load.worker"
    ) -> None:
        self._bench = bench
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._reports: list[LoadReport] = []
        self.tell(config)

    @property
    def pid(self) -> int:
        """Of the load process."""
        return self._process.pid

    def tell(self, message: LoadConfig | Stop) -> None:
        """Write one line to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(message) + b"\n")
        self._process.stdin.flush()

    def wait_for(self, wanted: Callable[[LoadReport], bool]) -> LoadReport:
        """The first report that is wanted."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._reports.append(msgspec.json.decode(line, type=LoadReport))
            if wanted(self._reports[-1]):
                return self._reports[-1]
        raise AssertionError(f"it ended first: {self._reports}")

    def finish(self, *, close_stdin: bool = False) -> Driven:
        """Wait for its end. Its standard input stays open unless told, as the CLI's does."""
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        if close_stdin:
            self._process.stdin.close()
        for line in self._process.stdout:
            self._reports.append(msgspec.json.decode(line, type=LoadReport))
        stderr = self._process.stderr.read().decode()
        code = self._process.wait(PATIENCE_S)
        if not close_stdin:
            self._process.stdin.close()
        return Driven(code, self._reports, self._bench.journal(), stderr)


class Bench:
    """A run folder with a scenario, and what is started in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.t0 = time.monotonic()
        self._sockets = 0
        self._peers: list[Peer] = []
        self.socket = ""
        self.scenario: Scenario | None = None

    def peer(self, *, socket: str | None = None, **switches: Any) -> Peer:
        """Start a peer; later load goes to it."""
        self._sockets += 1
        self.socket = socket or str(self.folder / f"{self._sockets}.sock")
        peer = Peer(self.socket, self.t0, **switches)
        self._peers.append(peer)
        return peer

    def write(self, load: Load, **fields: Any) -> None:
        """Write the scenario; one kind of the shape `sequential` where none is given."""
        given = {"workflow": (Workflow(kind="simple", shape="sequential", deadline=5.0),), **fields}
        self.scenario = Scenario(name="test", description="", load=load, **given)
        (self.folder / "scenario.json").write_bytes(msgspec.json.encode(self.scenario))

    def config(self, level: str | None = None) -> LoadConfig:
        """What a load process is told."""
        assert self.scenario is not None
        label = level or self.scenario.load.levels[0].label
        return LoadConfig(
            run_dir=str(self.folder),
            level=label,
            t0=self.t0,
            sockets=(self.socket,) if self.socket else (),
            scenario_dir=str(self.folder),
        )

    def worker(self, level: str | None = None, *, prefix: list[str] | None = None) -> Worker:
        """Start a load process."""
        return Worker(self, self.config(level), prefix or [])

    def drive(self, load: Load, **fields: Any) -> Driven:
        """Write the scenario and drive its first level to the end."""
        self.write(load, **fields)
        return self.worker().finish()

    def journal(self) -> list[JournalLine]:
        """Every line of the journal, which must not be damaged."""
        path = self.folder / "journal.jsonl"
        if not path.exists():
            return []
        damage = Damage()
        lines = list(read_journal(path, damage))
        assert damage.unreadable == 0
        return lines

    def end(self) -> None:
        """End what still runs."""
        for peer in self._peers:
            peer.kill()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A fresh run folder with a short path, because socket paths end at 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="hl-"))
    bench = Bench(folder)
    yield bench
    bench.end()
    shutil.rmtree(folder)
