"""A crew: a master and the workers that join it, all as real processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import pytest

from harness.load.control import Crew, Listening
from tests.load.conftest import PATIENCE_S, Bench, Driven, Worker, bench

__all__ = ["bench"]


class CrewBench:
    """A master of `bench`'s scenario, and its workers."""

    def __init__(self, bench: Bench, crew: Crew, prefix: Sequence[str] = (), port: int | None = None) -> None:
        config = msgspec.structs.replace(bench.config(), crew=crew, ports=() if port is None else (port,))
        self.master = Worker(bench, config, list(prefix), "harness.load.crew.master")
        listening = self.master.wait_for(lambda report: isinstance(report, Listening))
        assert isinstance(listening, Listening)
        self.host, self.port = listening.host, listening.port
        self.workers: list[subprocess.Popen[bytes]] = []

    def join(self, count: int, prefix: Sequence[str] = (), *, ours: bool = True) -> None:
        """So many workers come."""
        word = msgspec.json.encode({"host": self.host, "port": self.port, "ours": ours}) + b"\n"
        for _ in range(count):
            worker = subprocess.Popen(
                [*prefix, sys.executable, "-m", "harness.load.crew.joining"],
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            self.workers.append(worker)
            assert worker.stdin is not None
            worker.stdin.write(word)
            worker.stdin.flush()

    def finish(self, *, close_stdin: bool = False) -> Driven:
        """Wait for the end of the master, then of its workers, who are told to go."""
        driven = self.master.finish(close_stdin=close_stdin)
        for worker in self.workers:
            worker.wait(PATIENCE_S)
        return driven

    def end(self) -> None:
        """End what still runs."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait(PATIENCE_S)
            for pipe in (worker.stdin, worker.stderr):
                if pipe is not None:
                    pipe.close()


Start = Callable[..., CrewBench]


@pytest.fixture
def crew(bench: Bench) -> Iterator[Start]:
    """Starts the master of a crew; its workers are joined by hand."""
    started: list[CrewBench] = []

    def start(size: int, *, prefix: Sequence[str] = (), port: int | None = None, **fields: Any) -> CrewBench:
        here = {"here": size} | fields
        started.append(CrewBench(bench, Crew(**here), prefix, port))
        return started[-1]

    yield start
    for each in started:
        each.end()
