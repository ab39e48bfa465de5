"""Servers that are processes of our own: how one is started on a free port, held still, and ended."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
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


@dataclass(frozen=True, slots=True)
class ProcessServer(Running):
    """A server whose processes are ours; it can be held still."""

    pid: int = field(default=0, kw_only=True)

    def pause(self) -> None:
        """SIGSTOP to the whole tree, the parent first, until nothing new is found below it."""
        self._signal_tree(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT to the whole tree."""
        self._signal_tree(signal.SIGCONT)

    def died(self) -> str | None:
        """Why nothing can answer any more: it ended while we needed it. None while it lives."""
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
    service: str, start: Callable[[int], Child], url_of: Callable[[int], str]
) -> Iterator[tuple[Child, Address, str]]:
    """A started server that answers: the process, its address and version. Another port is tried when one is taken.

    `start` starts it on a port; `url_of` is its URL there.
    """
    for left in reversed(range(PORT_TRIES)):
        port = free_port()
        address = Address(LOOPBACK, port)
        child = start(port)
        try:
            version = wait_until_up(service, url_of(port), address, UP_S, died=partial(last_words, child))
        except ServiceUnavailable:
            child.wait(LAST_WORDS_S)  # whoever took the port may have answered before our server could say so
            child.end(grace_s=END_S)
            if left and _port_was_taken(child):
                continue
            raise
        except BaseException:
            child.end(grace_s=END_S)
            raise
        break
    try:
        yield child, address, version
    finally:
        child.end(grace_s=END_S)


def last_words(child: Child) -> str | None:
    """What a process that ended said last; None while it runs."""
    code = child.returncode()
    return None if code is None else child.with_last_words(f"{child.name} ended (exit {code})")


def _port_was_taken(child: Child) -> bool:
    text = child.log.read_text(errors="replace")
    return "Address already in use" in text[-4000:]
