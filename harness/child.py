"""Starting and ending child processes so that nothing outlives a run.

Three nets, one below the other: the owner ends its children (`Children.__exit__`); if the owner dies, even by
SIGKILL, the guardian (`guardian.py`) sees its pipe close and ends what is registered or carries this run's id in its
environment; and on Linux a child asks the kernel to be told when its parent dies (`die_with_parent`).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pwd
import select
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import psutil

from harness.errors import HarnessError

RUN_ID_VARIABLE = "HARNESS_RUN_ID"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent: int, *, signum: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel for `signum` when the parent's starting thread ends; a no-op where there is no prctl.

    Called by the child itself, in its main thread. `parent` is the pid it was started by: if that is gone already,
    the signal would never come, so the process ends here.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signum)
    if os.getppid() != parent:
        os.kill(os.getpid(), signum)


def first_line() -> bytes:
    """The line on standard input by which a child is told what to do; it ends here when there is none.

    Unbuffered: what follows the line belongs to the loop's reader.
    """
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit("no configuration on standard input")
        line += byte
    return line


def allow_many_files() -> None:
    """Take as many open files as the system lets us have: a connection is one."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Child:
    """One started process. Its standard error goes to `log`.

    Our own modules end when their input does; a program (`Children.start_program`) is asked by its `stop_signal`.
    """

    def __init__(
        self, name: str, process: subprocess.Popen[bytes], log: Path, stop_signal: signal.Signals | None = None
    ) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._stop_signal = stop_signal

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def returncode(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._process.poll()

    def tell(self, line: bytes) -> None:
        """Write one line to its standard input; a child that died is not an error here, its exit code tells."""
        with contextlib.suppress(BrokenPipeError):
            self.stdin.write(line + b"\n")
            self.stdin.flush()

    def wait(self, timeout_s: float) -> int | None:
        """Its exit code, or None when it still runs after `timeout_s`."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def end(self, *, grace_s: float) -> None:
        """Ask it to end, wait, ask it again by SIGTERM, then SIGKILL. A stopped program is woken. Idempotent."""
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        if self._stop_signal is not None and self.returncode() is None:
            self._process.send_signal(self._stop_signal)
            self._wake()
        if self.wait(grace_s) is None:
            self._process.terminate()
            if self.wait(grace_s) is None:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _wake(self) -> None:
        """SIGCONT to its whole tree: one that was held still would hear nothing, nor would its children."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in (psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    def with_last_words(self, what: str, lines: int = 8) -> str:
        """An error message, with the end of what the process wrote to its log, if it wrote any."""
        text = self.log.read_text(errors="replace").rstrip()
        return "\n".join([f"{what}:" if text else what, *text.splitlines()[-lines:]])


class Children:
    """Everything one run starts. Leaving the context ends all of it and audits that nothing is left."""

    def __init__(self, run_id: str, log_dir: Path, *, hidden: Collection[str] = ()) -> None:
        self._run_id = run_id
        self._hidden = frozenset(hidden)  # variables of our environment that no child is handed
        self._log_dir = log_dir
        self._children: list[Child] = []
        self._guardian: subprocess.Popen[bytes] | None = None
        self.leftovers: tuple[str, ...] = ()
        self.unremoved: tuple[str, ...] = ()  # what a registered removal could not take away, and why

    @property
    def run_id(self) -> str:
        """What marks everything that is ours."""
        return self._run_id

    def __enter__(self) -> Children:
        self._log_dir.mkdir(parents=True, exist_ok=True)
        self._guardian = subprocess.Popen(
            [sys.executable, "-m", "harness.guardian"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment(),
            start_new_session=True,  # Ctrl-C at the terminal is the owner's to handle
        )
        return self

    def start(
        self,
        name: str,
        module: str,
        *,
        first_line: bytes | None = None,
        extra_env: dict[str, str] | None = None,
        python: str | None = None,
    ) -> Child:
        """Run `python -m module` and register it with the guardian; its first line it may also be told later.

        Another `python` than ours has its own packages: it must not find ours, or the user's working tree, in the
        current folder or by PYTHONPATH.
        """
        interpreter = [sys.executable] if python is None else [python, "-P"]
        paths = {} if python is None else {"PYTHONPATH": ""}
        log = self._log_dir / f"{name}.log"
        with log.open("ab") as stderr:
            process = subprocess.Popen(
                [*interpreter, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=self._environment() | (extra_env or {}) | paths,
                start_new_session=True,
            )
        self.register_pid(process.pid)
        child = Child(name, process, log)
        self._children.append(child)
        if first_line is not None:
            child.tell(first_line)
        return child

    def start_program(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        stop_signal: signal.Signals = signal.SIGTERM,
        first_input: bytes = b"",
        user: str | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Child:
        """Run any program as `user` (None: as we are), its output to `logs/`, and register it with the guardian.

        `first_input` is all it ever reads: credentials go there, never on a command line. `env` is added to ours.
        """
        log = self._log_dir / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(word) for word in argv],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env=self._environment() | dict(env or {}),
                user=user,
                group=pwd.getpwnam(user).pw_gid if user else None,
                extra_groups=[] if user else None,
                start_new_session=True,
            )
        self.register_pid(process.pid, stop_signal)
        child = Child(name, process, log, stop_signal)
        self._children.append(child)
        with contextlib.suppress(BrokenPipeError):  # it ended already; its exit code tells
            child.stdin.write(first_input)
            child.stdin.close()
        return child

    def register_pid(self, pid: int, stop_signal: signal.Signals = signal.SIGKILL) -> None:
        """The guardian ends this process, too; the create time keeps it from ending a stranger with the same pid."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._tell({"pid": pid, "created": psutil.Process(pid).create_time(), "signal": int(stop_signal)})

    def register_removal(self, what: str, remove: str, **arguments: str) -> None:
        """The guardian calls `remove` ("module:function") with these arguments when every process has ended.

        The function returns what was still there and should not have been. `what` names it, without credentials.
        """
        self._tell({"remove": remove, "arguments": arguments, "what": what})

    def register_folder(self, folder: Path) -> None:
        """The guardian removes this folder at the end."""
        self._tell({"folder": str(folder)})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._children):
            child.end(grace_s=5.0)
        assert self._guardian is not None
        assert self._guardian.stdin is not None
        assert self._guardian.stdout is not None
        self._guardian.stdin.close()
        with self._guardian.stdout as words:
            line = words.read()
        self._guardian.wait()
        report = json.loads(line) if line else None
        if report is None:
            self.leftovers = ("the guardian itself, which had died before it could look",)
        else:
            self.leftovers, self.unremoved = tuple(report["ended"]), tuple(report["failed"])

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in self._hidden}
        return inherited | {RUN_ID_VARIABLE: self._run_id, "PYTHONUNBUFFERED": "1"}

    def _tell(self, entry: dict[str, object]) -> None:
        assert self._guardian is not None
        assert self._guardian.stdin is not None
        try:
            self._guardian.stdin.write(json.dumps(entry).encode() + b"\n")
            self._guardian.stdin.flush()
        except BrokenPipeError:
            raise HarnessError("the guardian process died; without it a run could leave processes behind") from None


def expect_line(child: Child, timeout_s: float) -> bytes:
    """The next line of its output. Raises HarnessError when it ends or stays silent for `timeout_s`."""
    ready, _, _ = select.select([child.stdout], [], [], timeout_s)
    line = child.stdout.readline() if ready else b""
    if line:
        return line
    if ready:
        code = child.wait(5.0)
        raise HarnessError(child.with_last_words(f"{child.name} ended (exit {code}) before it was ready"))
    raise HarnessError(child.with_last_words(f"{child.name} was not ready after {timeout_s:g} s"))
