"""Servers that were given are never broken by their own means: most of that would outlast a command that is killed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis

from harness.fault import FAULTS
from harness.scenario.faults import fault_type
from tests.resilience.test_residue import SCENARIO, schemas_and_backends

OWN_MEANS = sorted(
    kind
    for kind in FAULTS
    if kind.startswith(("redis.", "postgres."))
    and not fault_type(kind, FAULTS).__module__.startswith("harness.fault.proxied")
)
FAULT = '[[fault]]\nkind = "{}"\nat = "1 s"\nfor = "1 s"\n'


async def settings_of(url: str) -> list[Any]:
    """What PostgreSQL was told to be, beyond its files."""
    import asyncpg  # type: ignore[import-untyped]

    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch("SELECT name, setting FROM pg_settings WHERE name LIKE '%read_only%'"))
    finally:
        await connection.close()


def test_whatever_would_outlive_us_is_refused(tmp_path: Path, redis_url: str, postgres_url: str) -> None:
    """Exit 2 before any load, every such kind by its name, no password; the servers are as they were."""
    path = tmp_path / "broken.toml"
    path.write_text(SCENARIO + "".join(map(FAULT.format, OWN_MEANS)))
    client = redis.Redis.from_url(redis_url)
    before = {*client.keys("*")}, client.config_get("maxmemory*")
    databases = asyncio.run(schemas_and_backends(postgres_url)), asyncio.run(settings_of(postgres_url))
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", str(path), "--redis-url", redis_url, "--postgres-url", postgres_url],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert {"redis.pause_writes", "redis.full", "postgres.lock", "postgres.read_only"} <= {*OWN_MEANS}
    assert [kind for kind in OWN_MEANS if f"the fault {kind}, " not in done.stderr] == []
    assert "not ours to break; leave out its URL" in done.stderr
    for url in (redis_url, postgres_url):
        password = urlsplit(url).password
        assert password is None or password not in done.stderr + done.stdout
    assert ({*client.keys("*")}, client.config_get("maxmemory*")) == before
    assert (asyncio.run(schemas_and_backends(postgres_url)), asyncio.run(settings_of(postgres_url))) == databases
    assert [each.name for each in tmp_path.iterdir() if each != path] in ([], ["reports"])
    assert not list((tmp_path / "reports").glob("*"))
    client.close()
