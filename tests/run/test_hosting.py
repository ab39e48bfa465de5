"""The processes that serve a target, one after the other."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

import psutil

from harness.child import Children
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
