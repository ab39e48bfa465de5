"""Servers that are processes of our own: how one is started on a free port, held still, and ended."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from harness.child import Child, Children
from harness.errors import ServiceUnavailable
from harness.service.address import LOOPBACK, Address, free_port
from harness.service.asking import wait_until_up
from harness.service.service import Running

UNPRIVILEGED = "nobody"
PORT_TRIES = 5
UP_S = 30.0
END_S = 5.0
LAST_WORDS_S = 1.0
_TREE_ROUNDS = 10


class Lives:
    """A server's process and its successors, one after the other on the same port. Blocking.

    `start` starts one on a port; `url_of` is its URL there; `data` is a folder that holds nothing but its data.
    """

    def __init__(
        self,
        service: str,
        port: int,
        start: Callable[[int], Child],
        url_of: Callable[[int], str],
        data: Path | None = None,
    ) -> None:
        self.address = Address(LOOPBACK, port)
        self.is_down = False  # because it was killed here
        self._service = service
        self._url = url_of(port)
        self._start = start
        self._data = data
        self._held: socket.socket | None = None
        self.child = start(port)
        self.version = self._wait()

    @property
    def pid(self) -> int:
        """Of the process that serves, or served last."""
        return self.child.pid

    def kill(self, signum: signal.Signals = signal.SIGKILL) -> None:
        """End it by this signal and wait for its end. Nobody else gets its port. Raises ServiceUnavailable."""
        self.is_down = True
        if self.child.returncode() is None:
            os.kill(self.child.pid, signum)
        if self.child.wait(END_S) is None:
            raise ServiceUnavailable(f"the {self._service} server (pid {self.pid}) outlives {signum.name}")
        self.child.end(grace_s=END_S)
        if self._held is None:
            self._held = _held_port(self.address)

    def start_again(self, *, empty: bool = False) -> None:
        """A successor that answers, unless there is one; `empty`: without the data. Raises ServiceUnavailable."""
        if not self.is_down:
            return
        if empty:
            assert self._data is not None, "nothing else could be taken from it"
            shutil.rmtree(self._data, ignore_errors=True)
            self._data.mkdir()
        self.child = self._start(self.address.port)
        self.version = self._wait()
        self._let_go()
        self.is_down = False

    def end(self) -> None:
        """For good. Idempotent."""
        self.child.end(grace_s=END_S)
        self._let_go()

    def _wait(self) -> str:
        """Its version, once it answers."""
        child = self.child
        try:
            return wait_until_up(self._service, self._url, self.address, UP_S, died=partial(last_words, child))
        except ServiceUnavailable:
            child.wait(LAST_WORDS_S)  # whoever took the port may have answered before our server could say so
            child.end(grace_s=END_S)
            raise
        except BaseException:
            child.end(grace_s=END_S)
            raise

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.close()


def _held_port(address: Address) -> socket.socket:
    """Bound and not listening: connections are refused, nobody is given the port, and a server that reuses it may."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        held.bind((address.host, address.port))
    except OSError as error:
        held.close()
        raise ServiceUnavailable(f"somebody else took {address} at once: {error.strerror}") from None
    return held


@dataclass(frozen=True, slots=True)
class ProcessServer(Running):
    """A server whose processes are ours; it can be held still, and killed and started again where it has `lives`."""

    first_pid: int = field(default=0, kw_only=True)
    lives: Lives | None = field(default=None, repr=False, kw_only=True)

    @property
    def pid(self) -> int:
        """Of the process that serves now, or served last."""
        return self.first_pid if self.lives is None else self.lives.pid

    def pause(self) -> None:
        """SIGSTOP to the whole tree, the parent first, until nothing new is found below it."""
        self._signal_tree(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT to the whole tree."""
        self._signal_tree(signal.SIGCONT)

    def died(self) -> str | None:
        """Why nothing can answer any more: it ended while we needed it. None while it lives, or was killed by us."""
        if self.lives is not None and self.lives.is_down:
            return None
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE:
                return None
        return f"the {self.used.service} server that we started (pid {self.pid}) ended; its log is in the run's logs"

    def _signal_tree(self, signum: signal.Signals) -> None:
        told: set[int] = set()
        for _ in range(_TREE_ROUNDS):
            try:
                root = psutil.Process(self.pid)
                tree = [process for process in (root, *root.children(recursive=True)) if process.pid not in told]
            except psutil.NoSuchProcess:
                raise ServiceUnavailable(f"the {self.used.service} server (pid {self.pid}) is gone") from None
            if not tree:
                return
            for process in tree:
                told.add(process.pid)
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signum)


def unprivileged_user() -> str | None:
    """The user to run servers as that refuse to be root; None when we are not root ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise ServiceUnavailable(f"root may not run this server, and there is no user {UNPRIVILEGED!r}") from None
    return UNPRIVILEGED


@contextmanager
def data_folder(children: Children, service: str, user: str | None) -> Iterator[Path]:
    """A temporary folder that belongs to `user`, removed at the end, also when we are killed.

    Its parents keep their permissions: one that `user` cannot reach is not used.
    """
    for place in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):
        if os.path.isdir(place) and (user is None or may_run(["test", "-x", place], user)):
            break
    else:
        raise ServiceUnavailable(f"user {user!r} can reach no temporary folder; set TMPDIR to one that anybody can")
    folder = Path(tempfile.mkdtemp(prefix=f"harness-{service}-", dir=place))
    children.register_folder(folder)
    try:
        if user is not None:
            own(folder, user)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def package_folder(package: str) -> Path | None:
    """Where a wheel's files are, without importing it; None when it is not installed."""
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None


def own(path: Path, user: str) -> None:
    """Give one file or folder of ours to `user`."""
    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)


def may_run(argv: Sequence[str | Path], user: str | None) -> bool:
    """Whether `user` can run this; it must be quick and harmless."""
    return run_quietly(argv, user) is not None


def run_quietly(argv: Sequence[str | Path], user: str | None = None) -> str | None:
    """What a quick program prints, or None when it fails or cannot be run by `user`."""
    group = pwd.getpwnam(user).pw_gid if user else None
    try:
        done = subprocess.run(
            [str(word) for word in argv],
            cwd="/",
            user=user,
            group=group,
            extra_groups=[] if user else None,
            capture_output=True,
            text=True,
            timeout=10.0,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@contextmanager
def listening(
    service: str, start: Callable[[int], Child], url_of: Callable[[int], str], data: Path | None = None
) -> Iterator[Lives]:
    """A started server that answers. Another port is tried when one is taken. The words of `Lives`."""
    logs: list[Path] = []

    def start_noting(port: int) -> Child:
        child = start(port)
        logs.append(child.log)
        return child

    for left in reversed(range(PORT_TRIES)):
        try:
            lives = Lives(service, free_port(), start_noting, url_of, data)
        except ServiceUnavailable:
            if left and _port_was_taken(logs[-1]):
                continue
            raise
        break
    try:
        yield lives
    finally:
        lives.end()


def last_words(child: Child) -> str | None:
    """What a process that ended said last; None while it runs."""
    code = child.returncode()
    return None if code is None else child.with_last_words(f"{child.name} ended (exit {code})")


def _port_was_taken(log: Path) -> bool:
    text = log.read_text(errors="replace")
    return "Address already in use" in text[-4000:]
