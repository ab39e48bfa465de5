"""Servers that are killed and come back, real ones: with what they kept on disk, or with nothing."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import asyncpg  # type: ignore[import-untyped]
import psutil
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ReadOnlyError

from harness.child import Children
from harness.errors import ServiceUnavailable
from harness.fault.failover import FailedOver
from harness.fault.fault import FaultFailed
from harness.fault.redis import KeysExpired
from harness.fault.restart import PostgresRestarted, RedisRestarted
from harness.run.faulting import LevelBench
from harness.run.provisions import Provisions
from harness.run.proxying import Proxies, proxies
from harness.service.process import ProcessServer
from harness.service.service import ServiceSettings, provide
from harness.target.target import Services

DURABLE = ServiceSettings(order=("embedded", "program"), fsync=True)
OWN = ServiceSettings(order=("embedded", "program"))
WAIT_S = 10.0


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LevelBench]:
    """A Redis, and a PostgreSQL that waits for the disk."""
    with Children("restart-tests", tmp_path_factory.mktemp("logs")) as children, ExitStack() as stack:
        running = {
            "redis": stack.enter_context(provide("redis", OWN, children)),
            "postgres": stack.enter_context(provide("postgres", DURABLE, children)),
        }
        yield LevelBench(seed=1, lease_s=20.0, namespace="harness_1", children=children, running=running)
    assert children.leftovers == ()


@pytest.fixture
def way(own: LevelBench, tmp_path: Path) -> Iterator[Proxies]:
    """A proxy in front of that Redis."""
    services = Services(redis_url=own.url("redis"))
    with proxies(own.children, services, ["redis"], name="proxy", seed=1, t0=0.0, run_dir=tmp_path) as way:
        yield way


@asynccontextmanager
async def redis_at(url: str) -> AsyncIterator[Redis]:
    """A client that repeats nothing."""
    async with Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=WAIT_S, decode_responses=True) as redis:
        yield redis


def listens(url: str) -> bool:
    """Whether anybody takes a connection there."""
    address = url.rpartition("@")[2].partition("/")[0].split(":")
    with socket.socket() as probe:
        return probe.connect_ex((address[0], int(address[1]))) == 0


def provisions_of(bench: LevelBench) -> Provisions:
    """What a run asks whether its servers live."""
    return Provisions(base="harness", running=bench.running)


def bounded(test: Any) -> None:
    """In a loop of its own."""

    async def within() -> None:
        async with asyncio.timeout(4 * WAIT_S):
            await test()

    asyncio.run(within())


@pytest.mark.parametrize("data", ["empty", "aof"])
def test_a_redis_that_was_killed_comes_back_on_its_port(own: LevelBench, data: Literal["empty", "aof"]) -> None:
    """With its data or without, and never with its scripts; nobody takes its absence for a death."""

    async def test() -> None:
        url, [before] = own.url("redis"), own.pids("redis")
        async with redis_at(url) as redis:
            await redis.set("kept", "1")
            digest = await redis.script_load("return 1")
        async with RedisRestarted(data=data).inject(own) as bite:
            assert await bite.count() == 1
            assert not listens(url)
            assert provisions_of(own).died() is None
        assert own.pids("redis") != [before]
        async with redis_at(url) as redis:
            assert await redis.get("kept") == ("1" if data == "aof" else None)
            with pytest.raises(NoScriptError):
                await redis.evalsha(digest, 0)
            assert await redis.config_get("appendonly") == {"appendonly": "no"}
            await redis.flushall()
        assert provisions_of(own).died() is None

    bounded(test)


def test_a_redis_that_comes_back_empty_has_lost_its_append_only_file_too(own: LevelBench) -> None:
    """Of an earlier restart."""

    async def test() -> None:
        async with redis_at(own.url("redis")) as redis:
            await redis.set("kept", "1")
        async with RedisRestarted(data="aof").inject(own):
            pass
        async with RedisRestarted(data="empty").inject(own):
            pass
        async with redis_at(own.url("redis")) as redis:
            assert await redis.dbsize() == 0

    bounded(test)


def test_a_server_whose_death_nobody_planned_is_one(tmp_path: Path) -> None:
    """Also when it had been restarted before, which is a life of its own."""
    with Children("death-tests", tmp_path / "logs") as children, provide("redis", OWN, children) as running:
        assert isinstance(running, ProcessServer)
        lives = running.lives
        assert lives is not None
        lives.kill()
        lives.start_again()
        lives.start_again()  # one that lives is left alone
        assert running.died() is None
        process = psutil.Process(running.pid)
        process.kill()
        lives.child.wait(WAIT_S)
        assert "ended" in (running.died() or "")
    assert children.leftovers == ()


def test_nobody_gets_the_port_of_a_server_that_is_down(own: LevelBench) -> None:
    """It would have nowhere to come back to."""

    async def test() -> None:
        async with RedisRestarted().inject(own):
            port = int(own.url("redis").rpartition(":")[2].partition("/")[0])
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", port))

    bounded(test)


def test_a_server_that_cannot_start_again_says_so(tmp_path: Path) -> None:
    """As when its data cannot be read; and what was started ends."""
    with Children("again-tests", tmp_path / "logs") as children, provide("redis", OWN, children) as running:
        assert isinstance(running, ProcessServer)
        lives = running.lives
        assert lives is not None
        (Path(psutil.Process(running.pid).cwd()) / "dump.rdb").write_bytes(b"no dump at all")
        lives.kill()
        with pytest.raises(ServiceUnavailable, match="redis ended"):
            lives.start_again()
        lives.start_again(empty=True)
        assert running.died() is None
    assert children.leftovers == ()


def test_a_postgres_that_was_stopped_at_once_has_what_it_acknowledged(own: LevelBench) -> None:
    """Its recovery finds every commit, and no transaction that was not committed."""

    async def test() -> None:
        url = own.url("postgres")
        postgres = await asyncpg.connect(url, timeout=WAIT_S)
        await postgres.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)")
        open_one = await asyncpg.connect(url, timeout=WAIT_S)
        await open_one.execute("BEGIN; INSERT INTO kept VALUES (2)")
        async with PostgresRestarted().inject(own) as bite:
            assert await bite.count() == 1
            assert not listens(url)
            assert provisions_of(own).died() is None
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
                await postgres.fetchval("SELECT 1")
        again = await asyncpg.connect(url, timeout=WAIT_S)
        assert await again.fetchval("SELECT array_agg(n) FROM kept") == [1]
        await again.execute("DROP TABLE kept")
        for each in (postgres, open_one, again):
            each.terminate()

    bounded(test)


def test_keys_of_the_level_expire_and_no_others(own: LevelBench) -> None:
    """The same ones for the same seed."""

    async def expired(seed: int) -> set[str]:
        async with redis_at(own.url("redis")) as redis:
            names = [f"{own.namespace}:{part}:{{w/{n}}}" for n in range(50) for part in "do"]
            others = ["harness_2:d:{w/1}", f"{own.namespace}:d:{{lease}}"]
            await redis.mset(dict.fromkeys([*names, *others], "1"))
            bench = replace(own, seed=seed)
            async with KeysExpired(share=0.3, every=60.0).inject(bench) as bite:
                left = set(names)
                while not await bite.count() or len(left) > len(names) + len(others) - await bite.count():
                    await asyncio.sleep(0.01)
                    left = set(await redis.keys("*"))
            assert 5 < await bite.count() < 60
            assert left.issuperset(others)
            await redis.flushall()
            return set(names) - left

    async def test() -> None:
        first = await expired(1)
        assert first == await expired(1)
        assert first != await expired(2)

    bounded(test)


def test_a_failover_loses_what_was_not_replicated_and_comes_back_whole(own: LevelBench, way: Proxies) -> None:
    """Clients meet one that has less than was acknowledged; what they write there stays."""

    async def test() -> None:
        url = way.before(Services(redis_url=own.url("redis"))).redis_url
        assert url is not None
        bench = replace(own, proxies=way.toxics)

        async with redis_at(own.url("redis")) as primary:
            await primary.set("before", "1")

            async def write_beside() -> int:
                acknowledged = 0
                try:
                    while True:
                        await primary.set(f"number/{acknowledged}", "1")
                        acknowledged += 1
                        await asyncio.sleep(0.001)
                except (RedisConnectionError, OSError):
                    return acknowledged

            writing = asyncio.create_task(write_beside())
            async with FailedOver(unreplicated=0.2, refusing=0.0).inject(bench) as bite:
                acknowledged, lost = await writing, await bite.count()
                async with redis_at(url) as redis:
                    while True:
                        if (await redis.info("replication"))["role"] == "master":
                            break
                        await asyncio.sleep(0.01)
                    await redis.set("after", "1")
                    there = len(await redis.keys("number/*"))
                    assert lost > 0
                    assert lost <= acknowledged + 1 - there  # the last one's answer was lost with the connection
        async with redis_at(url) as redis, redis_at(own.url("redis")) as same:
            assert await redis.get("before") == await same.get("after") == "1"
            assert (await redis.info("server"))["run_id"] == (await same.info("server"))["run_id"]
            assert (await redis.info("replication"))["role"] == "master"
            await redis.set("more", "1")
            await redis.flushall()

    bounded(test)


def test_a_replica_refuses_writes_until_it_is_promoted(own: LevelBench, way: Proxies) -> None:
    """And has what was replicated; a failover that is lifted before that comes back as well."""

    async def test() -> None:
        url = way.before(Services(redis_url=own.url("redis"))).redis_url
        assert url is not None
        async with redis_at(own.url("redis")) as redis:
            await redis.set("kept", "1")
        fault = FailedOver(unreplicated=0.0, refusing=60.0)
        async with fault.inject(replace(own, proxies=way.toxics)), redis_at(url) as redis:
            with pytest.raises(ReadOnlyError):
                await redis.set("kept", "2")
            assert await redis.get("kept") == "1"
        async with redis_at(url) as redis:
            assert await redis.get("kept") == "1"
            await redis.flushall()

    bounded(test)


def test_a_failover_that_cannot_begin_changes_nothing(
    own: LevelBench, way: Proxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that does not catch up in time is ended again, and the primary lives."""
    monkeypatch.setattr("harness.fault.failover.NEAR_S", 0.3)

    async def test() -> None:
        before = own.pids("redis")
        async with redis_at(own.url("redis")) as redis:
            await redis.config_set("maxclients", 1)  # whoever is on it stays, and no replica gets on
            try:
                with pytest.raises(FaultFailed, match=r"did not follow within 0\.3 s"):
                    async with FailedOver().inject(replace(own, proxies=way.toxics)):
                        pass
            finally:
                await redis.config_set("maxclients", 10_000)
            assert own.pids("redis") == before
            assert (await redis.info("replication"))["role"] == "master"

    bounded(test)


OWNER = """
import json, sys
from pathlib import Path
from harness.child import Children
from harness.service.redis import spare
from harness.service.service import ServiceSettings, provide
with Children("owner", Path(sys.argv[1])) as children:
    with provide("redis", ServiceSettings(order=("embedded", "program")), children) as running:
        with spare(running, children) as url:
            running.lives.kill()
            running.lives.start_again()
            print(json.dumps([running.pid, *(each.pid for each in children._children)]), flush=True)
            sys.stdin.read()
"""


def test_successors_and_spares_die_with_their_killed_owner(tmp_path: Path) -> None:
    """As every server does: processes and folders go."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        pids = json.loads(owner.stdout.readline())
        family = [psutil.Process(pid) for pid in set(pids) if psutil.pid_exists(pid)]
        assert len(family) == 2
        folders = {Path(each.cwd()) for each in family}
        assert len(folders) == 2
        owner.send_signal(signal.SIGKILL)
        owner.wait(WAIT_S)
    _, alive = psutil.wait_procs(family, timeout=WAIT_S)
    assert alive == []
    latest = time.monotonic() + WAIT_S
    while any(folder.exists() for folder in folders):
        assert time.monotonic() < latest
        time.sleep(0.01)
