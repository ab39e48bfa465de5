"""The guardian: one small process a run that outlives the CLI by just long enough to end everything it started.

It reads one JSON line for every process or folder it should know of, and acts at end of file, which comes when the
CLI closes the pipe or dies in any way, SIGKILL included. It then prints what it had to end: after a clean run,
nothing. `python -m harness.guardian` is not for people.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time

import psutil

from harness.child import RUN_ID_VARIABLE

_ROUNDS_MAX = 20


def _registered(pids: dict[int, float]) -> list[psutil.Process]:
    """Those registered processes that are still the ones that were registered."""
    alive = []
    for pid, created in pids.items():
        try:
            process = psutil.Process(pid)
            if abs(process.create_time() - created) < 1.0:
                alive.append(process)
        except psutil.NoSuchProcess:
            continue
    return alive


def _carriers(run_id: str) -> list[psutil.Process]:
    """Every process but this one whose environment carries the run's id; other users' are not ours to read."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(RUN_ID_VARIABLE) == run_id:
                found.append(process)
        except psutil.Error:
            continue
    return found


def _end_all(run_id: str, pids: dict[int, float]) -> list[str]:
    """End them, look again, until nothing is left: a dying process may just have started another."""
    ended: list[str] = []
    for _ in range(_ROUNDS_MAX):
        left = {process.pid: process for process in (*_registered(pids), *_carriers(run_id))}
        left = {pid: process for pid, process in left.items() if _running(process)}
        if not left:
            break
        for process in left.values():
            try:
                ended.append(f"pid {process.pid}: {' '.join(process.cmdline())[:160]}")
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(list(left.values()), timeout=2.0)
    return ended


def _running(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def main() -> None:
    """Wait for the end of the run, then clean up."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    pids: dict[int, float] = {}
    folders: list[str] = []
    for line in sys.stdin.buffer:
        entry = json.loads(line)
        if "pid" in entry:
            pids[entry["pid"]] = entry["created"]
        else:
            folders.append(entry["folder"])
    ended = _end_all(os.environ[RUN_ID_VARIABLE], pids)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    try:
        print(json.dumps({"ended": ended, "at": time.time()}), flush=True)  # noqa: T201 - its one line of output
    except BrokenPipeError:  # the CLI is gone, which is why we are here
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
