"""A bench with real servers and a real target that faults may break."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.child import Children
from harness.run.faulting import LevelBench
from harness.run.hosting import Hosting
from harness.service.service import ServiceSettings, provide
from harness.target.target import HostConfig

OWN = ServiceSettings(order=("embedded", "program"))
TARGET = """
class Idle:
    def __init__(self, options): pass
    async def start(self, services): pass
    async def run(self, request, watch): pass
    async def stop(self): pass
"""


@pytest.fixture(scope="module")
def hosting() -> Iterator[Hosting]:
    """A target that does nothing, served by its host."""
    with tempfile.TemporaryDirectory() as folder, Children("fault-targets", Path(folder) / "logs") as children:
        (Path(folder) / "idle.py").write_text(TARGET)
        config = HostConfig(
            run_id="fault-targets",
            t0=time.monotonic(),
            socket=str(Path(folder) / "host.sock"),
            target="idle:Idle",
            options={},
            import_from=folder,
        )
        serving = Hosting(
            children, "target", level="1", run_dir=Path(folder), t0=config.t0, orders=(), config=lambda _: config
        )
        yield serving
        serving.end()
    assert children.leftovers == ()


@pytest.fixture(scope="module")
def bench(hosting: Hosting, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LevelBench]:
    """Redis and PostgreSQL of our own, and that target."""
    with Children("fault-tests", tmp_path_factory.mktemp("logs")) as children, ExitStack() as stack:
        running = {name: stack.enter_context(provide(name, OWN, children)) for name in ("redis", "postgres")}
        yield LevelBench(
            seed=1,
            lease_s=20.0,
            namespace="harness_fault_1",
            children=children,
            running=running,
            hosting=hosting,
        )
    assert children.leftovers == ()
