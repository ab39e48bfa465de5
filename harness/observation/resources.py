"""`resources.jsonl`: CPU and memory of the target's process tree and of the load process, ten times a second.
Twice a second, what the whole machine does.

Sampled from the CLI process, by psutil, on the run's clock. CPU seconds come from each process's own CPU clock where
the kernel has one (Linux): psutil's 10 ms ticks are 3 % off over 100 ms, the clock 0.07 %.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
import psutil

from harness.observation.neighbours import MachineWatch
from harness.observation.observation import HostUse, ProcessUse, ResourceSample
from harness.observation.together import hosts_together, processes_together

SAMPLE_S = 0.1
TREE_S = 1.0  # finding children costs 3 ms, a sample of known ones 0.1 ms
DETAIL_S = 2.0  # USS and PSS walk the page tables: 10 ms for 500 MiB


def cpu_seconds(process: psutil.Process) -> float:
    """User and system CPU time of one process since it began, in seconds."""
    if sys.platform.startswith("linux"):
        # clock_getcpuclockid(3): the clock id of a process is its pid's complement with the CPU clock's low bits.
        try:
            return time.clock_gettime_ns(((~process.pid) << 3) | 2) / 1e9
        except OSError:
            raise psutil.NoSuchProcess(process.pid) from None
    times = process.cpu_times()
    return float(times.user + times.system)


class TreeWatch:
    """The resource use of a process and its descendants. CPU of ended ones is kept as last seen."""

    def __init__(self, root_pid: int) -> None:
        self._root = psutil.Process(root_pid)
        self._known: dict[int, psutil.Process] = {root_pid: self._root}
        self._next_root: int | None = None
        self._cpu_s: dict[tuple[int, float], float] = {}
        self._next_tree = 0.0
        self._next_detail = 0.0

    def follow(self, root_pid: int) -> None:
        """From the next sample on, the tree is the one of this process, too: a successor of the root."""
        self._next_root = root_pid

    def _change_root(self, pid: int) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):  # it is gone already, and its own successor will be told
            self._root = self._known[pid] = psutil.Process(pid)
            self._next_tree = self._next_detail = 0.0

    def sample(self, now: float) -> ProcessUse | None:
        """Sums over the tree; None once the root is gone. `now` decides when the costly parts are due (s)."""
        if self._next_root is not None:
            pid, self._next_root = self._next_root, None
            self._change_root(pid)
        if now >= self._next_tree:
            self._next_tree = now + TREE_S
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in self._root.children(recursive=True):
                    self._known.setdefault(child.pid, child)
        detailed = now >= self._next_detail
        if detailed:
            self._next_detail = now + DETAIL_S
        uses = []
        for pid, process in list(self._known.items()):
            try:
                uses.append(self._one(process, detailed=detailed))
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                del self._known[pid]
        if self._root.pid not in self._known:
            return None
        return ProcessUse(
            cpu_s=sum(self._cpu_s.values()),
            rss_bytes=sum(use.rss_bytes for use in uses),
            fds=sum(use.fds for use in uses),
            threads=sum(use.threads for use in uses),
            switches_voluntary=sum(use.switches_voluntary for use in uses),
            switches_involuntary=sum(use.switches_involuntary for use in uses),
            processes=len(uses),
            uss_bytes=sum(use.uss_bytes or 0 for use in uses) if detailed else None,
            pss_bytes=sum(use.pss_bytes or 0 for use in uses) if detailed else None,
        )

    def _one(self, process: psutil.Process, *, detailed: bool) -> ProcessUse:
        with process.oneshot():
            cpu_s = cpu_seconds(process)
            self._cpu_s[process.pid, process.create_time()] = cpu_s
            switches = process.num_ctx_switches()
            full = None
            if detailed:
                with contextlib.suppress(psutil.AccessDenied):
                    full = process.memory_full_info()
            return ProcessUse(
                cpu_s=cpu_s,
                rss_bytes=process.memory_info().rss,
                fds=process.num_fds(),
                threads=process.num_threads(),
                switches_voluntary=switches.voluntary,
                switches_involuntary=switches.involuntary,
                processes=1,
                uss_bytes=getattr(full, "uss", None),
                pss_bytes=getattr(full, "pss", None),
            )


class HostAsk:
    """Asks the target host for its own view, over its own connection, which is made anew when it was lost."""

    def __init__(self, path: str, timeout_s: float = 1.0) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None

    def use(self) -> HostUse | None:
        """None when the host is gone or too busy to answer in time."""
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX)
                self._socket.settimeout(self._timeout_s)
                self._socket.connect(self._path)
            self._socket.sendall(b'{"type":"stats"}\n')
            return msgspec.json.decode(self._line(), type=_StatsLine).use
        except (OSError, msgspec.DecodeError):
            self.close()
            return None

    def close(self) -> None:
        """Hang up: an answer that is late must not be taken for the next one's."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _line(self) -> bytes:
        assert self._socket is not None
        line = b""
        while not line.endswith(b"\n"):
            chunk = self._socket.recv(65536)
            if not chunk:
                raise ConnectionError("the host hung up")
            line += chunk
        return line


class _StatsLine(msgspec.Struct):
    use: HostUse


class ResourceSampler:
    """Samples one level in a thread of its own, from `start` to `stop`, appending to `path`.

    What works for the run is this process's whole tree and the target, wherever it was started. `elsewhere`: so do
    others that cannot be seen, as a server in a container; then, as without a target's process, nobody can tell the
    run's CPU from others'.
    """

    def __init__(
        self,
        path: Path,
        *,
        level: str,
        t0: float,
        target_pids: Sequence[int],
        load_pid: int,
        socket_paths: Sequence[str] = (),
        llm_pid: int | None = None,
        elsewhere: bool = False,
    ) -> None:
        self._path = path
        self._level = level
        self._t0 = t0
        self._targets = [TreeWatch(pid) for pid in target_pids]
        self._load = TreeWatch(load_pid)
        self._llm = TreeWatch(llm_pid) if llm_pid is not None else None
        self._machine = MachineWatch(
            [os.getpid(), load_pid, *target_pids], sees_all=bool(target_pids) and not elsewhere
        )
        self._socket_paths = socket_paths
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="resources", daemon=True)
        self.latest: ResourceSample | None = None
        self.error: OSError | None = None

    def follow(self, target_pid: int) -> None:
        """The target's process was replaced by this one; of several, the first."""
        if self._targets:
            self._targets[0].follow(target_pid)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take no more samples; returns when the last one is written. A failure is in `error`."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        hosts = [HostAsk(path) for path in self._socket_paths]
        try:
            with self._path.open("ab") as file:
                due = time.monotonic()
                while not self._stop.is_set():
                    self._write(file, hosts)
                    due = max(due + SAMPLE_S, time.monotonic())
                    self._stop.wait(due - time.monotonic())
        except OSError as error:
            self.error = error
        finally:
            for host in hosts:
                host.close()

    def _write(self, file: BinaryIO, hosts: Sequence[HostAsk]) -> None:
        now = time.monotonic()
        sample = ResourceSample(
            level=self._level,
            at=now - self._t0,
            target=processes_together([target.sample(now) for target in self._targets]),
            load=self._load.sample(now),
            host=hosts_together([host.use() for host in hosts]),
            llm=self._llm.sample(now) if self._llm else None,
            machine=self._machine.sample(now),
        )
        self.latest = sample
        file.write(msgspec.json.encode(sample) + b"\n")
        file.flush()


def find_process(*, pid: int | None = None, port: int | None = None, command: str | None = None) -> int | None:
    """The pid a scenario's `[watch]` names: itself, the listener on a port, or the oldest command line match."""
    if pid is not None:
        return pid if psutil.pid_exists(pid) else None
    if port is not None:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,) and connection.pid:
                return connection.pid
        return None
    ours = {process.pid for process in (psutil.Process(), *psutil.Process().parents())}
    matches = [
        process
        for process in psutil.process_iter(["cmdline", "create_time"])
        if process.pid not in ours and command and command in " ".join(process.info["cmdline"] or ())
    ]
    return min(matches, key=lambda process: process.info["create_time"]).pid if matches else None
