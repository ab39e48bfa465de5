"""The processes that serve a target, one after the other."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from harness.child import Children
from harness.errors import TargetUnavailable
from harness.orchestrator.crash import FILE, CrashOrder
from harness.run.hosting import Hosting
from harness.target.target import HostConfig

TARGET = """
class Idle:
    def __init__(self, options): pass
    async def start(self, services): pass
    async def run(self, request, watch): pass
    async def stop(self): pass
"""
WAIT_S = 20.0


def test_a_process_that_paused_itself_at_last_ends_in_order() -> None:
    """Nobody looked since: it is woken to end by itself, and need not be killed."""
    with tempfile.TemporaryDirectory() as folder, Children("test-hosting", Path(folder) / "logs") as children:
        (Path(folder) / "idle.py").write_text(TARGET)
        config = HostConfig(
            run_id="test-hosting",
            t0=time.monotonic(),
            socket=str(Path(folder) / "host.sock"),
            target="idle:Idle",
            options={},
            import_from=folder,
        )
        hosting = Hosting(
            children, "target", level="1", run_dir=Path(folder), t0=0.0, orders=(), config=lambda _: config
        )
        os.kill(hosting.host.pid, signal.SIGSTOP)
        latest = time.monotonic() + WAIT_S
        while psutil.Process(hosting.host.pid).status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < latest
            time.sleep(0.01)
        hosting.end()
        assert hosting.host.returncode() == 0


DYING = """
import os, signal, time
from pathlib import Path
from harness.orchestrator.crash import CrashOrder, CrashPoints

class Dying:
    def __init__(self, options): self.options = options
    async def start(self, services):
        if self.options["says"]:
            order = CrashOrder(point="before_claim", how="kill", after_s=0.0)
            path = Path(self.options["says"])
            CrashPoints(order, path=path, level="1", t0=0.0, clock=time.monotonic).passed("before_claim")
        if self.options["dies"]:
            os.kill(os.getpid(), signal.SIGKILL)
    async def run(self, request, watch): pass
    async def stop(self): pass
"""


@pytest.mark.parametrize("says", [True, False])
def test_a_process_that_is_killed_at_its_point_before_it_serves_has_a_successor(says: bool, tmp_path: Path) -> None:
    """As many as there are orders; one that dies of something else is not replaced."""
    (tmp_path / "dying.py").write_text(DYING)
    told: list[CrashOrder | None] = []
    order = CrashOrder(point="before_claim", how="kill", after_s=0.0)

    def config(crash: CrashOrder | None) -> HostConfig:
        told.append(crash)
        options = {"says": str(tmp_path / FILE) if crash and says else "", "dies": crash is not None}
        return HostConfig(
            run_id="test-hosting",
            t0=0.0,
            socket=str(Path(folder) / "host.sock"),
            target="dying:Dying",
            options=options,
            import_from=str(tmp_path),
        )

    with tempfile.TemporaryDirectory() as folder, Children("test-hosting", tmp_path / "logs") as children:

        def hosted() -> Hosting:
            return Hosting(
                children, "target", level="1", run_dir=tmp_path, t0=0.0, orders=(order, order), config=config
            )

        if says:
            hosting = hosted()
            assert told == [order, order, None]
            assert hosting.look() is None
            hosting.end()
        else:
            with pytest.raises(TargetUnavailable, match="before it was ready"):
                hosted()
            assert told == [order]
