"""The guardian: one small process a run that outlives the CLI by just long enough to end everything it started.

It reads one JSON line for every process, folder or other thing to remove it should know of, and acts at end of
file, which comes when the CLI closes the pipe or dies in any way, SIGKILL included. It then prints what it had to end
and what it could not remove: after a clean run, nothing. `python -m harness.guardian` is not for people.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import psutil

from harness.child import RUN_ID_VARIABLE

_ROUNDS_MAX = 20
_POLL_S = 0.02
_KILLED_S = 2.0
_GRACE_S = 3.0  # for programs that clean up when asked: PostgreSQL gives its shared memory back


@dataclass
class Register:
    """Everything the run told of."""

    processes: dict[int, tuple[float, int]] = field(default_factory=dict)  # pid -> create time, the signal it obeys
    folders: list[str] = field(default_factory=list)
    removals: list[dict[str, Any]] = field(default_factory=list)  # remove: "module:function", arguments, what

    def add(self, entry: dict[str, Any]) -> None:
        """Take in one line."""
        if "pid" in entry:
            self.processes[entry["pid"]] = (entry["created"], entry.get("signal", signal.SIGKILL))
        elif "folder" in entry:
            self.folders.append(entry["folder"])
        else:
            self.removals.append(entry)


def _registered(register: Register) -> list[psutil.Process]:
    """Those registered processes that are still the ones that were registered."""
    alive = []
    for pid, (created, _) in register.processes.items():
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


def _words(process: psutil.Process) -> str:
    return f"pid {process.pid}: {' '.join(process.cmdline())[:160]}"


def _ask_to_end(register: Register) -> list[str]:
    """Send each program the signal on which it cleans up, wake it if it was stopped, and wait a little."""
    asked, ended = [], []
    for process in filter(_running, _registered(register)):
        signum = register.processes[process.pid][1]
        if signum == signal.SIGKILL:
            continue
        try:
            ended.append(_words(process))
            for one in (signum, signal.SIGCONT):
                process.send_signal(one)
            asked.append(process)
        except psutil.NoSuchProcess:
            continue
    for child in [child for process in asked for child in _children(process)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.resume()  # a stopped backend would keep its postmaster waiting
    _wait(asked, _GRACE_S)
    return ended


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _end_all(run_id: str, register: Register) -> list[str]:
    """End them, look again, until nothing is left: a dying process may just have started another."""
    ended = _ask_to_end(register)
    for _ in range(_ROUNDS_MAX):
        left = {process.pid: process for process in (*_registered(register), *_carriers(run_id))}
        left = {pid: process for pid, process in left.items() if _running(process)}
        if not left:
            break
        for process in left.values():
            try:
                ended.append(_words(process))
                process.kill()
            except psutil.NoSuchProcess:
                continue
        _wait(left.values(), _KILLED_S)
    return list(dict.fromkeys(ended))


def _wait(processes: Iterable[psutil.Process], timeout_s: float) -> None:
    """Until all have ended, or the time is over. A zombie has ended: not everywhere does somebody collect orphans."""
    give_up = time.monotonic() + timeout_s
    while any(map(_running, processes)) and time.monotonic() < give_up:
        time.sleep(_POLL_S)


def _running(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _remove(removal: dict[str, Any]) -> list[str]:
    """Call the function a removal names; it tells what was still there."""
    module, _, name = removal["remove"].partition(":")
    found: list[str] = getattr(importlib.import_module(module), name)(**removal["arguments"])
    return found


def _clean(run_id: str, register: Register) -> tuple[list[str], list[str]]:
    """End and remove everything: what had to be ended, and what could not be removed."""
    failed = []
    ended = _end_all(run_id, register)
    for removal in register.removals:
        try:
            ended += _remove(removal)
        except Exception as error:  # noqa: BLE001 - whatever a client raises, the rest must still be removed
            # Only the error's kind: its message may hold what is secret in a URL.
            failed.append(f"{removal['what']} could not be removed: {type(error).__name__}")
    for folder in register.folders:
        shutil.rmtree(folder, ignore_errors=True)
    return ended, failed


def main() -> None:
    """Wait for the end of the run, then clean up."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    register = Register()
    for line in sys.stdin.buffer:
        register.add(json.loads(line))
    ended, failed = _clean(os.environ[RUN_ID_VARIABLE], register)
    try:
        words = {"ended": ended, "failed": failed, "at": time.time()}
        print(json.dumps(words), flush=True)  # noqa: T201 - its one line of output
    except BrokenPipeError:  # the CLI is gone, which is why we are here
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
