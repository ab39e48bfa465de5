"""A bench with real servers that faults may break."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.child import Children
from harness.run.faulting import LevelBench
from harness.service.service import ServiceSettings, provide

OWN = ServiceSettings(order=("embedded", "program"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LevelBench]:
    """Redis and PostgreSQL of our own; the target is a program that reads its input."""
    with Children("fault-tests", tmp_path_factory.mktemp("logs")) as children, ExitStack() as stack:
        running = {name: stack.enter_context(provide(name, OWN, children)) for name in ("redis", "postgres")}
        target = children.start_program("target", ["sleep", "600"], cwd=Path("/"))
        stack.callback(target.end, grace_s=1.0)
        yield LevelBench(
            seed=1,
            lease_s=20.0,
            namespace="harness_fault_1",
            children=children,
            running=running,
            target_pid=lambda: target.pid,
        )
    assert children.leftovers == ()
