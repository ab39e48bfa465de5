"""The command is killed in the middle of its faults, and nothing stays: no process, socket, key, schema or backend."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import redis

SCENARIO = """
name = "broken"
description = "everything is broken for as long as it lasts"
[load]
closed = [5]
warmup = "200 ms"
measure = "60 s"
drain = "5 s"
[state]
store = "both"
[[workflow]]
kind = "job"
shape = "sequential"
[agent.triage]
work = { wait = "20 ms", effect = true }
[agent.data]
work = { wait = "20 ms" }
[agent.optimization]
work = { wait = "20 ms", effect = true }
"""
FAULT = '[[fault]]\nkind = "{}"\nat = "{} ms"\nfor = "55 s"\n'
WAY = ('redis.slow"\nlatency = "5 ms', 'postgres.slow"\nlatency = "5 ms', "target.freeze", "machine.cpu")
OWN = ("redis.freeze", "postgres.lock")
PATIENCE_S = 30.0


def bitten(folder: Path, faults: int, command: subprocess.Popen[bytes]) -> Path:
    """The folder of the run, once so many faults have bitten."""
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up and command.poll() is None:
        for path in (folder / "reports").glob("*/faults.jsonl"):
            if path.read_bytes().count(b'"bit"') >= faults:
                return path.parent
        time.sleep(0.05)
    command.kill()
    raise AssertionError(f"the faults did not bite: {command.communicate()}")


class Killed(NamedTuple):
    """What the run of a command that was killed had while it lived."""

    temporary: Path  # its folder for temporary files
    shared: set[str]  # segments of shared memory that its processes had mapped


def killed_amid(folder: Path, faults: tuple[str, ...], *words: str) -> Killed:
    """Run the scenario with these faults, and kill the command when all act. Its processes are gone by then."""
    path, temporary = folder / "broken.toml", Path(tempfile.mkdtemp(prefix="residue-"))
    path.write_text(SCENARIO + "".join(FAULT.format(kind, 100 + 700 * n) for n, kind in enumerate(faults)))
    command = subprocess.Popen(
        [sys.executable, "-m", "harness", "run", str(path), "--quiet", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    run_dir = bitten(folder, len(faults), command)
    assert any(temporary.iterdir())
    carriers = [process for process in psutil.process_iter() if carries(process, run_dir.name)]
    assert len(carriers) > len(faults)
    shared = {each.path for process in carriers for each in mapped(process) if each.path.startswith("/dev/shm/")}
    command.kill()
    command.communicate()
    _, alive = psutil.wait_procs(carriers, timeout=PATIENCE_S)
    assert alive == []
    return Killed(temporary, shared)


def mapped(process: psutil.Process) -> list[Any]:
    """Its mappings; none of one that has ended meanwhile."""
    try:
        return list(process.memory_maps())
    except psutil.Error:
        return []


def carries(process: psutil.Process, run_id: str) -> bool:
    """Whether it was started for that run."""
    try:
        return process.environ().get("HARNESS_RUN_ID") == run_id
    except psutil.Error:
        return False


def until(holds: Callable[[], bool]) -> bool:
    """Whether it comes about."""
    give_up = time.monotonic() + PATIENCE_S
    while not holds() and time.monotonic() < give_up:
        time.sleep(0.05)
    return holds()


def nothing_left(killed: Killed) -> bool:
    """No temporary file, no socket and no shared memory of it."""
    return not any(killed.temporary.iterdir()) and not any(Path(segment).exists() for segment in killed.shared)


async def schemas_and_backends(url: str) -> tuple[set[str], int]:
    """Of the database: the schemas of runs, and the connections beside this one."""
    import asyncpg  # type: ignore[import-untyped]

    connection = await asyncpg.connect(url)
    try:
        names = await connection.fetch("select nspname from pg_namespace where nspname like 'harness%'")
        others = await connection.fetchval(
            "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()
    return {row["nspname"] for row in names}, others


def test_servers_that_were_given_are_as_before(tmp_path: Path, redis_url: str, postgres_url: str) -> None:
    """Faults of the way to them, of the target and of the machine: the proxies go, and with them what was broken."""
    client = redis.Redis.from_url(redis_url)
    before = {*client.keys("*")}, *asyncio.run(schemas_and_backends(postgres_url))
    killed = killed_amid(tmp_path, WAY, "--redis-url", redis_url, "--postgres-url", postgres_url)
    assert until(lambda: {*client.keys("*")} <= before[0])
    assert until(lambda: asyncio.run(schemas_and_backends(postgres_url)) == before[1:])
    assert until(lambda: nothing_left(killed))
    killed.temporary.rmdir()
    client.close()


def test_servers_of_our_own_are_gone(tmp_path: Path) -> None:
    """Though one of them is held still: with their folders, sockets and shared memory."""
    killed = killed_amid(tmp_path, OWN)
    assert until(lambda: nothing_left(killed))
    killed.temporary.rmdir()
